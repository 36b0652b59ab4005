"""What is guessed of logs as public data sets and teams write them; every guess is a configuration that loads."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from divspa.config import load_config
from divspa.errors import InputError
from divspa.inspection.configure import Written, configure

ROWS = 400
RNG = np.random.default_rng(5)
SECONDS = 1_600_000_000 + 3_600 * np.arange(ROWS)


def clicks(**columns: Any) -> pd.DataFrame:
    users, items = RNG.integers(1, 40, ROWS), RNG.integers(100, 180, ROWS)
    return pd.DataFrame({"user": users, "item": items, "time": SECONDS}).rename(columns=columns)


def guessed(folder: Path, log: str, **others: str) -> tuple[dict[str, Any], Written]:
    items, users = ((str(folder / others[side]) if side in others else None) for side in ("items", "users"))
    written = configure(str(folder / log), items, users, "lake", "my.yaml")
    file = folder / "my.yaml"
    file.write_text(written.yaml)
    load_config(file)
    return yaml.safe_load(written.yaml), written


def test_movielens_as_it_is_published(tmp_path: Path) -> None:
    ratings = clicks(user="userId", item="movieId", time="timestamp").assign(rating=RNG.integers(1, 11, ROWS) / 2)
    ratings.to_csv(tmp_path / "ratings.csv", index=False)
    genres = ["Action|Comedy", "Drama", "Comedy|Drama|War"]
    movies = {"movieId": range(100, 180), "title": [f"Movie {n}" for n in range(80)]}
    pd.DataFrame(movies | {"genres": (genres * 27)[:80]}).to_csv(tmp_path / "movies.csv", index=False)
    found, written = guessed(tmp_path, "ratings.csv", items="movies.csv")
    log = {"format": "csv", "user": "userId", "item": "movieId", "time": "timestamp", "time_unit": "seconds"}
    assert found["clicks"] == log | {"path": str(tmp_path / "ratings.csv"), "positive": None}
    assert found["items"]["id"] == "movieId" and found["split"] == {"by": "share"}
    assert "divspa" not in found and load_config(tmp_path / "my.yaml").divspa.choose == "auto"
    assert {"name": "genres", "kind": "multi", "delimiter": "|"} in found["items"]["fields"]
    assert written.ds == str(date(2020, 9, 30)) and "every row; rating holds numbers" in written.yaml


@pytest.mark.parametrize(
    ("times", "unit"),
    [
        (SECONDS * 1000, "milliseconds"),
        (SECONDS * 1_000_000, "microseconds"),
        (pd.to_datetime(SECONDS, unit="s"), "timestamp"),
        (pd.to_datetime(SECONDS, unit="s").astype(str), "timestamp"),
        (np.arange(ROWS), "order"),
    ],
)
@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl"])
def test_units_and_formats(tmp_path: Path, times: Any, unit: str, form: str) -> None:
    frame = clicks().assign(time=times)
    path = tmp_path / f"clicks.{form}"
    if form == "csv":
        frame.to_csv(path, index=False, sep=";")
    elif form == "jsonl":
        frame.assign(time=frame["time"].astype(str) if unit == "timestamp" else frame["time"]).to_json(
            path, orient="records", lines=True
        )
    else:
        frame.to_parquet(path)
    found, written = guessed(tmp_path, path.name)
    assert (found["clicks"]["format"], found["clicks"]["time"], found["clicks"]["time_unit"]) == (form, "time", unit)
    assert found["clicks"].get("options") == ({"sep": ";"} if form == "csv" else None)
    assert found["split"]["by"] == ("last" if unit == "order" else "share")
    assert unit == "order" or written.ds == "2020-09-30"


def test_a_web_shop_log_of_nested_events(tmp_path: Path) -> None:
    kinds = ["view", "view", "cart", "purchase"]
    records = [
        {
            "ev": {"visitor_id": f"v{row.user}", "type": kinds[row.Index % 4]},
            "sku": f"s{row.item}",
            "ts": row.time,
            "n": row.Index % 3,
        }
        for row in clicks().itertuples()
    ]
    (tmp_path / "a.json").write_text(json.dumps(records))
    found, _ = guessed(tmp_path, "a.json")
    assert (found["clicks"]["user"], found["clicks"]["item"]) == ("ev.visitor_id", "sku")
    assert found["clicks"]["events"] == {"column": "ev.type", "weights": {"cart": 3, "purchase": 5, "view": 1}}


def test_a_table_without_header_and_one_of_another_encoding(tmp_path: Path) -> None:
    clicks().to_csv(tmp_path / "a.csv", index=False, header=False, sep="\t")
    with pytest.raises(InputError, match="No column looks like"):
        guessed(tmp_path, "a.csv")
    frame = clicks(user="Käufer_id", item="artikel", time="time").rename(columns={"Käufer_id": "customer"})
    frame.assign(customer="Käse" + frame["customer"].astype(str)).to_csv(
        tmp_path / "b.csv", index=False, encoding="cp1252"
    )
    with pytest.raises(InputError, match="the item of a click"):
        guessed(tmp_path, "b.csv")
    frame.rename(columns={"artikel": "article"}).assign(customer="Käse" + frame["customer"].astype(str)).to_csv(
        tmp_path / "c.csv", index=False, encoding="cp1252"
    )
    assert guessed(tmp_path, "c.csv")[0]["clicks"]["options"] == {"encoding": "cp1252"}


def test_fields_of_every_kind_and_columns_that_are_none(tmp_path: Path) -> None:
    clicks().to_parquet(tmp_path / "clicks.parquet")
    many = 300
    items = pd.DataFrame(
        {
            "item": range(100, 100 + many),
            "kind": ["a", "b", "c"] * 100,
            "price": RNG.random(many),
            "tags": [["x", "y"], ["z"], []] * 100,
            "name": [f"Thing {n}" for n in range(many)],
            "same": ["s"] * many,
            "empty": [None] * many,
            "look": [[0.5, 1.0, n / 7] for n in range(many)],
            "parts": [[0.5] * (n % 4) for n in range(many)],
        }
    )
    items.to_parquet(tmp_path / "items.parquet")
    found, written = guessed(tmp_path, "clicks.parquet", items="items.parquet")
    assert found["items"]["fields"] == [
        "kind",
        {"name": "price", "kind": "numeric"},
        {"name": "tags", "kind": "multi"},
        {"name": "look", "kind": "vector", "size": 3},
    ]
    assert "parts (lists of numbers, of several lengths)" in written.yaml
    assert "name (nearly every row has its own value), same (always the same)" in written.yaml
    strangers = items.assign(item=range(10_000, 10_000 + many))
    strangers.to_parquet(tmp_path / "strangers.parquet")
    with pytest.raises(InputError, match="belong together"):
        guessed(tmp_path, "clicks.parquet", users="strangers.parquet")
