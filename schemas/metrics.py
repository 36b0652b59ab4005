"""`metrics`: every figure of an evaluation, one a row."""

from divspa.schemas.contract import DS, MODEL, MODEL_VERSION, Column, Table

METRICS = Table(
    name="metrics",
    grain="One row a model, slice of the test events, and metric",
    written_by="evaluate",
    read_for="how good the day's models are, whole and by slice",
    columns=(
        DS,
        MODEL,
        MODEL_VERSION,
        Column("slice", "STRING", "all; items cold, tail, torso, head; users few, some, many: by what they had before"),
        Column("metric", "STRING", "Name such as hr@50, ndcg@50, distinct@100, distance_FIELD@100"),
        Column("value", "DOUBLE", "The figure"),
    ),
    key=("model", "slice", "metric"),
)
