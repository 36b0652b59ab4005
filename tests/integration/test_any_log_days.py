"""A day of features from logs and tables as teams have them: figures, gates, fields of any name, and first looks."""

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from divspa.config import Config
from divspa.errors import ConfigError, GateError, InputError
from divspa.features.build import build_features
from divspa.inspection.check import check_data
from divspa.inspection.page import facts_of, survey_page
from divspa.inspection.survey import survey
from divspa.lake.job_runs import Run, recorded
from divspa.lake.sizes import with_sizes
from divspa.lake.tables import Lake
from divspa.lake.training_split import counted_clicks
from divspa.pipeline import stages_left
from divspa.schemas import ATTRIBUTES_QUARANTINE, EXAMPLES, FEATURE_GATES, ITEM_FEATURES, VOCABULARY

DAY = date(2024, 1, 10)
START = datetime(2024, 1, 1, tzinfo=UTC)
COUNT = 63
CLICKS = [(n % 7, n % 9, START + timedelta(hours=3 * n)) for n in range(COUNT)]
OUTCOMES = ["new_clicks", "rows_known", "rows_repeated", "rows_refused", "rows_later", "rows_not_positive"]
OUTCOMES += ["rows_ignored"]


def log_of(folder: Path, rows: list[tuple] = CLICKS, **columns: Any) -> dict[str, str]:
    folder.joinpath("log").mkdir(parents=True)
    users, items, times = zip(*rows, strict=True)
    whole = {"user": pa.array(users), "item": pa.array(items), "time": pa.array(times, pa.timestamp("us", "UTC"))}
    pq.write_table(pa.table(whole | columns), folder / "log" / "clicks.parquet")
    return {"path": str(folder / "log"), "user": "user", "item": "item", "time": "time"}


def items_of(folder: Path, fields: list, name: str = "items.parquet", **columns: Any) -> dict[str, Any]:
    pq.write_table(pa.table({"item": [float(n) for n in range(9)]} | columns), folder / name)
    return {"path": str(folder / name), "id": "item", "fields": fields}


def figures(lake: Lake) -> dict[tuple[str, str], float]:
    return {(row.figure, row.field): row.value for row in lake.read_day(FEATURE_GATES, DAY).collect()}


def test_every_row_and_file_is_a_figure_and_ids_of_other_types_meet(lake: Lake, tmp_path: Path) -> None:
    more = [(None, 1, START), (3, 3, START + timedelta(days=30)), CLICKS[5], (4, 4, datetime(1990, 1, 1, tzinfo=UTC))]
    log = log_of(tmp_path, [*CLICKS, *more], bot=pa.array([n == 0 for n in range(COUNT + len(more))]))
    (tmp_path / "log" / "_SUCCESS").touch()
    (tmp_path / "log" / "broken.parquet").write_bytes(b"PAR1 and nothing else")
    items = items_of(tmp_path, ["kind"], kind=["a", "b", None] * 3)
    gates = {"compare_from": 10, "max_user_share": 0.2, "max_item_share": 0.2, "min_matched_items": 1.0}
    settings = {"clicks": log | {"positive": "not bot", "corrupt_files": "quarantine"}, "items": items}
    build_features(lake, Config.model_validate(settings | {"features": {"gates": gates, "max_user_clicks": 5}}), DAY)
    found = figures(lake)
    rows = {name: found[name, ""] for name in OUTCOMES}
    assert rows == dict(zip(OUTCOMES, (COUNT - 1, 0, 1, 2, 1, 1, 0), strict=True))
    assert found["rows_read", ""] == sum(rows.values()) == COUNT + 4
    files = {name: found[f"files_{name}", ""] for name in ("found", "read", "left_out", "damaged")}
    assert files == {"found": 3, "read": 1, "left_out": 1, "damaged": 1}
    assert found["refused_share", ""] == pytest.approx(2 / 65) and found["matched_items", ""] == 1.0
    assert found["capped_clicks", ""] == COUNT - 1 - found["train_clicks", ""] - found["test_clicks", ""] > 20
    assert 0 < found["user_share", ""] <= 0.2 and 0 < found["item_share", ""] <= 0.2


@pytest.mark.parametrize(
    ("clicks", "figure"),
    [
        ([(0 if n % 2 else n, n % 9, START + timedelta(hours=n)) for n in range(COUNT)], "user_share 0.5"),
        ([(n % 20, 0 if n % 2 else n % 9, START + timedelta(hours=n)) for n in range(COUNT)], "item_share 0.5"),
        ([(n % 7, 100 + n % 9, START + timedelta(hours=n)) for n in range(COUNT)], "matched_items 0"),
    ],
)
def test_one_user_or_item_with_much_and_ids_that_do_not_meet_stop_the_day(lake, tmp_path, clicks, figure) -> None:
    settings = {"clicks": log_of(tmp_path, clicks), "items": items_of(tmp_path, ["kind"], kind=["a", "b", None] * 3)}
    with pytest.raises(GateError, match=figure):
        build_features(lake, Config.model_validate(settings | {"features": {"gates": {"compare_from": 10}}}), DAY)
    assert not lake.exists(EXAMPLES)


