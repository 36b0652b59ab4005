"""`job_runs`: what every stage did, and how long it took; rows are added and never replaced."""

from divspa.schemas.contract import DS, Column, Table

JOB_RUNS = Table(
    name="job_runs",
    grain="One row a run of a stage, also of one that failed",
    written_by="every stage",
    read_for="how long stages take, how much they read and wrote, and why one failed",
    columns=(
        DS,
        Column("run_id", "STRING", "The command that ran it; also the userMetadata of every commit that it made"),
        Column("stage", "STRING", "Name of the stage"),
        Column("started_at", "TIMESTAMP", "When it began (UTC)"),
        Column("status", "STRING", "succeeded or failed"),
        Column("seconds", "DOUBLE", "Wall seconds"),
        Column("rows_read", "MAP<STRING, BIGINT>", "Rows of the partitions read of each table, and of click_log"),
        Column("rows_written", "MAP<STRING, BIGINT>", "Rows written to each table"),
        Column("versions_read", "MAP<STRING, BIGINT>", "Delta version of each table read, the newest of several"),
        Column("versions_written", "MAP<STRING, BIGINT>", "Delta version each table was given, the last of several"),
        Column("peak_gb", "DOUBLE", "Peak memory of the driver's Python and JVM since they started"),
        Column("application_id", "STRING", "Spark's, which names the event log"),
        Column("code_version", "STRING", "Version of divspa"),
        Column("settings_hash", "STRING", "Hash of the whole configuration but its section spark"),
        Column("error", "STRING", "Why it failed, on one line and without credentials", nullable=True),
    ),
    key=("run_id", "stage"),
    checks={"status_known": "status IN ('succeeded', 'failed')"},
)
