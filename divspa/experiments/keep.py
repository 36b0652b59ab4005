"""An experiment's results as two small Parquet files, so that a suite and its page can go on on another machine."""

from pathlib import Path

import pyarrow.parquet as pq
from pyspark.sql import functions as F

from divspa.lake.tables import Lake, with_new_columns
from divspa.schemas import EXPERIMENT_METRICS, EXPERIMENT_TRIALS
from divspa.schemas.contract import Table

# The metrics first, as when they are made: the trial says that all is there.
TABLES = EXPERIMENT_METRICS, EXPERIMENT_TRIALS
# No figure of the page looks further down a list, and most ranks lie below: as one value they take little room.
FURTHEST_RANK = 200


def bring(results: Lake, folder: Path) -> None:
    """Add to the tables the trials of a folder that they lack; no folder yet is no trial."""
    for table in TABLES:
        file = _file(folder, table)
        if file.exists():
            kept = with_new_columns(results.spark.read.parquet(str(file)), table)
            if results.exists(table):
                kept = kept.join(results.read(table), ["ds", "data_set", "trial"], "left_anti")
            if not kept.isEmpty():
                results.append(table, kept)


def keep(results: Lake, folder: Path) -> None:
    """Write every trial of the tables to a folder; ranks from FURTHEST_RANK on become that one."""
    folder.mkdir(parents=True, exist_ok=True)
    for table in TABLES:
        rows = results.read(table)
        if table is EXPERIMENT_TRIALS:
            rows = rows.withColumn("ranks", F.transform("ranks", lambda rank: F.least(rank, F.lit(FURTHEST_RANK))))
        kept = rows.toArrow().sort_by([(key, "ascending") for key in table.key])
        pq.write_table(kept, _file(folder, table), compression="zstd", compression_level=19)


def _file(folder: Path, table: Table) -> Path:
    return folder / f"{table.name}.parquet"
