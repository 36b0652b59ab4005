"""`item_embeddings`: the item tower's output."""

from divspa.schemas.contract import DS, ITEM_ID, ITEM_INDEX, MODEL, MODEL_VERSION, Column, Table

ITEM_EMBEDDINGS = Table(
    name="item_embeddings",
    grain="One row a model and item of the catalogue",
    written_by="train_base, train_divspa",
    read_for="items as vectors: i2i recall, deduplication, features of a ranker",
    columns=(
        DS,
        MODEL,
        MODEL_VERSION,
        ITEM_ID,
        ITEM_INDEX,
        Column("vector", "ARRAY<FLOAT>", "v, of unit length for cosine models"),
    ),
    key=("model", "item_index"),
    partitioned_by=("ds", "model"),
)
