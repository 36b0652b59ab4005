"""`training_runs`: what was trained, from which versions, and how it went."""

from divspa.schemas.contract import DS, MODEL, MODEL_VERSION, Column, Table

TRAINING_RUNS = Table(
    name="training_runs",
    grain="One row a model",
    written_by="train_base, train_linear, train_divspa",
    read_for="which settings and versions of tables made a model",
    columns=(
        DS,
        MODEL,
        MODEL_VERSION,
        Column(
            "checkpoint",
            "STRING",
            "Folder of the checkpoint, relative to the lake: safetensors and JSON; none of linear",
        ),
        Column("settings", "STRING", "The configuration as JSON"),
        Column("versions", "MAP<STRING, BIGINT>", "Delta version of each table that was read"),
        Column("losses", "ARRAY<DOUBLE>", "Mean training loss of each epoch"),
        Column(
            "scores",
            "ARRAY<DOUBLE>",
            "Score on the split valid of each epoch: NDCG without a cut; of linear of each regularisation: NDCG at 100",
        ),
        Column("best_epoch", "INT", "The epoch, or regularisation, from 0, that was kept"),
        Column("examples", "BIGINT", "Examples seen, all epochs together"),
        Column("seconds", "DOUBLE", "Wall seconds of training, interruptions left out"),
        Column("resumed", "BOOLEAN", "Whether the training went on from a resume point"),
        Column(
            "rates",
            "MAP<STRING, DOUBLE>",
            "Best score by learning rate, where several were tried; the kept one is in settings",
            nullable=True,
        ),
    ),
    key=("model",),
    partitioned_by=("ds", "model"),
)
