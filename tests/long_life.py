"""Many days of one lake, one after the other: what a day costs and leaves stays bounded, and a backfill gives the same.

    .venv/bin/python -m tests.long_life --days 30 --out FOLDER

Generates a log whose items and field values come and go, with a file for each day and late clicks in them; runs each
day as a process of its own (`features.window_days` 7, warm starts, `maintain` every third day), and then all of them
as one backfill in a lake of its own; and trains the last day that was maintained again, on the versions of tables that
it published. Prints a JSON object a day, and last one with what was compared; fails where one of these differs, or the
median day of the last third costs more than a quarter more than that of the middle third. Writes `days.svg`.
Delta's log and Spark's event logs are counted by themselves: they age by the machine's clock, and so not here.
Thirty days take two hours on two slow cores.
"""

import argparse
import json
import re
import shutil
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl
import yaml

from divspa.errors import LOG
from divspa.evaluation.plots import lines
from divspa.lake.session import spark_session
from divspa.lake.settings import Spark
from tests.faults.killed_runs import call, rows_of

FIRST = date(2024, 1, 1)
# An item is in the shop for so many days, then there is another in its place; so is the value of its field `season`.
LIFE, SEASON = 8, 4
KEPT_APART = ("clicks", "event_logs")
LATE, WINDOW, MAINTAINED_EVERY, KEPT = 0.03, 7, 3, 4
# The first days have no clicks to train on and test by.
WARM_UP = 3
SETTINGS: dict[str, Any] = {
    "features": {"window_days": WINDOW, "late_days": 1, "embed_user_id": True},
    "split": {"test_share": 0.2, "validation_events": 300},
    "training": {"start": "previous", "epochs": 2},
    "divspa": {"choose": "fixed", "draws": 2},
    "maintain": {"keep_days": KEPT, "pinned_days": 2, "vacuum_hours": 0},
    "spark": {"master": "local[2]", "partitions": 2, "driver_memory": "1g"},
}
GROWTH = 1.25


def day(n: int) -> date:
    return FIRST + timedelta(days=n)


