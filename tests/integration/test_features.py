"""The feature pipeline on small logs with every kind of trouble in them, on real Spark and Delta."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

from divspa.config import Config
from divspa.errors import ConfigError, InputError
from divspa.evaluation.test_set import TestSet
from divspa.features.build import build_features, read_log
from divspa.features.clicks import new_clicks, quarantine
from divspa.features.settings import Split
from divspa.features.split import HeldOutUsers, Span, clicked_by, with_split
from divspa.lake.held import FORGETS_PLANS
from divspa.lake.tables import Lake
from divspa.schemas import CLICKS, EXAMPLES, ITEM_FEATURES, USER_FEATURES, VOCABULARY

DAY = date(2024, 1, 10)


def at(day: int, hour: int = 0) -> datetime:
    return datetime(2024, 1, day, hour, tzinfo=UTC)


CLICKED = [
    ("u1", "a", at(1)),
    ("u1", "b", at(2)),
    ("u1", "c", at(2)),  # one basket with b
    ("u1", "a", at(3)),  # again
    ("u1", "d", at(4)),
    ("u2", "a", at(1)),
    ("u2", "d", at(5)),
    ("u1", "a", at(9)),  # test, seen before
    ("u1", "e", at(9)),  # test, an item that training never saw
    ("u2", "b", at(9)),  # test, new to the user
]


def config(tmp_path: Path, clicks: pd.DataFrame | None = None, **changes) -> Config:
    frame = pd.DataFrame(CLICKED, columns=["user", "item", "time"]) if clicks is None else clicks
    frame.to_parquet(tmp_path / "clicks.parquet", coerce_timestamps="us", allow_truncated_timestamps=True)
    log = {"path": str(tmp_path / "clicks.parquet"), "user": "user", "item": "item", "time": "time"}
    data = {
        "clicks": log | changes.pop("clicks_section", {}),
        "split": {"by": "time", "at": "2024-01-08T00:00:00Z"},
        "features": {"history_length": 3},
    }
    return Config.model_validate(data | changes)


def names(lake: Lake) -> dict[int, str]:
    rows = lake.read_day(VOCABULARY, DAY).where("field = 'item_id'").collect()
    return {row["index"]: row["value"] for row in rows}


def examples(lake: Lake) -> dict[tuple, list[str]]:
    name = names(lake)
    return {
        (row["split"], row["user_id"], row["item_id"]): [name[i] for i in row["history"][: row["history_length"]]]
        for row in lake.read_day(EXAMPLES, DAY).collect()
    }


def content(lake: Lake, table) -> list[str]:
    return sorted(json.dumps(row.asDict(), default=str, sort_keys=True) for row in lake.read_day(table, DAY).collect())


@pytest.fixture(scope="module")
def built(spark, tmp_path_factory) -> Lake:
    folder = tmp_path_factory.mktemp("built")
    lake = Lake(spark, str(folder / "lake"))
    build_features(lake, config(folder), DAY)
    return lake


def test_histories_hold_what_was_strictly_before_and_baskets_do_not_see_themselves(built) -> None:
    found = examples(built)
    assert found[("train", "u1", "a")] == []
    assert found[("train", "u1", "b")] == found[("train", "u1", "c")] == ["a"]
    assert sorted(found[("train", "u1", "d")]) == ["a", "b", "c"]
    assert found[("test", "u2", "b")] == ["a", "d"]
    assert set(found) == {
        *(("train", "u1", item) for item in "abcd"),
        ("train", "u2", "a"),
        ("train", "u2", "d"),
        ("test", "u1", "a"),
        ("test", "u1", "e"),
        ("test", "u2", "b"),
    }


def test_what_the_user_had_before_is_marked_seen(built) -> None:
    seen = {
        (row["user_id"], row["item_id"]): row["seen"] for row in built.read_day(EXAMPLES, DAY, split="test").collect()
    }
    assert seen == {("u1", "a"): True, ("u1", "e"): False, ("u2", "b"): False}


def test_states_at_the_cutoff_and_at_the_end(built) -> None:
    name = names(built)
    states = {
        (row["as_of"], row["user_id"]): {name[i] for i in row["clicked"]}
        for row in built.read_day(USER_FEATURES, DAY).collect()
    }
    assert states[("cutoff", "u1")] == {"a", "b", "c", "d"}
    assert states[("cutoff", "u2")] == {"a", "d"}
    assert states[("latest", "u2")] == {"a", "b", "d"}
    assert {row["item_id"]: row["popularity"] for row in built.read_day(ITEM_FEATURES, DAY).collect()} == {
        "a": 3,
        "b": 1,
        "c": 1,
        "d": 2,
    }


def test_nothing_after_the_cutoff_reaches_the_training_side(spark, tmp_path) -> None:
    frame = pd.DataFrame(CLICKED, columns=["user", "item", "time"])
    plans = pd.DataFrame([("u1", at(1), "x", 1.0), ("u2", at(2), "y", 2.0)], columns=["id", "since", "plan", "spent"])
    poison = pd.DataFrame([("u1", "z", at(8)), ("u9", "b", at(9, 5)), ("u2", "c", at(9))], columns=frame.columns)
    poisoned = pd.concat([frame[frame["time"] < at(8)], poison])
    late = [("u1", at(8), "q", 9.0), ("u2", at(9), "x", -5.0), ("u9", at(8), "q", 7.0)]
    poisoned_plans = pd.concat([plans, pd.DataFrame(late, columns=plans.columns)])
    lakes = []
    for number, (log, users) in enumerate(((frame, plans), (poisoned, poisoned_plans))):
        folder = tmp_path / str(number)
        folder.mkdir()
        users.to_parquet(folder / "users.parquet", coerce_timestamps="us")
        fields = ["plan", {"name": "spent", "kind": "numeric", "quantiles": 2}]
        section = {"path": str(folder / "users.parquet"), "id": "id", "valid_from": "since", "fields": fields}
        features = {"history_length": 3, "sequences": [{"name": "past", "of": "item_id", "max_values": 2}]}
        lakes.append(Lake(spark, str(folder / "lake")))
        build_features(lakes[-1], config(folder, log, users=section, features=features), DAY)
    for table in (VOCABULARY, ITEM_FEATURES):
        assert content(lakes[0], table) == content(lakes[1], table)
    train = [sorted(str(row) for row in lake.read_day(EXAMPLES, DAY, split="train").collect()) for lake in lakes]
    assert train[0] == train[1]
    known = ("u1", "u2")
    cutoff = [
        sorted(
            str(row) for row in lake.read_day(USER_FEATURES, DAY, as_of="cutoff").where(f"user_id IN {known}").collect()
        )
        for lake in lakes
    ]
    assert cutoff[0] == cutoff[1]


@pytest.fixture
def as_for_larger_logs(spark) -> Iterator[None]:
    spark.conf.set(FORGETS_PLANS, "false")
    yield
    spark.conf.set(FORGETS_PLANS, "true")


def test_running_again_gives_identical_tables_whatever_the_order_of_the_file(
    built, tmp_path, as_for_larger_logs
) -> None:
    tables = (CLICKS, VOCABULARY, ITEM_FEATURES, USER_FEATURES, EXAMPLES)
    first = [content(built, table) for table in tables]
    frame = pd.DataFrame(CLICKED, columns=["user", "item", "time"])
    build_features(built, config(tmp_path, frame.sample(frac=1, random_state=3)), DAY)
    assert first == [content(built, table) for table in tables]


@pytest.mark.parametrize(("wanted", "oldest"), [(20, 100), (40, 100), (70, 60), (150, 0)])
def test_the_last_clicks_of_users_who_came_lately_are_held_out(spark, wanted, oldest) -> None:
    """200 users of ten instants each, the last of these an hour after that of the user before."""
    seen = [(f"u{user}", at(1) + timedelta(hours=user - back)) for user in range(200) for back in range(10)]
    clicks = spark.createDataFrame(seen, "user_id string, clicked_at timestamp")
    clicks = with_split(clicks, Split(by="time", at=at(20))).withColumn("user_key", F.xxhash64("user_id"))
    people = clicked_by(clicks).persist()
    one_for_each = 20 * wanted  # of 20 clicks one at most is held out
    span = replace(Span.of(people, DAY), train_clicks=one_for_each, train_instants=one_for_each)
    last = people.withColumn("clicked_at", F.col("last_trained"))

    def held_out(*, by_time: bool) -> list[int]:
        chosen = HeldOutUsers.of(people, span, 5000, by_time=by_time).chosen()
        return [int(row.user_id[1:]) for row in last.where(chosen).collect()]

    assert wanted * 0.6 < len(held_out(by_time=True)) < wanted * 1.4
    assert oldest <= min(held_out(by_time=True)) < oldest + 30
    assert min(held_out(by_time=False)) < 30
    people.unpersist()


def test_last_events_of_each_user(built) -> None:
    clicks = with_split(built.read_day(CLICKS, DAY), Split(by="last", last_events=1))
    held_out = {(row["user_id"], row["item_id"]) for row in clicks.where("split = 'test'").collect()}
    assert held_out == {("u1", "a"), ("u1", "e"), ("u2", "b")}  # one instant is held out together
    earlier = with_split(built.read_day(CLICKS, DAY), Split(by="last", discard_last=1))
    assert earlier.where("user_id = 'u2' AND item_id = 'b'").isEmpty()


def test_bad_rows_are_quarantined_with_their_reason(lake, tmp_path) -> None:
    lines = [
        {"u": "u1", "i": "a", "t": "2024-01-01 00:00:00"},
        {"u": "u1", "i": "b", "t": "2024-01-09 00:00:00"},
        {"u": None, "i": "a", "t": "2024-01-02 00:00:00"},
        {"u": "u1", "i": " ", "t": "2024-01-02 00:00:00"},
        {"u": "u1", "i": "c", "t": "yesterday"},
        {"u": "u1", "i": "c", "t": "1970-01-01 00:00:00"},
        {"u": "u1", "i": "a", "t": "2024-01-01 00:00:00"},
        {"u": "ü" * 200, "i": "🙂", "t": "2024-01-03 00:00:00"},
        {"u": "u1", "i": "later", "t": "2024-02-01 00:00:00"},
        {"u": -7, "i": -1, "t": "2024-01-04 00:00:00"},
        {"u": "u1", "i": "c", "t": "1969-12-31 23:00:00"},
    ]
    file = tmp_path / "clicks.jsonl"
    file.write_text("\n".join([*(json.dumps(line) for line in lines), '{"u": "broken"']))
    section = {"path": str(file), "format": "jsonl", "user": "u", "item": "i", "time": "t"}
    rows = read_log(lake, config(tmp_path, clicks_section=section), DAY).rows
    refused = quarantine(rows).collect()
    reasons = {reason: sum(row["copies"] for row in refused if row["reason"] == reason) for reason, _, _ in refused}
    assert reasons == {
        "the row cannot be parsed": 1,
        "the user is null or empty": 1,
        "the item is null or empty": 1,
        "the time is missing or not a time": 1,
        "the time is before 1995-01-01: another unit?": 2,
        "the same user, item and time again": 1,
    }
    assert {row["item_id"] for row in new_clicks(rows).collect()} == {"a", "b", "🙂", "-1"}
    assert {row["user_id"] for row in new_clicks(rows).collect()} == {"u1", "ü" * 200, "-7"}


@pytest.mark.parametrize(("unit", "scale"), [("seconds", 1), ("milliseconds", 1_000), ("nanoseconds", 1_000_000_000)])
def test_csv_and_every_time_unit(lake, tmp_path, unit, scale) -> None:
    file = tmp_path / "clicks.csv"
    rows = [f"{user},{item},{int(time.timestamp()) * scale},{5 if item != 'c' else 1}" for user, item, time in CLICKED]
    file.write_text("\n".join(["user,item,time,rating", *rows]))
    section = {"path": str(file), "format": "csv", "time_unit": unit, "positive": "rating >= 4"}
    found = new_clicks(read_log(lake, config(tmp_path, clicks_section=section), DAY).rows).collect()
    clicks = {(row["user_id"], row["item_id"], row["clicked_at"]) for row in found}
    assert clicks == {(user, item, time.replace(tzinfo=None)) for user, item, time in CLICKED if item != "c"}


def test_what_clicks_count_reaches_examples_popularity_and_test_events(lake, tmp_path) -> None:
    event = ["view", "view", "buy", "buy", "view", "view", "view", "view", "buy", "buy"]
    frame = pd.DataFrame(CLICKED, columns=["user", "item", "time"]).assign(event=event)
    frame = pd.concat([frame, frame.iloc[[0]].assign(event="buy")])  # the same click told twice: the stronger counts
    worth = {"events": {"column": "event", "weights": {"view": 0.5, "buy": 4}}}
    settings = config(tmp_path, frame, clicks_section=worth, evaluation={"events": ["buy"]})
    build_features(lake, settings, DAY)
    rows = lake.read_day(EXAMPLES, DAY).collect()
    found = {(row.split, row.user_id, row.item_id): (row.event, row.weight) for row in rows}
    # u1 viewed and bought a at once and bought it again later: one example, of the strongest event.
    assert found[("train", "u1", "a")] == ("buy", 4.0) and found[("train", "u1", "b")] == ("view", 0.5)
    counted = {row.item_id: row.popularity for row in lake.read_day(ITEM_FEATURES, DAY).collect()}
    assert counted == {"a": 9, "b": 1, "c": 4, "d": 1}
    test = TestSet.of(lake, settings, DAY)
    assert test.questions.agg(F.sum(F.size("asked"))).first() == (2,)
    test.close()


def test_a_delta_log(lake, tmp_path) -> None:
    settings = config(tmp_path)
    path = str(tmp_path / "log")
    lake.spark.read.parquet(settings.clicks.path).write.format("delta").save(path)
    rows = read_log(lake, config(tmp_path, clicks_section={"path": path, "format": "delta"}), DAY).rows
    assert new_clicks(rows).count() == len(CLICKED)


@pytest.mark.parametrize(
    ("section", "error", "message"),
    [
        ({"path": "/no/such/place"}, InputError, "cannot be read"),
        ({"user": "usr"}, InputError, "lacks the column usr"),
        ({"time": "no_such_column"}, InputError, "lacks the column no_such_column of clicks.time"),
        ({"positive": "nothing > 1"}, ConfigError, "clicks.positive"),
        ({"positive": "item = 'none'"}, InputError, "no new clicks"),
    ],
)
def test_bad_input_is_one_clear_error_and_writes_nothing(lake, tmp_path, section, error, message) -> None:
    with pytest.raises(error, match=message):
        build_features(lake, config(tmp_path, clicks_section=section), DAY)
    assert not lake.exists(CLICKS) and not lake.exists(EXAMPLES)


DAYS = [date(2024, 1, day) for day in (1, 2, 3)]


@pytest.fixture(scope="module")
def days_of_clicks(tmp_path_factory) -> tuple[Path, pd.DataFrame]:
    """A folder with a file of items and one of clicks a day, and all clicks."""
    folder, rng = tmp_path_factory.mktemp("days"), np.random.default_rng(5)
    seconds = np.sort(rng.integers(0, len(DAYS) * 86_400, 600))
    frame = pd.DataFrame(
        {
            "user": [f"u{n}" for n in rng.integers(0, 40, 600)],
            "item": [f"i{n}" for n in np.minimum(rng.geometric(0.1, 600), 25)],
            "time": pd.Timestamp(at(1)) + pd.to_timedelta(seconds, unit="s"),
        }
    )
    for day in DAYS:
        frame[frame["time"].dt.date == day].to_parquet(folder / f"log-{day}.parquet", coerce_timestamps="us")
    items = pd.DataFrame({"id": [f"i{n}" for n in range(1, 26)], "kind": list("abcde") * 5})
    items.to_parquet(folder / "items.parquet")
    return folder, frame


def config_of_days(folder: Path, frame: pd.DataFrame, **clicks_section) -> Config:
    return config(
        folder,
        frame,
        clicks_section=clicks_section,
        items={"path": str(folder / "items.parquet"), "id": "id", "fields": ["kind"]},
        features={"history_length": 4, "sequences": [{"name": "kinds", "of": "kind", "max_values": 3}]},
        split={"by": "share", "test_share": 0.2},
    )


@pytest.fixture(scope="module")
def at_once(spark, days_of_clicks) -> dict[str, list[str]]:
    """What one run over all days makes."""
    lake = Lake(spark, str(days_of_clicks[0] / "whole"))
    build_features(lake, config_of_days(*days_of_clicks), DAYS[-1])
    return by_name(lake, DAYS[-1])


def test_a_backfill_of_files_a_day_equals_one_run_over_all(spark, days_of_clicks, at_once) -> None:
    daily = Lake(spark, str(days_of_clicks[0] / "daily"))
    for day in DAYS:
        build_features(daily, config_of_days(*days_of_clicks, path=str(days_of_clicks[0] / "log-{ds}.parquet")), day)
    assert len(at_once["examples"]) > 400
    assert by_name(daily, DAYS[-1]) == at_once


def test_days_run_out_of_order_end_as_those_in_order(spark, days_of_clicks, at_once) -> None:
    frame, shuffled = days_of_clicks[1], Lake(spark, str(days_of_clicks[0] / "shuffled"))
    for day in (DAYS[1], DAYS[0], DAYS[2]):
        build_features(shuffled, config_of_days(*days_of_clicks), day)
    clicks = shuffled.read(CLICKS)
    of_day = frame.drop_duplicates().groupby(frame["time"].dt.date).size()
    assert clicks.count() == len(frame.drop_duplicates())
    assert dict(clicks.groupBy("ds").count().collect()) == of_day.to_dict()
    assert by_name(shuffled, DAYS[-1]) == at_once


def test_an_order_cannot_be_continued_from_another_day(lake, tmp_path) -> None:
    rows = pd.DataFrame({"user": ["a", "a", "b"] * 4, "item": list("pqrs") * 3, "time": range(12)})
    settings = config(tmp_path, rows, clicks_section={"time_unit": "order"}, split={"by": "last"})
    build_features(lake, settings, DAY)
    assert lake.read_day(CLICKS, DAY).count() == 12
    with pytest.raises(InputError, match="read as a whole"):
        build_features(lake, settings, date(2024, 1, 11))


def by_name(lake: Lake, ds: date) -> dict[str, list[str]]:
    """What a lake holds of a day, with names for indices, which depend on the order in which values came."""
    rows = lake.read_day(VOCABULARY, ds).collect()
    name = {(row["field"], row["index"]): row["value"] for row in rows}

    def named(row) -> str:
        values = row.asDict() | {"ds": None, "item_index": name.get(("item_id", row["item_index"]))}
        values["history"] = [name.get(("item_id", index)) for index in row["history"]]
        values["user_features"] = [name.get(("kinds", index)) for index in row["user_features"]]
        return str(sorted(values.items()))

    clicks = lake.read(CLICKS).select("user_id", "item_id", "clicked_at").collect()
    popularity = lake.read_day(ITEM_FEATURES, ds).select("item_id", "popularity").collect()
    return {
        "clicks": sorted(map(str, clicks)),
        "vocabulary": sorted(f"{row['field']} {row['value']} {row['count']}" for row in rows),
        "popularity": sorted(map(str, popularity)),
        "examples": sorted(map(named, lake.read_day(EXAMPLES, ds).collect())),
    }
