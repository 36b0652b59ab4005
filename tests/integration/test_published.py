"""The published version on real Delta tables: it moves last, back too, and pinned readers never see a mix."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import date
from pathlib import Path

import deltalake
import duckdb
import polars as pl
import pytest
from pyspark.sql import functions as F

from divspa.config import Config
from divspa.errors import ConfigError, ContractError, MissingTableError
from divspa.lake.catalog import register
from divspa.lake.maintain import maintain
from divspa.lake.published import published, rollback, versions
from divspa.lake.tables import Lake, with_new_columns
from divspa.schemas import ITEM_EMBEDDINGS, RECALL_I2I, RECALL_U2I, TRAINING_RUNS
from divspa.schemas.contract import Table
from divspa.serving.publish import publish, publish_anyway

FIRST, SECOND, THIRD = date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 3)
LISTS = (
    "item_ids array<string>, scores array<float>, model_version string, search_recall double, channel string, "
    "sources array<string>"
)


def config(**maintained: object) -> Config:
    clicks = {"path": "-", "user": "-", "item": "-", "time": "-"}
    parts = {"maintain": {"vacuum_hours": 0, **maintained}, "spark": {"event_log": None}}
    return Config.model_validate({"clicks": clicks, **parts})


def made(lake: Lake, ds: date, version: str) -> None:
    """What the stages of a day leave, each part marked with the version of its model."""
    for table, name in ((RECALL_U2I, "user_id"), (RECALL_I2I, "item_id")):
        rows = lake.spark.createDataFrame(
            [("a", ["x"], [1.0], version, 1.0, "divspa", ["divspa"])], f"{name} string, {LISTS}"
        )
        lake.replace_day(table, rows, ds, unique=True)
    embedded = lake.spark.createDataFrame(
        [(version, "a", 2, [1.0])], "model_version string, item_id string, item_index int, vector array<float>"
    )
    lake.replace_day(ITEM_EMBEDDINGS, embedded, ds, unique=True, model="divspa")
    run = (version, f"checkpoints/ds={ds}/model=divspa", "{}", {}, [1.0], [0.5], 0, 10, 1.0, False, None)
    lake.replace_day_with(TRAINING_RUNS, [run], ds, model="divspa")
    files = {
        f"checkpoints/ds={ds}/model=divspa/model.safetensors": "",
        f"serving/ds={ds}/{version}/manifest.json": "{}",
    }
    for file, text in (files | {f"serving/ds={ds}/newest.json": json.dumps({"version": version})}).items():
        path = Path(lake.root) / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def shown(lake: Lake) -> tuple[str, str, str]:
    """Day, action and model of what counts."""
    current = published(lake)
    assert current is not None
    return str(current.ds), current.action, current.models["divspa"]


def test_a_day_is_published_last_and_returned_to(lake) -> None:
    assert published(lake) is None
    with pytest.raises(MissingTableError, match="no serving bundle"):
        publish(lake, config(), FIRST)
    for ds, version in ((FIRST, "one"), (SECOND, "two"), (THIRD, "three")):
        made(lake, ds, version)
        publish(lake, config(), ds)
        publish(lake, config(), ds)
    assert [each.number for each in versions(lake)] == [1, 2, 3], "a day that did not change adds no row"
    current = published(lake)
    assert current is not None and current.serving == f"serving/ds={THIRD}/three"
    assert set(current.tables) == {"recall_u2i", "recall_i2i", "item_embeddings", "training_runs"}
    publish(lake, config(), FIRST)
    assert shown(lake) == (str(THIRD), "publish", "three"), "running an older day again moves nothing"
    rollback(lake, None)
    assert shown(lake) == (str(SECOND), "rollback", "two")
    rollback(lake, None)
    assert shown(lake) == (str(FIRST), "rollback", "one")
    with pytest.raises(MissingTableError, match="before the current one"):
        rollback(lake, None)
    rollback(lake, THIRD)
    assert shown(lake) == (str(THIRD), "rollback", "three")
    with pytest.raises(MissingTableError, match=r"of 2024-02-01.*versions of 2024-01-01, 2024-01-02, 2024-01-03"):
        rollback(lake, date(2024, 2, 1))
    publish_anyway(lake, config(), SECOND)
    assert shown(lake) == (str(SECOND), "publish", "two")
    (Path(lake.root) / f"serving/ds={FIRST}/one/manifest.json").unlink()
    with pytest.raises(MissingTableError, match=r"cannot be read any more.*serving/ds=2024-01-01/one"):
        rollback(lake, FIRST)
    assert shown(lake) == (str(SECOND), "publish", "two")


def test_lists_of_other_models_than_the_day_has_are_not_published(lake) -> None:
    made(lake, FIRST, "one")
    run = ("again", f"checkpoints/ds={FIRST}/model=divspa", "{}", {}, [1.0], [0.5], 0, 10, 1.0, False, None)
    lake.replace_day_with(TRAINING_RUNS, [run], FIRST, model="divspa")
    with pytest.raises(ContractError, match=r"Expected: divspa again\. Found: divspa one"):
        publish_anyway(lake, config(), FIRST)
    assert published(lake) is None


def by_delta_rs(root: str) -> set[str]:
    """The model versions that a reader without Spark meets: what `published` names, at the versions that it names."""
    row = pl.read_delta(f"{root}/published").sort("number", "published_at").row(-1, named=True)
    pinned = row["tables"]
    met = {*row["models"].values(), row["serving"].rpartition("/")[2]}
    for name in ("recall_u2i", "recall_i2i", "item_embeddings"):
        rows = pl.scan_delta(f"{root}/{name}", version=pinned[name]).filter(pl.col("ds") == row["ds"])
        met |= set(rows.select("model_version").collect()["model_version"])
    files = deltalake.DeltaTable(f"{root}/recall_u2i", version=pinned["recall_u2i"]).file_uris()
    lists = duckdb.connect().read_parquet(files, hive_partitioning=True)
    return met | {found for (found,) in lists.filter(f"ds = '{row['ds']}'").project("model_version").fetchall()}


def test_readers_of_pinned_versions_see_one_version_or_the_other(lake) -> None:
    made(lake, FIRST, "v0")
    publish(lake, config(), FIRST)
    met: list[set[str]] = []
    stop, errors = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            try:
                met.append(by_delta_rs(lake.root))
            except Exception as error:
                errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for n, ds in enumerate((FIRST, SECOND), 1):
            made(lake, ds, f"v{n}")
            current = published(lake)
            assert current is not None
            read_by_spark = [current.read(lake, table).head() for table in (RECALL_U2I, RECALL_I2I)]
            assert {row and row["model_version"] for row in read_by_spark} == {f"v{n - 1}"}
            publish(lake, config(), ds)
    finally:
        stop.set()
        reader.join()
    assert not errors, errors[0]
    assert all(len(each) == 1 for each in met), met
    assert len(set(map(str, met))) > 1


def test_readers_can_ask_which_lists_changed_also_of_a_table_of_an_earlier_contract(lake) -> None:
    shape = "user_id string, item_ids array<string>, scores array<float>, model_version string, search_recall double"
    rows = lake.spark.createDataFrame([("a", ["x"], [1.0], "v", 1.0), ("b", ["y"], [1.0], "v", 1.0)], shape)
    rows = with_new_columns(rows, RECALL_U2I)
    lake.replace_day(replace(RECALL_U2I, change_feed=False), rows, FIRST)
    lake.replace_day(RECALL_U2I, rows, SECOND)
    made_now = lake.version(RECALL_U2I)
    lake.replace_day(RECALL_U2I, rows.where("user_id = 'a'").withColumn("item_ids", F.array(F.lit("z"))), SECOND)
    feed = lake.spark.read.format("delta").option("readChangeFeed", True).option("startingVersion", made_now + 1)
    changes = feed.load(lake.path(RECALL_U2I)).select("_change_type", "user_id", "item_ids").collect()
    assert sorted(map(tuple, changes)) == [("delete", "a", ["x"]), ("delete", "b", ["y"]), ("insert", "a", ["z"])]
    assert deltalake.DeltaTable(lake.path(RECALL_U2I)).protocol().min_reader_version == 1


def test_published_tables_have_their_names_in_a_catalogue(lake, tmp_path) -> None:
    settings = config().model_copy(update={"catalog": "spark_catalog.recsys"})
    made(lake, FIRST, "one")
    try:
        publish(lake, settings, FIRST)
        assert lake.spark.table("recsys.recall_u2i").count() == lake.spark.table("recsys.published").count() == 1
        made(lake, SECOND, "two")
        publish(lake, settings, SECOND)
        assert lake.spark.table("recsys.recall_u2i").count() == 2
        other = Lake(lake.spark, str(tmp_path / "other"))
        made(other, FIRST, "one")
        with pytest.raises(ConfigError, match=r"another table spark_catalog\.recsys\..*mend `catalog`"):
            publish(other, settings, FIRST)
        with pytest.raises(ConfigError, match=r"cannot be registered in nowhere\.recsys.*spark\.sql\.catalog"):
            register(lake, "nowhere.recsys")
    finally:
        lake.spark.sql("DROP SCHEMA IF EXISTS recsys CASCADE")
    assert lake.read(RECALL_U2I).count() == 2, "the catalogue owns no files"


HIVE = """
import sys
from divspa.lake.catalog import register
from divspa.lake.session import spark_session
from divspa.lake.settings import Spark
from divspa.lake.tables import Lake