def test_fields_of_any_name_expressions_and_nested_columns(lake: Lake, tmp_path: Path) -> None:
    kinds = ["a", "b", "c"] * 3
    names = ["a.b", "a`b", "*", "USER_ID", "Cutoff", "kind", "Kind", "popularity", "values", "divspa: item_id", "é\nx"]
    fields: list[Any] = [name for name in names if name != "popularity"]
    fields += [{"name": "clicks", "column": "popularity"}, {"name": "deep", "column": "upper(n.p.q)"}]
    fields += [{"name": "least", "kind": "numeric", "column": "n.low"}]
    low = [float("-inf"), float("inf"), float("nan"), None, 1.0, 2.0, 3.0, 4.0, 5.0]
    nested = [{"id": n, "p": {"q": kinds[n]}, "low": low[n]} for n in range(9)]
    items = items_of(tmp_path, fields, n=pa.array(nested), **dict.fromkeys(names, kinds))
    ev = pa.array([{"u": user, "i": {"d": item}} for user, item, _ in CLICKS])
    log = log_of(tmp_path, ev=ev) | {"user": "ev.u", "item": "ev.i.d"}
    build_features(lake, Config.model_validate({"clicks": log, "items": items | {"id": "n.id"}}), DAY)
    encoded = {row.item_id: list(row.item_features) for row in lake.read_day(ITEM_FEATURES, DAY).collect()}
    assert {item: row[:12] for item, row in encoded.items()} == {str(n): [2 + n % 3] * 12 for n in range(9)}
    bounds = [row.value for row in lake.read_day(VOCABULARY, DAY).where("field = 'least'").orderBy("index").collect()]
    assert bounds == ["-inf", "1.0", "2.0", "3.0", "4.0", "5.0"]
    assert [encoded[str(n)][12] for n in range(5)] == [2, 7, 1, 1, 3]


@pytest.mark.parametrize(
    ("field", "values", "message"),
    [
        ({"name": "x", "kind": "numeric"}, [[1.0]] * 9, "items.fields.x is no number.*array<double>"),
        ({"name": "x", "kind": "numeric"}, [b"1"] * 9, "items.fields.x is no number.*binary"),
        ({"name": "x"}, [["a"]] * 9, "items.fields.x is of a nested type.*array<string>"),
        ({"name": "x", "column": "explode(x)"}, [["a"]] * 9, "the function explode"),
        ({"name": "x", "column": "nothing"}, [["a"]] * 9, "lacks the column nothing of items.fields.x"),
    ],
)
def test_a_field_of_a_type_that_it_cannot_have_is_one_error(lake, tmp_path, field, values, message) -> None:
    settings = Config.model_validate({"clicks": log_of(tmp_path), "items": items_of(tmp_path, [field], x=values)})
    with pytest.raises((ConfigError, InputError), match=f"(?s){message}"):
        build_features(lake, settings, DAY)


def test_a_damaged_file_of_attributes_is_set_aside_and_recorded(lake: Lake, tmp_path: Path) -> None:
    log, folder = log_of(tmp_path), tmp_path / "items"
    folder.mkdir()
    items = items_of(folder, ["kind"], "good.parquet", kind=["a", "b", None] * 3) | {"path": str(folder)}
    (folder / "bad.parquet").write_bytes((folder / "good.parquet").read_bytes()[:-30])
    with pytest.raises(InputError, match=r"bad.parquet cannot be read as parquet"):
        build_features(lake, Config.model_validate({"clicks": log, "items": items}), DAY)
    settings = Config.model_validate({"clicks": log, "items": items | {"corrupt_files": "quarantine"}})
    build_features(lake, settings, DAY)
    (row,) = lake.read_day(ATTRIBUTES_QUARANTINE, DAY).collect()
    assert row.side == "items" and "bad.parquet" in row.row and "cannot be read" in row.reason


def test_an_order_gives_the_examples_of_the_times_it_stands_for(spark, tmp_path: Path) -> None:
    rows = [(n % 7, (n * n) % 11, START + timedelta(seconds=n * n)) for n in range(COUNT)]
    place: dict[int, int] = {}
    order = []
    for user, *_ in rows:
        order.append(place.setdefault(user, 0))
        place[user] += 1
    log = log_of(tmp_path, rows, place=pa.array(order))
    found = []
    for name, section in (("times", log), ("order", log | {"time": "place", "time_unit": "order"})):
        lake = Lake(spark, str(tmp_path / name))
        build_features(lake, Config.model_validate({"clicks": section, "split": {"by": "last"}}), DAY)
        examples = lake.read_day(EXAMPLES, DAY).drop("clicked_at", "example_id").collect()
        found.append((sorted(map(str, examples)), sorted(map(str, lake.read_day(VOCABULARY, DAY).collect()))))
    assert found[0] == found[1] and len(found[0][0]) > 40


