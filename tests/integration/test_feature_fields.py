"""Every kind of field, gates and late events, on small logs with real Spark and Delta."""

import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pytest import approx

from divspa.config import Config
from divspa.errors import ConfigError, GateError
from divspa.features.build import build_features
from divspa.lake.tables import Lake
from divspa.schemas import (
    ATTRIBUTES_QUARANTINE,
    CLICKS,
    CLICKS_QUARANTINE,
    EXAMPLES,
    FEATURE_GATES,
    ITEM_FEATURES,
    USER_FEATURES,
    VOCABULARY,
)

FIRST, SECOND = date(2024, 1, 8), date(2024, 1, 9)


def at(day: int, hour: int = 0) -> datetime:
    return datetime(2024, 1, day, hour, tzinfo=UTC)


CLICKED = [
    ("u1", "a", at(1)),
    ("u1", "b", at(2)),
    ("u1", "c", at(3)),
    ("u1", "d", at(4)),
    ("u2", "c", at(2)),
    ("u2", "a", at(5)),
    ("u3", "a", at(6)),
    ("u1", "b", at(8, 1)),  # test
    ("u2", "d", at(8, 2)),
    ("u4", "a", at(8, 3)),  # never trained
]
USERS = [
    ("u1", at(1), "free", 10.0),
    ("u1", at(3), "paid", 20.0),  # of the very instant of a click, which must not see it
    ("u1", at(8), "gone", 30.0),  # of the cutoff
    ("u2", at(1), "free", None),
    ("u3", at(7), "paid", 40.0),  # after its only click in training
    ("u4", at(1), "odd", 99.0),
]
ITEMS = [
    ("a", "x", 1.0, ["p", "q"], "s1", [3.0, 4.0]),
    ("b", "y", 2.0, ["q"], "s2", [0.0, -2.0]),
    ("c", None, None, [], "s3", None),
    ("d", "x", 4.0, ["r", "p", "q"], "s1", [5.0, 0.0]),
    ("e", "x", 1.0, [], "s1", [5.0, 0.0, 1.0]),  # no vector of two numbers
    ("f", "x", 1.0, [], "s1", [5.0, float("inf")]),
]