spark = spark_session(Spark(master="local[1]", driver_memory="1g", small_log=True))
assert spark.conf.get("spark.sql.catalogImplementation") == "hive"
new = register(Lake(spark, sys.argv[1]), "spark_catalog.recsys")
print(len(new), spark.table("spark_catalog.recsys.recall_i2i").count())
"""


def test_the_names_outlive_a_session_in_hives_catalogue(lake, tmp_path) -> None:
    made(lake, FIRST, "one")
    options = {
        "spark.sql.catalogImplementation": "hive",
        "spark.sql.warehouse.dir": f"{tmp_path}/warehouse",
        "spark.hadoop.javax.jdo.option.ConnectionURL": f"jdbc:derby:;databaseName={tmp_path}/metastore;create=true",
        "derby.stream.error.file": f"{tmp_path}/derby.log",
    }
    java = " ".join([os.environ["JAVA_TOOL_OPTIONS"], *(f"-D{key}={value}" for key, value in options.items())])
    environment = {**os.environ, "JAVA_TOOL_OPTIONS": java}
    for new in (4, 0):
        command = [sys.executable, "-c", HIVE, lake.root]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.split() == [str(new), "1"]


def test_maintain_spares_what_is_published(lake) -> None:
    made(lake, FIRST, "kept")
    publish(lake, config(), FIRST)
    made(lake, FIRST, "newer")  # the pinned files are no longer those of the newest version
    made(lake, THIRD, "later")
    maintain(lake, config(keep_days=1, pinned_days=1), THIRD)
    current = published(lake)
    assert current is not None
    assert current.read(lake, RECALL_U2I).collect()[0]["model_version"] == "kept"
    assert by_delta_rs(lake.root) == {"kept"}
    assert (Path(lake.root) / f"serving/ds={FIRST}/kept").exists()


def test_a_table_says_the_version_of_its_contract_and_a_later_one_is_refused(lake) -> None:
    rows = lake.spark.createDataFrame([("a", ["x"], [1.0], "v", 1.0, "divspa", ["divspa"])], f"user_id string, {LISTS}")
    later = Table(RECALL_U2I.name, RECALL_U2I.grain, RECALL_U2I.columns, RECALL_U2I.key, version=7)
    for table in (RECALL_U2I, later):
        lake.replace_day(table, rows, FIRST)
        properties = deltalake.DeltaTable(lake.path(table)).metadata().configuration
        assert properties["divspa.contract"] == str(table.version)
    with pytest.raises(ContractError, match=r"written by a later divspa.*update divspa"):
        lake.replace_day(RECALL_U2I, rows, FIRST)
