"""`experiment_metrics`: every figure of an experiment's trials."""

from divspa.schemas.contract import DS, MODEL, Column, Table
from divspa.schemas.experiment_trials import DATA_SET, SEED, TRIAL

EXPERIMENT_METRICS = Table(
    name="experiment_metrics",
    grain="One row a trial, slice of the test events, and metric",
    written_by="divspa experiment",
    read_for="figures over data sets, settings and seeds",
    columns=(
        DS,
        DATA_SET,
        TRIAL,
        SEED,
        MODEL,
        Column("slice", "STRING", "As in metrics"),
        Column("metric", "STRING", "As in metrics"),
        Column("value", "DOUBLE", "The figure"),
    ),
    key=("data_set", "trial", "slice", "metric"),
    partitioned_by=("ds", "data_set", "trial"),
)