def test_a_first_look_counts_what_a_run_would_read(spark, tmp_path: Path) -> None:
    rows = [*CLICKS, CLICKS[0], (None, 1, START), (8, 1, START + timedelta(days=40)), (2, 50, START + timedelta(8, 1))]
    log = log_of(tmp_path, rows)
    items = items_of(tmp_path, ["kind", "size"], kind=["a", "b", None] * 3, size=[None] * 9)
    config = Config.model_validate({"clicks": log, "items": items, "split": {"test_share": 0.2}})
    told = dict(check_data(spark, config, DAY))
    assert told["clicks: sample"].startswith("67 rows: 64 new, 1 repeated, 1 refused, 1 of later days (1 x the user is")
    assert told["clicks: times"] == "2024-01-01 00:00:00 to 2024-01-09 00:00:01 (UTC)"
    assert told["clicks: positives"] == "100.0% of the rows" and told["items: files"] == "1 read, 0 left out"
    assert told["items: rows"] == "attribute rows 9, attribute rows refused 0, attribute ids repeated 0"
    found = survey(spark, config, DAY)
    assert found.outcomes == {"clicks": 65, "refused: the user is null or empty": 1, "of a later day": 1}
    assert (found.users.count, found.users.most, found.items.count) == (7, 10, 10)
    assert sum(count for _, count in found.days) == 65 and len(found.days) == 9
    assert found.repeated == pytest.approx(1 - 64 / 65) and found.tied == pytest.approx(1 / 65)
    assert found.matched == {"items": pytest.approx(64 / 65)} and found.missing == {
        "items.kind": pytest.approx(1 / 3),
        "items.size": 1.0,
    }
    assert found.cold is not None and found.cold > 0
    assert "65" in dict(facts_of(found))["clicks"]
    page = survey_page(found, "What the log holds", "a <b>")
    assert page.count("<svg") == 3 and "a &lt;b&gt;" in page
    assert not re.search("(src|href)=['\"]?http", page), "nothing is fetched"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"path": "/no/such"}, "/no/such cannot be read"),
        ({"user": "usr"}, "lacks the column usr of clicks.user"),
        ({"positive": "rating >= 4"}, "lacks the column rating of clicks.positive"),
        ({"positive": "user + "}, "clicks.positive"),
    ],
)
def test_a_check_of_the_data_finds_what_is_wrong(spark, tmp_path, section, message) -> None:
    config = Config.model_validate({"clicks": log_of(tmp_path) | section})
    with pytest.raises((ConfigError, InputError), match=message):
        list(check_data(spark, config, DAY))


def test_a_range_of_days_goes_on_where_it_was_cut_short_though_the_log_grows(lake: Lake, tmp_path: Path) -> None:
    config = Config.model_validate({"clicks": log_of(tmp_path)})
    names = ["build_features", "train_base", "augment"]
    small = with_sizes(config, [DAY])
    assert stages_left(lake, small, DAY, names) == names
    for stage in names[:2]:
        with recorded(lake, small, Run("run", stage, DAY)):
            pass
    larger = config.model_copy(update={"spark": replace_spark(small)})
    assert stages_left(lake, larger, DAY, names) == ["augment"]
    assert stages_left(lake, larger, DAY + timedelta(1), names) == names
    assert stages_left(lake, larger.model_copy(update={"seed": 3}), DAY, names) == names
    with recorded(lake, larger, Run("again", "build_features", DAY)):
        pass
    assert stages_left(lake, larger, DAY, names) == ["train_base", "augment"]


def replace_spark(config: Config) -> Any:
    return config.spark.model_copy(update={"partitions": 99, "driver_memory": "9g"})


def test_a_click_that_counts_less_is_offered_less_often(spark) -> None:
    many = list(range(2, 1002))
    trained = spark.createDataFrame([(1, many), (2, [5, 7]), (3, [9])], "user_key bigint, clicked array<int>")
    rows = [(1, item, 5.0 if item % 2 else 1.0) for item in many] + [(2, 5, 0.1), (2, 7, None)]
    pairs = spark.createDataFrame(rows, "user_key bigint, item_index int, weight float")
    counted = {row.user_key: row.counted for row in counted_clicks(trained, pairs).collect()}
    strong, weak = ([item for item in counted[1] if item % 2 == odd] for odd in (1, 0))
    assert strong == many[1::2] and 60 < len(weak) < 140 and counted[3] == [9]
    alike = counted_clicks(trained, pairs.withColumn("weight", F.lit(3.0))).collect()
    assert {row.user_key: row.counted for row in alike} == {1: many, 2: [5, 7], 3: [9]}
