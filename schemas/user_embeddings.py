"""`user_embeddings`: the user tower's output."""

from divspa.schemas.contract import DS, MODEL, MODEL_VERSION, USER_ID, USER_KEY, Column, Table

USER_EMBEDDINGS = Table(
    name="user_embeddings",
    grain="One row a model, moment and user",
    written_by="train_base, train_divspa",
    read_for="users as vectors: nearest users, features of a ranker",
    columns=(
        DS,
        MODEL,
        Column("as_of", "STRING", "The moment of the user's history: `cutoff` or `latest`"),
        MODEL_VERSION,
        USER_ID,
        USER_KEY,
        Column("vector", "ARRAY<FLOAT>", "u, of unit length for cosine models"),
    ),
    key=("model", "as_of", "user_key"),
    partitioned_by=("ds", "model", "as_of"),
)
