"""A person who is forgotten is nowhere in the lake, whatever a reader makes of its bytes."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from divspa.config import Config
from divspa.errors import ConflictError
from divspa.lake.lease import leased
from divspa.lake.maintain import pinned_files
from divspa.lake.tables import Lake
from divspa.pipeline import forget_user
from divspa.schemas import CLICKS, CLICKS_QUARANTINE, JOB_RUNS, RECALL_U2I, TRAINING_RUNS, USER_EMBEDDINGS, VOCABULARY

DAY, LATER = date(2024, 1, 1), date(2024, 1, 2)
PERSON, OTHER = "anna.o'neil@example.org", "zoe"
CONFIG = {"clicks": {"path": "-", "user": "-", "item": "-", "time": "-"}, "maintain": {"pinned_days": 9}}


def texts(folder: Path) -> Iterator[tuple[Path, str]]:
    """All that can be read of every file: bytes as they are, Parquet's columns, and what zstd packs."""
    for file in folder.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            yield file, content.decode("latin-1")
            if file.suffix == ".parquet":
                rows = pl.read_parquet(file, hive_partitioning=False)
                yield file, "\n".join(map(repr, rows.rows()))
            if file.suffix in (".zst", ".zstd"):
                with pa.CompressedInputStream(pa.BufferReader(content), "zstd") as stream:
                    yield file, stream.read().decode()


def naming(folder: Path, *words: str) -> set[str]:
    """The files that hold one of some words."""
    return {str(file.relative_to(folder)) for file, text in texts(folder) if any(word in text for word in words)}


@pytest.fixture
def held(lake: Lake) -> Lake:
    """A lake of two days that tells of two users, in every kind of place."""
    for day in (DAY, LATER):
        at = datetime(2024, 1, 1, 12, tzinfo=UTC)
        clicks = [(user, "i", at, 1, None, None) for user in (PERSON, OTHER)]
        lake.replace_day_with(CLICKS, clicks, day)
    keyed = lake.spark.createDataFrame([(user,) for user in (PERSON, OTHER)], "user_id string")
    values = {"user_key": F.xxhash64("user_id"), "vector": F.array(F.lit(1.0).cast("float"))}
    values |= {"as_of": F.lit("cutoff"), "model_version": F.lit("v")}
    lake.replace_day(USER_EMBEDDINGS, keyed.withColumns(values), DAY, model="youtube_dnn")
    # Readers may follow what changes in this table, so Delta keeps the rows that are deleted.
    lake.replace_day_with(RECALL_U2I, [(user, ["i"], [1.0], "v", 1.0, None, None) for user in (PERSON, OTHER)], DAY)
    lake.replace_day_with(VOCABULARY, [("user_id", PERSON, 2, 1, None), ("user_id", OTHER, 3, 1, None)], DAY)
    row = json.dumps({"u": PERSON, "i": ""}, separators=(",", ":"))
    lake.replace_day_with(CLICKS_QUARANTINE, [("no item", row, 1), ("no item", '{"u":"zoe"}', 1)], DAY)
    report = Path(lake.root) / "reports" / f"ds={DAY}" / "report.html"
    report.parent.mkdir(parents=True)
    report.write_text(f"<td>{PERSON.replace(chr(39), '&#39;')}</td>")
    return lake


def runs_of(lake: Lake) -> None:
    at, names = datetime(2024, 1, 1, tzinfo=UTC), TRAINING_RUNS.names_within_day
    known = {"model": "youtube_dnn", "model_version": "f00", "started_at": at, "versions": {CLICKS.name: 1}}
    known |= {"losses": [1.0], "scores": [1.0], "best_epoch": 0, "examples": 1, "seconds": 1.0, "resumed": False}
    known["rates"] = None
    lake.replace_day_with(TRAINING_RUNS, [tuple(known.get(name, "") for name in names)], DAY)


def test_a_forgotten_user_is_in_no_byte_of_the_lake(held: Lake) -> None:
    runs_of(held)
    config = Config.model_validate(CONFIG | {"lake": held.root})
    log = Path(held.root) / "event_logs" / f"{held.spark.sparkContext.applicationId}.zstd"
    log.parent.mkdir()
    with pa.CompressedOutputStream(str(log), "zstd") as out:
        out.write(f"a plan with {PERSON} in it".encode())
    (Path(held.root) / "applications").mkdir()
    (Path(held.root) / "applications" / log.name.removesuffix(".zstd")).touch()
    key = held.spark.createDataFrame([(PERSON,)], "u string").select(F.xxhash64("u")).head()[0]
    where = naming(Path(held.root), PERSON, str(key))
    assert {place.partition("/")[0] for place in where} >= {
        CLICKS.name, USER_EMBEDDINGS.name, RECALL_U2I.name, VOCABULARY.name, CLICKS_QUARANTINE.name, "event_logs",
    }  # fmt: skip
    done = forget_user(held, config, PERSON, vacuum_now=True)
    one = (USER_EMBEDDINGS, RECALL_U2I, VOCABULARY, CLICKS_QUARANTINE)
    assert done.rows == {CLICKS.name: 2} | {table.name: 1 for table in one}
    assert done.models == [f"{DAY} youtube_dnn f00"]
    assert len(done.reports) == len(done.event_logs) == 1
    assert naming(Path(held.root), PERSON, str(key), PERSON.replace("'", "&#x27;")) == set()
    assert pl.read_delta(held.path(CLICKS))["user_id"].to_list() == [OTHER] * 2
    words = pl.read_delta(held.path(VOCABULARY)).sort("index")
    assert words["value"].to_list() == ["forgotten:2", OTHER] and words["index"].to_list() == [2, 3]
    (row,) = pl.read_delta(held.path(JOB_RUNS)).filter(pl.col("stage") == "forget").to_dicts()
    assert row["status"] == "succeeded" and dict(row["rows_written"]) == done.rows
    assert pinned_files(held, CLICKS, {1}) == set(), "maintain passes over what models pin and is gone"
    assert forget_user(held, config, PERSON, vacuum_now=False).rows == {}


def test_without_a_vacuum_the_newest_version_alone_forgets_and_no_run_may_be_under_way(lake: Lake) -> None:
    config = Config.model_validate(CONFIG | {"lake": lake.root})
    clicks = [(user, "i", datetime(2024, 1, 1, 12, tzinfo=UTC), 1, None, None) for user in (PERSON, OTHER)]
    lake.replace_day_with(CLICKS, clicks, DAY)
    before = lake.version(CLICKS)
    with leased(lake.root, str(LATER), "augment"), pytest.raises(ConflictError, match=f"works on {LATER}"):
        forget_user(lake, config, PERSON, vacuum_now=False)
    forget_user(lake, config, PERSON, vacuum_now=False)
    assert pl.read_delta(lake.path(CLICKS))["user_id"].to_list() == [OTHER]
    assert pl.read_delta(lake.path(CLICKS), version=before)["user_id"].sort().to_list() == [PERSON, OTHER]
    newest = max(Path(lake.path(CLICKS)).glob("_delta_log/*.json")).read_text()
    assert "predicate" in newest and PERSON not in newest.partition('"remove"')[0].partition('"add"')[0]