def generate(folder: Path, days: int) -> dict[str, Any]:
    """The log's configuration: a file of clicks for each day, in which some are of the day before."""
    sizes = ["--users", "600", "--items", "150", "--clicks", str(700 * days), "--days", str(days)]
    call("generate", "--out", str(folder), *sizes)
    clicks = pl.read_parquet(folder / "clicks" / "*.parquet")
    nth = (pl.col("timestamp").dt.date() - FIRST).dt.total_days()
    # Items begin on different days, so that some come and go on each of them.
    born = (nth + pl.col("item_id").hash(seed=1) % LIFE) // LIFE
    late = (pl.struct("user_id", "item_id", "timestamp").hash(seed=2) % 1000 < 1000 * LATE) & (nth < days - 1)
    clicks = clicks.with_columns(generation=born, file=nth + late.cast(pl.Int64))
    items = clicks.select("item_id", "generation", season=nth // SEASON).group_by("item_id", "generation").first()
    name = pl.format("{}~{}", "item_id", "generation")
    fields = pl.read_parquet(folder / "items.parquet")
    known = items.join(fields, "item_id").with_columns(item_id=name, season=pl.format("season {}", "season"))
    known.drop("generation").sort("item_id").write_parquet(folder / "items.parquet")
    (folder / "files").mkdir()
    for (n,), part in clicks.with_columns(item_id=name).group_by("file"):
        part.drop("generation", "file").sort(pl.all()).write_parquet(folder / "files" / f"{day(int(n))}.parquet")
    config = yaml.safe_load((folder / "divspa.yaml").read_text())
    config["clicks"]["path"] = str(folder / "files" / "{ds}.parquet")
    config["items"]["fields"].append("season")
    return config | SETTINGS


def bytes_below(folder: Path, keep: Callable[[Path], bool] = lambda path: True) -> tuple[int, float]:
    """Files and megabytes."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file() and keep(path)]
    return len(sizes), round(sum(sizes) / 1e6, 2)


def tables_and_files(lake: Path) -> tuple[int, float]:
    """Files and megabytes of a lake but for its clicks and logs."""
    return bytes_below(lake, lambda path: not {*KEPT_APART, LOG} & {*path.relative_to(lake).parts})


def table(lake: Path, name: str, ds: date) -> pl.DataFrame:
    return pl.read_delta(str(lake / name)).filter(pl.col("ds") == ds)


def look(lake: Path, ds: date, said: str) -> dict[str, Any]:
    """What a day has left: files and sizes, clicks and logs by themselves, and of the vocabulary."""
    files, megabytes = tables_and_files(lake)
    places = table(lake, "vocabulary", ds)
    item = places.filter(pl.col("field") == "item_id")
    metrics = table(lake, "metrics", ds).filter((pl.col("slice") == "all") & (pl.col("metric") == "hr@50"))
    return {
        "files": files,
        "mb": megabytes,
        "clicks_mb": bytes_below(lake / "clicks")[1],
        "log_files": bytes_below(lake, lambda path: LOG in path.parts)[0],
        "event_logs_mb": bytes_below(lake / "event_logs")[1],
        "peak_gb": max(map(float, re.findall(r'"peak_gb": ([\d.]+)', said))),
        "vocabulary": len(places),
        "items": len(item),
        "last_index": item["index"].max(),
        "hr@50": dict(metrics.select("model", pl.col("value").round(4)).iter_rows()),
    }


def written(config: dict[str, Any], lake: Path) -> str:
    file = lake.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(config | {"lake": str(lake)}))
    return str(file)


def run_daily(config: dict[str, Any], lake: Path, days: int) -> list[dict[str, Any]]:
    """Each day as a process of its own."""
    file, found = written(config, lake), []
    for n in range(WARM_UP, days):
        for earlier in range(n if n == WARM_UP else 0):
            call("run", "--config", file, "--ds", str(day(earlier)), "--to", "build_features")
        seconds, said = call("run", "--config", file, "--ds", str(day(n)))
        row: dict[str, Any] = {"ds": str(day(n)), "seconds": seconds, **look(lake, day(n), said)}
        if n % MAINTAINED_EVERY == 0:
            row["maintain"], _ = call("maintain", "--config", file, "--ds", str(day(n)))
            row["files_after"], row["mb_after"] = tables_and_files(lake)
        found.append(row)
        print(json.dumps(row), flush=True)
    return found


def reproduced(config: dict[str, Any], daily: Path, again: Path, ds: date) -> list[str]:
    """Train a published day once more on a copy of the lake, as it was at the versions that it pins, and what
    differs from the tables that it published.
    """
    shutil.copytree(daily, again)
    rows = pl.read_delta(str(daily / "published")).filter(pl.col("ds") == ds).sort("number", "published_at")
    versions = dict(rows.row(-1, named=True)["tables"])
    spark = spark_session(Spark.model_validate(SETTINGS["spark"]))
    for name, version in versions.items():
        spark.sql(f"RESTORE TABLE delta.`{again / name}` TO VERSION AS OF {version}")
    spark.stop()
    # What was trained that day has to come of the tables, and not of what lies there.
    shutil.rmtree(again / "checkpoints" / f"ds={ds}")
    call("run", "--config", written(config, again), "--ds", str(ds), "--from", "train_base")
    ours, theirs = rows_of(daily, ds, versions), rows_of(again, ds)
    return sorted(name for name in versions if ours.get(name) != theirs.get(name))


def main() -> int:
    """Run the days, backfill them, train a published one again, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--out", type=Path, required=True)
    wanted = parser.parse_args()
    folder, last = wanted.out.resolve(), day(wanted.days - 1)
    config = generate(folder / "log", wanted.days)
    daily, backfill = folder / "daily", folder / "backfill"
    found = run_daily(config, daily, wanted.days)
    file = written(config, backfill)
    call("run", "--config", file, "--ds", f"{day(0)}..{day(WARM_UP - 1)}", "--to", "build_features")
    took, _ = call("run", "--config", file, "--ds", f"{day(WARM_UP)}..{last}")
    ours, theirs = rows_of(daily, last), rows_of(backfill, last)
    differing = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    cleaned = day(max(n for n in range(WARM_UP, wanted.days - 1) if n % MAINTAINED_EVERY == 0))
    differing += [f"{name} of {cleaned}, again" for name in reproduced(config, daily, folder / "again", cleaned)]
    call("run", "--config", file, "--ds", str(last), "--set", "training.start=scratch")
    scratch = look(backfill, last, '"peak_gb": 0')["hr@50"]
    third = len(found) // 3
    grown = {
        name: round(median(row[name] for row in found[-third:]) / median(row[name] for row in found[third:-third]), 2)
        for name in ("seconds", "peak_gb", "files", "mb", "vocabulary", "last_index")
    }
    named = {"seconds": "seconds", "mb": "MB without clicks", "items": "items", "last_index": "last index of an item"}
    by_day = {label: {n: float(row[name]) for n, row in enumerate(found, WARM_UP + 1)} for name, label in named.items()}
    (folder / "days.svg").write_text(str(lines("What a day costs and leaves", by_day, "day", "").svg))
    ended = {"last_third_to_middle": grown, "differing": differing, "backfill_seconds": took}
    print(json.dumps(ended | {"hr@50_warm": found[-1]["hr@50"], "hr@50_scratch": scratch}))
    return int(bool(differing) or any(ratio > GROWTH for ratio in grown.values()))


if __name__ == "__main__":
    sys.exit(main())
