"""Whole days of small, odd logs under odd settings: each is published, or ends with one error that says why.

    .venv/bin/python -m tests.fuzz.days --days 50 [--seed 1]

One session of Spark for all. Prints a JSON object: how many were published, what the others said, and, for a day that
ended in any other way, its seed, configuration and error; fails where there is one of these.
"""

import argparse
import json
import math
import random
import re
import sys
import tempfile
import time
import traceback
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from divspa.config import Config
from divspa.errors import DivSPAError, one_line
from divspa.lake.session import spark_session
from divspa.lake.settings import Spark
from divspa.lake.tables import Lake
from divspa.pipeline import run_stages
from divspa.schemas import ITEM_EMBEDDINGS, RECALL_U2I
from divspa.serving import Recall

DAY = date(2024, 3, 1)
START = datetime(2024, 2, 1, tzinfo=UTC)
KIND = "users kind"
WEIRD = ["", " ", "'", '"', "`", "ü", "🙂", "{ds}", "=", "/", "%2F", "\n", "\\", "NULLx", "<b>"]


def clicks_of(dice: random.Random) -> dict[str, pa.Array]:
    """User, item, time and a number: of few or many users and items, most clicks on few of them, with ties."""
    users, items = dice.choice([1, 7, 40, 250, 250]), dice.choice([2, 5, 30, 250, 250])
    clicks = dice.choice([2, 10, 300, 3000, 3000])
    numpy = np.random.default_rng(dice.randrange(1 << 30))
    steep = dice.choice([0.0, 1.0, 2.0])
    chances = np.arange(1, items + 1) ** -steep
    span = dice.choice([1, 3600, 28 * 86_400, 28 * 86_400])
    return {
        "user": named(dice, "u", numpy.integers(0, users, clicks)),
        "item": named(dice, "i", numpy.choice(items, clicks, p=chances / chances.sum())),
        "time": pa.array([START + timedelta(seconds=int(at)) for at in numpy.integers(0, span, clicks)]),
        "worth": pa.array(numpy.choice([0.0, 0.5, 1.0, 3.0], clicks)),
    }


def named(dice: random.Random, letter: str, ids: np.ndarray) -> pa.Array:
    """The same ids as numbers or texts, some of which hold what means something elsewhere."""
    style = dice.choice(["number", "text", "weird"])
    if style == "number":
        return pa.array(ids.astype(np.int64))
    weird = [dice.choice(WEIRD) if style == "weird" else "" for _ in range(int(ids.max()) + 1)]
    return pa.array([f"{letter}{id}{weird[id]}" for id in ids.tolist()])


def attributes_of(dice: random.Random, ids: pa.Array, folder: Path, side: str) -> dict[str, Any] | None:
    """A table of some of the ids, and of some that nobody clicked, with fields of every kind."""
    if dice.random() < 0.3:
        return None
    own = ids.unique().to_pylist()
    own = dice.sample(own, max(1, round(len(own) * dice.choice([0.2, 0.9, 1.0]))))
    if isinstance(own[0], int):
        own += range(10_000, 10_000 + dice.choice([0, 5]))
    else:
        own += [f"never{n}" for n in range(dice.choice([0, 5]))]
    maybe = [None, None, *range(9)]
    columns = {
        "id": pa.array(own),
        "kind": pa.array([dice.choice(["a", "b", None, "", "ü"]) for _ in own]),
        "tags": pa.array([dice.choice([None, [], ["x"], ["x", "y", "z"], [None]]) for _ in own], pa.list_(pa.string())),
        "price": pa.array([dice.choice([None, math.nan, math.inf, -1.0, 0.0, 1e300, 5.0]) for _ in own], pa.float64()),
        "size": pa.array([dice.choice(maybe) for _ in own], pa.int64()),
        "text": pa.array(
            [dice.choice([None, [0.0, 0.0], [1.0, -1.0], [3e38, 1e-38]]) for _ in own], pa.list_(pa.float32())
        ),
    }
    pq.write_table(pa.table(columns), folder / f"{side}.parquet")
    fields: list[Any] = [
        {"name": "kind"},
        {"name": "tags", "kind": "multi", "max_values": dice.choice([1, 3])},
        {"name": "price", "kind": "numeric", "quantiles": dice.choice([2, 10])},
        {"name": "size", "hash_buckets": dice.choice([2, 50])},
        {"name": "text", "kind": "vector", "size": 2},
    ]
    chosen = dice.sample(fields, dice.randrange(len(fields) + 1))
    # Users and items have fields of different names.
    chosen = [field | {"name": f"{side} {field['name']}", "column": field["name"]} for field in chosen]
    return {"path": str(folder / f"{side}.parquet"), "id": "id", "fields": chosen}


