"""`metrics`: every figure of an evaluation, one a row."""

from schemas.contract import DS, MODEL, MODEL_VERSION, Column, Table

METRICS = Table(
    name="metrics",
    grain="One row a model, split and metric",
    columns=(
        DS,
        MODEL,
        MODEL_VERSION,
        Column("split", "STRING", "The part of the log that was ranked: test or validation"),
        Column("metric", "STRING", "Name such as hr@50, ndcg@50, distinct@100, coverage@100"),
        Column("value", "DOUBLE", "The figure"),
    ),
    key=("model", "split", "metric"),
)
