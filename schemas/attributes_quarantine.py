"""`attributes_quarantine`: the rows of the tables of users and items that could not be used, and why."""

from divspa.schemas.contract import DS, Column, Table

ATTRIBUTES_QUARANTINE = Table(
    name="attributes_quarantine",
    grain="One row a distinct bad row of a table of attributes",
    written_by="build_features",
    read_for="which rows of users or items were refused, and why; to mend the source",
    columns=(
        DS,
        Column("side", "STRING", "users or items"),
        Column("reason", "STRING", "Why the row was refused"),
        Column("row", "STRING", "The row as JSON, as it was read"),
        Column("copies", "BIGINT", "How often the table holds this very row"),
    ),
    key=("side", "reason", "row"),
    checks={"copies_positive": "copies > 0"},
)
