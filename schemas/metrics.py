"""`metrics`: every figure of an evaluation, one a row."""

from schemas.contract import DS, MODEL, MODEL_VERSION, Column, Table

METRICS = Table(
    name="metrics",
    grain="One row a model and metric, over the test split",
    columns=(
        DS,
        MODEL,
        MODEL_VERSION,
        Column("metric", "STRING", "Name such as hr@50, ndcg@50, distinct@100, coverage@100"),
        Column("value", "DOUBLE", "The figure"),
    ),
    key=("model", "metric"),
)
