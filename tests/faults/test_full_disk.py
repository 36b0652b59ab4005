"""A full disk, said by whoever writes to it, is one error with its remedy."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import faiss
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from divspa.errors import SetupError
from divspa.lake.damage import damage_named


def index() -> faiss.IndexFlat:
    flat = faiss.IndexFlatIP(8)
    flat.add(np.ones((100_000, 8), np.float32))  # pyright: ignore[reportCallIssue]
    return flat


@pytest.mark.parametrize(
    "write",
    [
        lambda spark, full: Path(full).write_bytes(b"x" * 10_000),
        lambda spark, full: pq.write_table(pa.table({"a": range(100_000)}), full),
        lambda spark, full: faiss.write_index(index(), full),
        lambda spark, full: spark._jvm.java.io.FileOutputStream(full).write(bytearray(10_000)),
        lambda spark, full: spark.range(3).mapInPandas(in_a_worker(full), "id long").collect(),
    ],
    ids=["python", "arrow", "faiss", "java", "worker"],
)
def test_a_full_disk_is_one_error_whoever_says_it(
    spark: SparkSession, write: Callable[[SparkSession, str], object], tmp_path: Path
) -> None:
    full = tmp_path / "full"
    full.symlink_to("/dev/full")  # every write to it finds no space left; Arrow removes what it could not write
    with pytest.raises(SetupError, match=r"A disk is full.*No space left on device.*make room"), damage_named():
        write(spark, str(full))


def in_a_worker(full: str) -> Callable[[Iterable[pd.DataFrame]], Iterator[pd.DataFrame]]:
    def frames(rows: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        Path(full).write_bytes(b"x" * 10_000)
        yield from rows

    return frames
