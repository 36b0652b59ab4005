"""`clicks_quarantine`: the rows of a click log that could not be used, and why."""

from divspa.schemas.contract import DS, Column, Table

CLICKS_QUARANTINE = Table(
    name="clicks_quarantine",
    grain="One row a distinct bad row of the click log",
    written_by="build_features",
    read_for="which rows of the log were refused, and why; to mend the source",
    columns=(
        DS,
        Column("reason", "STRING", "Why the row was refused"),
        Column("row", "STRING", "The row as JSON, as it was read"),
        Column("copies", "BIGINT", "How often the log holds this very row"),
    ),
    key=("reason", "row"),
    checks={"copies_positive": "copies > 0"},
)
