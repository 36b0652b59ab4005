"""`published`: which version of the lake other teams read; rows are only ever added, and the newest one counts."""

from divspa.schemas.contract import DS, Column, Table

PUBLISHED = Table(
    name="published",
    grain="One row a publication of a day, or a return to an earlier one. The row of the greatest `number` counts; of "
    "equal ones the later",
    written_by="publish, divspa rollback",
    read_for="before anything else: the day to read, and the versions of all that belongs to it",
    columns=(
        DS,
        Column("number", "BIGINT", "1 for the first row, and one more for each that follows"),
        Column("published_at", "TIMESTAMP", "When the row was written (UTC)"),
        Column("action", "STRING", "publish, or rollback: a return to what an earlier row named"),
        Column("version", "STRING", "Hash of the day and of all that the row names"),
        Column("tables", "MAP<STRING, BIGINT>", "Delta version of each table at which the day is to be read"),
        Column("models", "MAP<STRING, STRING>", "model_version of each model of the day, of `refit` where that ran"),
        Column("checkpoints", "MAP<STRING, STRING>", "Folder of each model's checkpoint, relative to the lake"),
        Column("serving", "STRING", "Folder of the serving bundle, relative to the lake", nullable=True),
        Column("settings_hash", "STRING", "Hash of the whole configuration"),
    ),
    key=("number", "published_at"),
    checks={"action_known": "action IN ('publish', 'rollback')", "number_positive": "number > 0"},
)
