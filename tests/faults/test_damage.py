"""A file of the lake that is cut, garbage or gone: one error names it, and what it advises mends the lake."""

import re
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from divspa import pipeline
from divspa.config import Config
from divspa.data.batches import read_batches
from divspa.errors import DamagedError
from divspa.lake.tables import Lake
from divspa.schemas import JOB_RUNS, METRICS

DAY, LATER = date(2024, 1, 1), date(2024, 1, 2)
CONFIG = Config.model_validate({"clicks": {"path": "-", "user": "-", "item": "-", "time": "-"}})


def evaluate(lake: Lake, config: Config, ds: date) -> None:
    lake.replace_day_with(METRICS, [(name, "v", "all", name, 1.0) for name in ("a", "b", "c")], ds)


def export_recall(lake: Lake, config: Config, ds: date) -> None:
    lake.read_day(METRICS, ds).agg(F.sum("value")).collect()


@pytest.fixture
def broken(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake of two days whose stages are one that writes and one that reads."""
    monkeypatch.setattr(pipeline, "STAGES", {stage.__name__: stage for stage in (evaluate, export_recall)})
    for day in (DAY, LATER):
        evaluate(lake, CONFIG, day)
    return lake


def data(lake: Lake) -> Path:
    return next(Path(lake.path(METRICS)).glob(f"ds={DAY}/*.parquet"))


def last_entry(lake: Lake) -> Path:
    return max(Path(lake.path(METRICS)).glob("_delta_log/*.json"))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    file.with_name(f".{file.name}.crc").unlink(missing_ok=True)


def fill_with_garbage(file: Path) -> None:
    file.write_bytes(b"x" * file.stat().st_size)
    file.with_name(f".{file.name}.crc").unlink(missing_ok=True)


def empty(file: Path) -> None:
    file.write_bytes(b"")
    file.with_name(f".{file.name}.crc").unlink(missing_ok=True)


def forget_what_was_read(lake: Lake) -> None:
    for checksum in Path(lake.path(METRICS)).glob("_delta_log/*.crc"):
        checksum.unlink()
    lake.spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()


@pytest.mark.parametrize("harm", [cut, Path.unlink])
def test_a_broken_data_file_is_named_and_its_day_run_again_mends_it(broken: Lake, harm: Callable[[Path], None]) -> None:
    file = data(broken)
    harm(file)
    found = "no such file" if harm is Path.unlink else "it is cut or garbage"
    with pytest.raises(DamagedError, match=f"The file .*{file.name} is broken.*{found}.*--ds {DAY}` again"):
        pipeline.run_stages(broken, CONFIG, DAY, "export_recall")
    rows = broken.read(JOB_RUNS).orderBy(F.desc("started_at")).head()
    assert rows is not None and file.name in rows.error, "the run's row says it too"
    pipeline.run_stages(broken, CONFIG, LATER, "export_recall")
    pipeline.run_stages(broken, CONFIG, DAY)
    assert len(pl.read_delta(broken.path(METRICS))) == 6


@pytest.mark.parametrize("harm", [cut, empty])
def test_a_half_written_log_entry_is_named_and_taken_away_mends_the_table(
    broken: Lake, harm: Callable[[Path], None]
) -> None:
    entry = last_entry(broken)
    harm(entry)
    forget_what_was_read(broken)
    with pytest.raises(
        DamagedError, match=f"The log entry .*{entry.name} is broken.*Remedy: if it is the last"
    ) as error:
        pipeline.run_stages(broken, CONFIG, LATER, "export_recall")
    named = re.search(r"The log entry (\S+) is broken", str(error.value))
    assert named is not None
    Path(named[1].removeprefix("file:")).unlink()
    forget_what_was_read(broken)
    pipeline.run_stages(broken, CONFIG, LATER)
    assert len(pl.read_delta(broken.path(METRICS))) == 6


def test_a_gap_in_a_log_names_the_table_whose_days_have_to_be_run_again(broken: Lake) -> None:
    (Path(broken.path(METRICS)) / "_delta_log" / f"{1:020}.json").unlink()
    forget_what_was_read(broken)
    with pytest.raises(DamagedError, match=r"Entries are missing in the log of .*/metrics.*remove the table's folder"):
        pipeline.run_stages(broken, CONFIG, LATER, "export_recall")
    shutil.rmtree(broken.path(METRICS))
    forget_what_was_read(broken)
    for day in (DAY, LATER):
        pipeline.run_stages(broken, CONFIG, day)
    assert len(pl.read_delta(broken.path(METRICS))) == 6


@pytest.mark.parametrize("harm", [cut, fill_with_garbage, Path.unlink])
def test_a_broken_file_of_training_is_named_though_petastorm_names_none(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    lists = pa.array([[1], [2]], pa.list_(pa.int32()))
    rows = pa.table(
        {"example_id": [1, 2], "user_features": lists, "history": lists, "item_index": pa.array([1, 2], pa.int32())}
    )
    files = [tmp_path / "table" / f"ds={DAY}" / name for name in ("a.parquet", "b.parquet")]
    files[0].parent.mkdir(parents=True)
    for file in files:
        pq.write_table(rows, file)
    harm(files[1])
    with pytest.raises(DamagedError, match=f"The file .*b.parquet is broken.*--ds {DAY}` again"):
        list(read_batches([file.as_uri() for file in files], 2, augmented=False, seed=1))
