"""`divspa experiment --suite quick`, in a process of its own, and once more on what it left."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl

BIN = Path(sys.executable).parent


def run_quick(out: Path, *options: str) -> str:
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = ["divspa", "experiment", "--suite", "quick", "--out", str(out), *options]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def test_the_quick_suite_ranks_every_run_compares_them_and_goes_on_where_it_was(tmp_path: Path) -> None:
    first = run_quick(tmp_path)
    trials, metrics = (pl.read_delta(f"{tmp_path}/experiment_{name}") for name in ("trials", "metrics"))
    assert sorted(trials["model"]) == ["divspa", "popularity", "youtube_dnn"]
    assert trials["ranks"].list.len().n_unique() == 1 and len(set(map(tuple, trials["user_keys"].to_list()))) == 1
    for trial in trials.to_dicts():
        of_all = metrics.filter((pl.col("trial") == trial["trial"]) & (pl.col("slice") == "all"))
        figures = dict(of_all.select("metric", "value").rows())
        hits = sum(rank < 50 for rank in trial["ranks"])
        assert figures["hr@50"] == hits / len(trial["ranks"]) and figures["events"] == len(trial["ranks"])
    page = (tmp_path / "results.md").read_text()
    assert "| generated | divspa | youtube_dnn | hr@50 |" in page
    assert "generated, divspa, seed 1" in first
    (tmp_path / "results.md").unlink()
    again = run_quick(tmp_path)
    assert "seed 1" not in again and (tmp_path / "results.md").read_text() == page
    run_quick(tmp_path, "--made-only", "--keep", f"{tmp_path}/kept")
    assert (tmp_path / "results.md").read_text() == page.replace("DIR`", f"DIR --keep {tmp_path}/kept --made-only`")
    assert pl.read_parquet(f"{tmp_path}/kept/experiment_trials.parquet").height == trials.height
