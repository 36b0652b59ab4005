"""`feature_gates`: the figures that decide whether a day's features may be published; written also when not."""

from divspa.schemas.contract import DS, Column, Table

FEATURE_GATES = Table(
    name="feature_gates",
    grain="One row a figure of the day, and of a field where it is about one",
    written_by="build_features",
    read_for="why a day was or was not published, and how the log changes from day to day",
    columns=(
        DS,
        Column("figure", "STRING", "What was measured, such as new_clicks, refused_share, unknown_rate, drift"),
        Column("field", "STRING", "Field that it is about; '' for the whole day"),
        Column("value", "DOUBLE", "The figure"),
        Column("previous", "DOUBLE", "The same on the newest earlier day", nullable=True),
        Column("gate", "STRING", "Key under `features.gates` in the configuration that limits it", nullable=True),
        Column("limit", "DOUBLE", "Its setting on this day; null: not limited", nullable=True),
        Column("passed", "BOOLEAN", "Whether the figure is within the limit"),
    ),
    key=("figure", "field"),
)