def settings(folder: Path, rows=CLICKED, users=USERS, **changes) -> Config:
    folder.mkdir(parents=True, exist_ok=True)
    frames = {
        "clicks": pd.DataFrame(rows, columns=["user", "item", "time"]),
        "users": pd.DataFrame(users, columns=["user", "since", "plan", "spent"]),
        "items": pd.DataFrame(ITEMS, columns=["item", "kind", "price", "tags", "seller", "look"]),
    }
    paths = {name: str(folder / f"{name}.parquet") for name in frames}
    for name, frame in frames.items():
        frame.to_parquet(paths[name], coerce_timestamps="us", allow_truncated_timestamps=True)
    data = {
        "clicks": {"path": paths["clicks"], "user": "user", "item": "item", "time": "time"},
        "users": {
            "path": paths["users"],
            "id": "user",
            "valid_from": "since",
            "fields": ["plan", {"name": "spent", "kind": "numeric", "quantiles": 2}],
        },
        "items": {
            "path": paths["items"],
            "id": "item",
            "fields": [
                "kind",
                {"name": "price", "kind": "numeric", "bounds": [2, 3]},
                {"name": "tags", "kind": "multi", "max_values": 2},
                {"name": "seller", "hash_buckets": 2},
                {"name": "look", "kind": "vector", "size": 2},
            ],
        },
        "split": {"by": "time", "at": at(8).isoformat()},
        "features": {
            "history_length": 2,
            "sequences": [
                {"name": "kinds", "of": "kind", "max_values": 2},
                {"name": "past_tags", "of": "tags", "max_values": 3},
                {"name": "past_items", "of": "item_id", "max_values": 2},
            ],
        },
    }
    return Config.model_validate(data | changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fields")


@pytest.fixture(scope="module")
def built(spark, folder) -> Lake:
    lake = Lake(spark, str(folder / "lake"))
    build_features(lake, settings(folder), FIRST)
    return lake


def index(lake: Lake, ds: date = FIRST) -> dict[tuple[str, str], int]:
    return {(row["field"], row["value"]): row["index"] for row in lake.read_day(VOCABULARY, ds).collect()}


def figures(lake: Lake, ds: date = FIRST) -> dict[tuple[str, str], float]:
    rows = lake.read_day(FEATURE_GATES, ds).collect()
    return {(row["figure"], row["field"]): row["value"] for row in rows}


def test_item_fields_of_every_kind_are_encoded(built) -> None:
    of = index(built)
    encoded = {row["item_id"]: list(row["item_features"]) for row in built.read_day(ITEM_FEATURES, FIRST).collect()}
    p, q, r = (of["tags", value] for value in "pqr")
    # price: below 2 is 2, from 2 is 3, from 3 is 4; null is unknown.
    assert {item: row[:4] for item, row in encoded.items()} == {
        "a": [of["kind", "x"], 2, p, q],
        "b": [of["kind", "y"], 3, q, 0],
        "c": [1, 1, 1, 0],
        "d": [of["kind", "x"], 4, r, p],
    }
    assert [of["price", bound] for bound in ("-inf", "2.0", "3.0")] == [2, 3, 4]
    assert {row[4] for row in encoded.values()} <= {2, 3}
    assert encoded["a"][4] == encoded["d"][4]
    assert {value for field, value in of if field == "seller"} == {"0", "1"}
    vectors = {item: np.asarray(row[5:], np.int32).view(np.float32) for item, row in encoded.items()}
    expected = {"a": [0.6, 0.8], "b": [0, -1], "c": [0, 0], "d": [1, 0]}
    assert {item: vector.tolist() for item, vector in vectors.items()} == {n: approx(v) for n, v in expected.items()}
    assert figures(built)["unknown_rate", "look"] == 0.25
    refused = built.read_day(ATTRIBUTES_QUARANTINE, FIRST).select("side", "reason", "copies").collect()
    assert [tuple(row) for row in refused] == [("items", "the field look is not a list of 2 finite numbers", 1)] * 2
    # Three sellers in two buckets: at least two of them share one.
    assert figures(built)["collision_rate", "seller"] in (pytest.approx(2 / 3), 1.0)


def test_user_fields_hold_what_was_valid_strictly_before_each_example(built) -> None:
    of = index(built)
    kind, tag, item = ({v: i for (f, v), i in of.items() if f == name} for name in ("kinds", "past_tags", "past_items"))
    assert kind == {v: i for (f, v), i in of.items() if f == "kind"}
    found = {
        (row["split"], row["user_id"], row["item_id"]): list(row["user_features"])
        for row in built.read_day(EXAMPLES, FIRST).collect()
    }
    plan = {value: of["plan", value] for value in ("free", "paid")}
    assert ("plan", "gone") not in of and ("plan", "odd") not in of
    low, high = 2, 3  # the median of 10, 20 and 40 is 20, and 20 belongs to the upper half
    nothing = [1, 0, 1, 0, 0, 1, 0]
    p, q, r = (tag[value] for value in "pqr")
    assert found == {
        ("train", "u1", "a"): [1, 1, *nothing],
        ("train", "u1", "b"): [plan["free"], low, kind["x"], 0, p, q, 0, item["a"], 0],
        ("train", "u1", "c"): [plan["free"], low, kind["x"], kind["y"], p, q, q, item["a"], item["b"]],
        ("train", "u1", "d"): [plan["paid"], high, kind["x"], kind["y"], p, q, q, item["b"], item["c"]],
        ("train", "u2", "c"): [plan["free"], 1, *nothing],
        ("train", "u2", "a"): [plan["free"], 1, 1, 0, 1, 0, 0, item["c"], 0],
        ("train", "u3", "a"): [1, 1, *nothing],
        ("test", "u1", "b"): [plan["paid"], high, kind["y"], kind["x"], q, r, p, item["c"], item["d"]],
        ("test", "u2", "d"): [plan["free"], 1, kind["x"], 0, p, q, 0, item["c"], item["a"]],
        ("test", "u4", "a"): [1, high, *nothing],
    }
    latest = {
        row["user_id"]: row["user_features"][:2]
        for row in built.read_day(USER_FEATURES, FIRST, as_of="latest").collect()
    }
    assert latest == {"u1": [1, high], "u2": [plan["free"], 1], "u3": [plan["paid"], high], "u4": [1, high]}


def test_the_next_day_keeps_learned_bounds_and_every_index(built, folder) -> None:
    more = [*CLICKED, ("u5", "b", at(9, 1))]
    users = [*USERS, ("u5", at(1), "new", 1000.0)]
    later = {"by": "time", "at": at(9, 2).isoformat()}
    build_features(built, settings(folder, more, users, split=later), SECOND)
    before, after = index(built), index(built, SECOND)
    assert before.items() < after.items()
    assert {value for field, value in after if field == "spent"} == {"-inf", "20.0"}
    items = settings(folder).model_dump()["items"]
    items["fields"][1]["bounds"] = (2.0, 5.0)
    with pytest.raises(ConfigError, match=r"price has other `bounds`.*Found: \[2.0, 5.0\]"):
        build_features(built, settings(folder, more, users, items=items), SECOND)
    items["fields"][1]["bounds"] = (2.0, 3.0)
    items["fields"][3]["hash_buckets"] = 3
    with pytest.raises(ConfigError, match=r"seller has other `hash_buckets`.*Expected: 2. Found: 3"):
        build_features(built, settings(folder, more, users, items=items), SECOND)


def test_a_failing_gate_publishes_nothing_and_says_which_and_by_how_much(lake, tmp_path) -> None:
    bad = [(None, "a", at(3))] * 4
    strict = {"max_unknown_rate": 0.3, "max_refused_share": 0.2}
    with pytest.raises(GateError) as error:
        build_features(lake, settings(tmp_path, [*CLICKED, *bad], features={"gates": strict}), FIRST)
    message = str(error.value)
    assert "max_refused_share 0.2" in message and "refused_share 0.2857" in message
    assert "unknown_rate of plan" in message and "unknown_rate of kind" not in message
    tables = (CLICKS, CLICKS_QUARANTINE, VOCABULARY, ITEM_FEATURES, USER_FEATURES, EXAMPLES)
    assert not any(lake.exists(table) for table in tables)
    rows = {(row["figure"], row["field"]): row for row in lake.read_day(FEATURE_GATES, FIRST).collect()}
    assert not rows["refused_share", ""]["passed"] and rows["refused_share", ""]["limit"] == 0.2
    assert rows["unknown_rate", "kind"]["passed"] and rows["unknown_rate", "kind"]["value"] == 0.25
    assert rows["new_clicks", ""]["value"] == len(CLICKED)


def test_changes_against_the_day_before_are_judged(built, tmp_path) -> None:
    lake = Lake(built.spark, str(shutil.copytree(built.root, tmp_path / "lake")))
    gates = {
        "compare_from": 4,
        "max_user_share": None,
        "max_item_share": None,
        "max_drift": 0.2,
        "max_unknown_rise": 0.1,
        "max_vocabulary_growth": 0.5,
    }
    features = settings(tmp_path).model_dump()["features"] | {"gates": gates}
    kept = lake.read(VOCABULARY).count()
    flood = [(f"n{n}", "b" if n % 2 else f"new{n}", at(9, 1)) for n in range(30)]
    later = {"by": "time", "at": at(9, 2).isoformat()}
    with pytest.raises(GateError) as error:
        build_features(lake, settings(tmp_path, [*CLICKED, *flood], features=features, split=later), SECOND)
    for beyond in (
        "drift of item_id",
        "vocabulary_growth of item_id 3.75",
        "unknown_rise of kind",
        "unknown_rise of plan",
    ):
        assert beyond in str(error.value)
    assert lake.read(VOCABULARY).count() == kept
    row = lake.read_day(FEATURE_GATES, SECOND).where("figure = 'unknown_rate' AND field = 'kind'").collect()[0]
    assert (row["previous"], row["value"]) == (0.25, pytest.approx(16 / 19))


def test_late_clicks_are_folded_in_and_older_ones_quarantined(lake, tmp_path) -> None:
    per_day = {"path": str(tmp_path / "log-{ds}.parquet"), "user": "user", "item": "item", "time": "time"}
    files = {
        FIRST: [*CLICKED, ("u1", "a", at(9, 1))],  # one of the next day: a file of its own will not come again
        SECOND: [
            ("u2", "b", at(9, 1)),
            ("u2", "c", at(8, 5)),  # late by less than a day
            ("u1", "a", at(1)),  # old and known
            ("u3", "b", at(5)),  # old and not known
        ],
    }
    for ds, rows in files.items():
        frame = pd.DataFrame(rows, columns=["user", "item", "time"])
        frame.to_parquet(tmp_path / f"log-{ds}.parquet", coerce_timestamps="us")
        chosen = {"clicks": per_day, "features": {"late_days": 1, "gates": {"max_refused_share": 0.5}}}
        build_features(lake, settings(tmp_path, **chosen), ds)
    second = {(row["user_id"], row["item_id"]) for row in lake.read_day(CLICKS, SECOND).collect()}
    assert second == {("u2", "b"), ("u2", "c")}
    refused = {(row["ds"], row["reason"]): row["row"] for row in lake.read(CLICKS_QUARANTINE).collect()}
    assert set(refused) == {(FIRST, "the time is after the day of its file"), (SECOND, "more than 1 days late")}
    assert '"u3"' in refused[SECOND, "more than 1 days late"]
    popular = {row["item_id"]: row["popularity"] for row in lake.read_day(ITEM_FEATURES, SECOND).collect()}
    assert popular == {"a": 3, "b": 1, "c": 2, "d": 1}