def settings_of(dice: random.Random, *, segments: bool) -> dict[str, Any]:
    """Settings as nobody would put them together, small enough to be quick."""
    choice = dice.choice
    either, model = [True, False], choice(["fm", "youtube_dnn", "deepfm", "autoint", "rfm", "ufnrec"])
    features = {
        "history_length": choice([1, 3, 50, None]),
        "item_min_count": choice([0, 1, 2, 5]),
        "repeats": choice(["first", "all"]),
        "embed_user_id": choice(either),
        "window_days": choice([None, None, None, 20]),
        "max_user_clicks": choice([None, None, 3]),
        "gates": dict.fromkeys(
            ("max_refused_share", "max_user_share", "max_item_share", "min_matched_users", "min_matched_items")
        ),
    }
    ways = choice([["u2i", "i2i", "u2u2i"], ["u2i"], ["i2i", "linear_i2i"], ["linear_u2i"], ["u2u2i", "random"]])
    divspa: Any = {
        "ways": ways,
        "top_k": choice([3, 20]),
        "m": choice([1, 3]),
        "sampling": choice(["importance", "uniform", "beta"]),
        "scored_by": choice(["base", "way", "both"]),
        "mixup": choice(["output", "representation"]),
        "weights": choice(["teacher", "student"]),
        "start": choice(["base", "scratch"]),
        "draws": choice([1, 2]),
        "gates": {"filled": 0.0, "way_filled": 0.0},
    }
    recall = {
        "items_per_user": choice([1, 20, 200]),
        "items_per_item": choice([1, 100]),
        "new_items": choice([0, 0, 1]),
        "segments": [KIND] if segments and choice(either) else [],
        "segment_users": 1,
    }
    return {
        "seed": dice.randrange(100),
        "features": features,
        "split": choice([{}, {"by": "last"}, {"by": "share", "test_share": 0.5}, {"validation_events": 0}]),
        "model": {"name": model, "dim": choice([1, 8, 32])},
        "training": {
            "epochs": choice([1, 3]),
            "negative_sampling": choice(["uniform", "popularity", "in_batch", "mixed"]),
            "batch_size": choice([1024, 64]),
            "negatives": choice([1, 1000]),
            "history_sample": choice([0, 2, 50]),
            "gates": {"min_spread": 0.0, "max_direction": 1.0},
        },
        "linear": {"max_dense_items": choice([2, 10_000]), "support": choice([1, 50]), "neighbours": choice([1, 200])},
        "divspa": choice([divspa, divspa, {"choose": "auto", "gates": {"filled": 0.0, "way_filled": 0.0}}]),
        "evaluation": {"drop_seen": choice(either), "users": choice([None, 10, 100_000])},
        "report": {"users": choice([0, 3])},
        "publishing": {
            "channels": choice(["auto", [model], ["linear"], ["linear", "divspa"]]),
            "refit": choice([True, False, False]),
            "depth": choice([200, 1000]),
        },
        "recall": recall,
    }


def case_of(seed: int, folder: Path) -> dict[str, Any]:
    """Write a log, and return the configuration that reads it."""
    dice = random.Random(seed)
    clicks = clicks_of(dice)
    pq.write_table(pa.table(clicks), folder / "clicks.parquet")
    section = {"path": str(folder / "clicks.parquet"), "user": "user", "item": "item", "time": "time"}
    if dice.random() < 0.2:
        section |= {"weight": "worth"}
    users = attributes_of(dice, clicks["user"], folder, "users")
    items = attributes_of(dice, clicks["item"], folder, "items")
    user_fields = [field["name"] for field in users["fields"]] if users else []
    found = settings_of(dice, segments=KIND in user_fields)
    if not (items and items["fields"]):
        found["features"]["item_min_count"] = 1
    found |= {"lake": str(folder / "lake"), "clicks": section, "users": users, "items": items}
    return found


def run(spark: SparkSession, config: Config) -> None:
    """All stages; then what is published has to hold together."""
    lake = Lake(spark, config.lake)
    run_stages(lake, config, DAY)
    known = {row.item_id for row in lake.read_day(ITEM_EMBEDDINGS, DAY).select("item_id").distinct().collect()}
    for row in lake.read_day(RECALL_U2I, DAY).toLocalIterator():
        assert len(set(row.item_ids)) == len(row.item_ids) <= config.recall.items_per_user, row
        assert set(row.item_ids) <= known, row
    recall = Recall.load(f"{config.lake}/serving/ds={DAY}")
    assert set(recall.candidates({}, [], 5).item_ids) <= known


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1, help="of the first day; the others follow")
    asked = parser.parse_args()
    spark = spark_session(Spark(master="local[2]", driver_memory="2g", partitions=2, small_log=True))
    published, said, wrong = 0, Counter[str](), []
    until = time.monotonic() + 60 * asked.minutes
    for seed in range(asked.seed, asked.seed + asked.days):
        if time.monotonic() > until:
            break
        with tempfile.TemporaryDirectory() as name:
            case = case_of(seed, Path(name))
            try:
                run(spark, Config.model_validate(case))
                published += 1
                print(f"{seed}: published", file=sys.stderr, flush=True)
            except DivSPAError as error:
                told = re.sub(r"\d+", "N", one_line(error).replace(name, ""))[:300]
                said[told] += 1
                print(f"{seed}: {told}", file=sys.stderr, flush=True)
            except Exception as error:
                wrong.append({"seed": seed, "error": repr(error)[:3000], "case": case})
                traceback.print_exc()
                print(f"{seed}: WRONG {error!r:.300}", file=sys.stderr, flush=True)
    spark.stop()
    print(json.dumps({"published": published, "refused": dict(said), "wrong": wrong}, default=str))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
