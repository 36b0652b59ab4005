"""The whole pipeline through the command line, on a small generated log, in processes of its own: docs/tutorial.md."""

import contextlib
import io
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import deltalake
import duckdb
import faiss
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from faults.killed_runs import below, copied, digests, left_behind, wait_for_the_end_of
from onnxruntime import InferenceSession
from rich.console import Console

from divspa.cli import summary as printed
from divspa.config import load_config
from divspa.schemas import TABLES
from divspa.serving import Recall, Request

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
DAY = "2024-01-14"
TUTORIAL = (ROOT / "docs/tutorial.md").read_text()
SMALL = ["training.epochs=2", "divspa.draws=2", "spark.driver_memory=1g", "spark.partitions=2", "spark.master=local[2]"]
# A day that chooses, between two settings that draw alike.
SMALL += ["divspa=auto", "tuning.candidates=[{beta: 0.5}]", "recall.onnx=true"]
SETS = [part for setting in SMALL for part in ("--set", setting)]
# The small settings of conftest.py taken back.
AS_USERS_HAVE_IT = {
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.codegen.wholeStage": "true",
    "spark.sql.codegen.factoryMode": "FALLBACK",
}


def shown(command: str) -> tuple[list[str], str]:
    """A command of the tutorial, as it stands there, and what the page says that it prints."""
    (found,) = re.findall(rf"^\$ (divspa {command} .*)\n((?:.*\n)*?)```$", TUTORIAL, re.MULTILINE)
    return shlex.split(found[0]), found[1]


def shape(text: str) -> list[str]:
    """The lines of an output without its figures, names that were drawn, and the widths of its columns."""
    lines = (re.sub(r"better|worse| - |[\d.+%-]+", "", line.replace(" to ", "")) for line in text.splitlines())
    return [" ".join(re.sub(r"[━─┏┳┓┡╇┩└┴┘]+", "—", line).split()) for line in lines]


def call(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # every process would compile every library again
    return subprocess.run(list(arguments), capture_output=True, text=True, cwd=cwd, env=environment, check=False)


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tutorial")
    made = call(*shown("generate")[0], cwd=folder)
    assert made.returncode == 0, made.stderr
    return folder / "log"


@pytest.fixture(scope="module")
def summary(log: Path) -> dict:
    done = call(*shown("run")[0], "--json", *SETS, cwd=log.parent)
    assert done.returncode == 0, done.stderr[-3000:]
    stages = [json.loads(line) for line in done.stderr.splitlines() if line.startswith('{"event": "stage"')]
    return json.loads(done.stdout) | {"logged": stages}


def test_the_day_chose_one_of_the_settings_and_trained_with_it(summary: dict) -> None:
    trials = frame(summary, "tuning_trials")
    assert sorted(trials["trial"]) == [-1, 0, 1] and trials["chosen"].sum() == 1
    settings = json.loads(trials.query("chosen")["settings"].item())
    assert summary["chosen"] == {name: settings[name] for name in summary["chosen"]}
    assert summary["chosen"]["beta"] in (0.3, 0.5) and summary["chosen"]["ways"] == ["u2i", "i2i", "u2u2i"]
    run = frame(summary, "training_runs").query("model == 'divspa'")["settings"].item()
    assert json.loads(run)["divspa"]["beta"] == summary["chosen"]["beta"]


def table(summary: dict, name: str) -> deltalake.DeltaTable:
    return deltalake.DeltaTable(f"{summary['lake']}/{name}")


def frame(summary: dict, name: str) -> pd.DataFrame:
    return pl.scan_delta(f"{summary['lake']}/{name}").collect().to_pandas()


def rows(summary: dict, name: str) -> list[str]:
    """Every row as text, less the versions of the tables it was made from: these rise when a later stage writes."""
    written = pl.scan_delta(f"{summary['lake']}/{name}").collect().drop("source_versions", strict=False)
    return sorted(map(str, written.rows()))


def test_every_stage_ran_and_the_models_beat_chance(summary: dict) -> None:
    assert list(summary["stages"]) == [
        "build_features",
        "train_base",
        "train_linear",
        "tune",
        "augment",
        "train_divspa",
        "evaluate",
        "refit",
        "export_recall",
        "publish",
    ]
    models = summary["models"]
    alone = {name for name in models if "+" not in name}
    assert alone == {"random", "popularity", "youtube_dnn", "divspa", "linear"}
    (published,) = (row for row in summary["channels"] if row["published"])
    assert published["channel"] in models
    told = summary["published"]
    assert (told["channel"], told["why"]) == (published["channel"], published["reason"])
    assert (told["channel"], told["against"]) in {(row["model"], row["against"]) for row in summary["comparisons"]}
    assert 0.7 * 100 / 800 < models["random"]["hr@100"] < 1.3 * 100 / 800
    for name in ("youtube_dnn", "divspa"):
        assert models[name]["hr@100"] > 1.5 * 100 / 800, models[name]
        apart = {metric for metric in models[name] if metric.startswith("distance_") and metric.endswith("@100")}
        assert apart and all(0 < models[name][metric] <= 1 for metric in apart)
    assert Path(summary["report"]).read_text().count('<figure class="plot">') == 4


def test_every_table_is_written_and_holds_what_its_contract_says(summary: dict) -> None:
    for name, contract in TABLES.items():
        written = table(summary, name)
        assert written.metadata().partition_columns == list(contract.partitioned_by)
        fields = json.loads(written.schema().to_json())["fields"]
        assert [field["name"] for field in fields] == contract.column_names
        assert written.metadata().configuration["divspa.contract"] == str(contract.version)
        assert written.protocol().min_reader_version == 1, "every engine reads it"
        if name not in ("clicks_quarantine", "attributes_quarantine"):
            assert len(rows(summary, name)) > 0, name


def test_every_stage_is_logged_and_recorded_with_its_rows(summary: dict) -> None:
    logged = summary["logged"]
    assert [line["stage"] for line in logged] == list(summary["stages"])
    for line in logged:
        for name, count in line["rows_written"].items():
            if name not in ("user_embeddings", "item_embeddings", "training_runs"):  # of two models, a stage each
                assert count == len(rows(summary, name)), name
    recorded = frame(summary, "job_runs").query(f"run_id == '{logged[0]['run_id']}'").set_index("stage")
    assert recorded["seconds"].to_dict() == {line["stage"]: line["seconds"] for line in logged}
    assert list((Path(summary["lake"]) / "event_logs").iterdir())


def test_augmented_positives_are_new_weighted_and_scored(summary: dict) -> None:
    augmented = frame(summary, "augmented_positives")
    clicked = frame(summary, "user_features").query("as_of == 'cutoff'").set_index("user_id")["clicked"]
    held_out = frame(summary, "examples").query("split == 'valid'").groupby("user_id")["item_index"].agg(set)
    assert len(held_out) > 100
    owned = {user: set(items) - held_out.get(user, set()) for user, items in clicked.items()}
    weights = np.stack(list(augmented["sampled_weights"]))
    items = np.stack(list(augmented["sampled_item_indices"]))
    assert weights.shape[1] == 9
    assert np.allclose(weights.sum(1), 1, atol=1e-3)
    assert ((items > 0) == (weights > 0)).all()
    for user, found in zip(augmented["user_id"], items, strict=True):
        real = found[found > 0].tolist()
        assert len(real) == len(set(real)) and not owned[user] & set(real)
    added = augmented.groupby("user_id")["sampled_item_indices"].agg(lambda lists: set(np.concatenate(list(lists))))
    assert any(held_out[user] & added[user] for user in held_out.index if user in added), (
        "validation could gain nothing"
    )
    sources = {source for row in augmented["sampled_sources"] for source in row if source}
    assert {"u2i", "i2i", "u2u2i"} <= sources
    vector = frame(summary, "user_embeddings")
    users = vector.query("model == 'youtube_dnn' and as_of == 'cutoff'").set_index("user_id")["vector"]
    taught = frame(summary, "item_embeddings").query("model == 'youtube_dnn'").set_index("item_index")
    row = augmented.iloc[0]
    score = float(np.dot(users[row["user_id"]], taught["vector"][row["sampled_item_indices"][0]]))
    assert row["sampled_scores"][0] == pytest.approx(score, abs=1e-5)


def test_draws_are_independent_and_complete(summary: dict) -> None:
    augmented = frame(summary, "augmented_positives")
    first, second = (augmented[augmented["draw"] == draw].set_index("example_id").sort_index() for draw in (0, 1))
    assert (first.index == second.index).all()
    same = [set(a) == set(b) for a, b in zip(first["sampled_item_ids"], second["sampled_item_ids"], strict=True)]
    assert np.mean(same) < 0.2


def test_delta_rs_duckdb_polars_and_pandas_read_the_same(summary: dict) -> None:
    for name, contract in TABLES.items():
        source = table(summary, name)
        count = f"SELECT count(*) AS rows, count(DISTINCT {contract.key[-1]}) AS keys FROM source"
        counted = deltalake.QueryBuilder().register("source", source).execute(count).read_all()
        by_delta_rs = pl.DataFrame(counted).row(0)
        by_polars = (
            pl.scan_delta(source.table_uri).select(pl.len(), pl.col(contract.key[-1]).n_unique()).collect().row(0)
        )
        if by_polars[0]:
            files = duckdb.read_parquet(source.file_uris(), hive_partitioning=True)
            by_duckdb = files.aggregate(f"count(*), count(DISTINCT {contract.key[-1]})").fetchall()
            assert by_duckdb == [by_polars]
        assert sum(len(pd.read_parquet(file)) for file in source.file_uris()) == by_polars[0], "pandas"
        assert by_delta_rs == by_polars
    weights = duckdb.read_parquet(table(summary, "augmented_positives").file_uris()).aggregate(
        "sum(list_sum(sampled_weights))"
    )
    by_polars = frame(summary, "augmented_positives")["sampled_weights"].map(sum).sum()
    assert weights.fetchall()[0][0] == pytest.approx(by_polars, rel=1e-4)


def test_recall_lists_and_the_served_index_agree(summary: dict) -> None:
    folder = next((Path(summary["lake"]) / "serving" / f"ds={DAY}").glob("*/"))
    index = faiss.deserialize_index(np.fromfile(folder / "items.faiss", np.uint8))
    names = pq.read_table(folder / "item_ids.parquet").to_pandas().set_index("item_index")["item_id"]
    i2i = frame(summary, "recall_i2i").query("channel != 'linear'").set_index("item_id")
    query = int(names.index[0])
    scores, found = index.search(index.reconstruct(query)[None], 6)
    served = [names[i] for i in found[0] if i != query]
    listed = i2i.loc[names[query]]
    assert listed["scores"][:5] == pytest.approx(sorted(scores[0], reverse=True)[1:6], abs=1e-5)
    assert set(served[:3]) <= set(listed["item_ids"][:8])
    linear = frame(summary, "recall_i2i").query("channel == 'linear'").set_index("item_id")
    neighbours = frame(summary, "item_neighbours").set_index("item_id")
    assert 100 < len(linear) <= len(neighbours) and set(linear["model_version"]) == set(neighbours["model_version"])
    for item, row in linear.iloc[:20].iterrows():
        known = zip(neighbours["neighbour_ids"][item], neighbours["weights"][item], strict=True)
        speaks_for = [other for other, weight in known if weight > 0]
        assert set(row["item_ids"]) <= set(speaks_for) and len(row["item_ids"]) == min(100, len(speaks_for))
    u2i = frame(summary, "recall_u2i")
    assert u2i["user_id"].is_unique and (u2i["item_ids"].map(len) == 200).all()
    assert (u2i["sources"].map(len) == 200).all()
    assert set(u2i["channel"]) == {row["channel"] for row in summary["channels"] if row["published"]}


def test_the_day_is_published_with_all_that_belongs_to_it(summary: dict) -> None:
    (row,) = pl.read_delta(f"{summary['lake']}/published").rows(named=True)
    tables = row["tables"]
    assert set(tables) == set(TABLES) - {"published", "job_runs"}
    assert all(table(summary, name).version() == version for name, version in tables.items())
    assert summary["published"]["version"] == row["version"]
    assert set(row["models"]) == {"youtube_dnn", "divspa", "linear"}
    lake = Path(summary["lake"])
    assert all((lake / folder / "model.safetensors").exists() for folder in row["checkpoints"].values())
    assert json.loads((lake / row["serving"] / "manifest.json").read_text())["ds"] == DAY
    current = call(*shown("published")[0], cwd=lake.parents[1])
    assert json.loads(current.stdout)["tables"] == tables, current.stderr[-2000:]


def test_the_tutorial_prints_what_it_says(
    summary: dict, log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(log.parent)
    checked, told = shown("config")
    assert call(*checked, cwd=log.parent).stdout == told
    monkeypatch.setattr(printed, "console", Console(file=io.StringIO(), width=100))
    printed.show_summary(summary, load_config(log / "divspa.yaml", []))
    assert (
        shape(printed.console.file.getvalue())[: len(shown("run")[1].splitlines()) - 1] == shape(shown("run")[1])[:-1]
    )
    programs = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", TUTORIAL, re.DOTALL)
    names: dict = {}
    for program, output in programs:
        exec(program, names)
        drawn = re.compile(r"u\d{7}|i\d{3}|(\b(u2u2i|u2i|i2i)\+?)+")
        assert shape(drawn.sub("…", capsys.readouterr().out)) == shape(drawn.sub("…", output)), program
    assert len(programs) == 3


def test_the_served_bundle_answers_as_the_tables_do(summary: dict, log: Path) -> None:
    recall = Recall.load(f"{summary['lake']}/serving/ds={DAY}")
    clicks = frame(summary, "clicks").sort_values(["clicked_at", "tie_break"]).groupby("user_id")["item_id"].agg(list)
    known = pq.read_table(log / "users.parquet").to_pandas().set_index("user_id")
    version = recall.manifest["model"]["version"]
    rows = frame(summary, "user_embeddings").query(f"model_version == '{version}' and as_of == 'latest'").iloc[:300]
    requests = [Request({**known.loc[user].to_dict(), "user_id": user}, clicks[user]) for user in rows["user_id"]]
    assert np.allclose(recall.vectors(requests), np.stack(list(rows["vector"])), atol=1e-5)
    (file,) = Path(f"{summary['lake']}/serving/ds={DAY}").glob(f"{recall.version}/user_tower.onnx")
    features, history = recall.encoder.encode(requests)
    in_onnx = InferenceSession(file).run(["vector"], {"user_features": features, "history": history})[0]
    assert np.allclose(in_onnx, np.stack(list(rows["vector"])), atol=1e-5)
    items = frame(summary, "item_embeddings").query(f"model_version == '{version}'").set_index("item_id")["vector"]
    scores = pd.Series(np.stack(list(items)) @ rows["vector"].iloc[0], items.index).drop(set(requests[0].clicks))
    found = recall.candidates(requests[0].fields, requests[0].clicks, 200)
    assert found.scores == pytest.approx(scores.nlargest(200).to_numpy(), abs=1e-5)


def test_the_profile_of_the_day_says_where_its_seconds_went(summary: dict, log: Path, tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    done = call("divspa", "profile", "--config", str(log / "divspa.yaml"), "--ds", DAY, "--json", "--trace", str(file))
    assert done.returncode == 0, done.stderr[-3000:]
    costs = {each["stage"]: each for each in json.loads(done.stdout)}
    assert list(costs) == list(summary["stages"])
    for name, each in costs.items():
        assert 0 <= each["driver"] <= each["seconds"], name
        assert each["tasks"] == pytest.approx(each["python"] + each["jvm"] + each["gc"], abs=0.5), name
    assert costs["build_features"]["python"] > 0 and costs["build_features"]["job_count"] > 10
    assert costs["train_base"]["driver"] > costs["train_base"]["seconds"] / 3, "it trains on the driver"
    spans = [event for event in json.loads(file.read_text())["traceEvents"] if event["ph"] == "X"]
    assert [event["name"] for event in spans if event["pid"] == 1] == list(costs)


def test_a_job_alone_with_spark_as_users_have_it_gives_the_identical_table(summary: dict, log: Path) -> None:
    before = rows(summary, "augmented_positives")
    version = table(summary, "augmented_positives").version()
    options = [part for key, value in AS_USERS_HAVE_IT.items() for part in ("--conf", f"{key}={value}")]
    master = ["--master", "local-cluster[2,1,1024]", "--driver-memory", "1g"]
    submit = ["spark-submit", *master, *options, "jobs/augment.py"]
    done = call(*submit, "--config", str(log / "divspa.yaml"), "--ds", DAY, *SETS)
    assert done.returncode == 0, done.stderr[-3000:]
    assert table(summary, "augmented_positives").version() > version
    assert rows(summary, "augmented_positives") == before


def test_two_processes_of_a_cluster_train_the_model_that_one_trains(summary: dict, log: Path, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(summary["lake"], lake)
    submit = ["spark-submit", "--master", "local-cluster[2,1,1024]", "--driver-memory", "1g", "jobs/train_base.py"]
    more = ["--set", f"lake={lake}", "--set", "training.processes=2"]
    done = call(*submit, "--config", str(log / "divspa.yaml"), "--ds", DAY, *SETS, *more)
    assert done.returncode == 0, done.stderr[-3000:]
    runs = [pl.read_delta(f"{folder}/training_runs") for folder in (summary["lake"], lake)]
    alone, pair = (run.filter(pl.col("model") == "youtube_dnn").row(0, named=True) for run in runs)
    assert pair["model_version"] != alone["model_version"]
    assert pair["losses"] == pytest.approx(alone["losses"], rel=0.05)
    assert pair["scores"] == pytest.approx(alone["scores"], rel=0.1)


def test_a_killed_driver_leaves_nothing_and_its_job_run_again_gives_the_identical_lake(
    summary: dict, log: Path, tmp_path: Path
) -> None:
    """One kill at a moment of its own every time; `python -m tests.faults` does it as often as you like."""
    lake, temporary = copied(Path(summary["lake"]), tmp_path / "lake"), tmp_path / "tmp"
    temporary.mkdir()
    job = [str(BIN / "divspa"), "run", "--config", str(log / "divspa.yaml"), "--ds", DAY, "--from", "augment"]
    job += ["--to", "augment", *SETS, "--set", f"lake={lake}"]
    environment = os.environ | {"TMPDIR": str(temporary)}
    driver = subprocess.Popen(job, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)
    assert driver.stderr is not None
    while "starting Spark: " not in driver.stderr.readline():
        assert driver.poll() is None
    with contextlib.suppress(subprocess.TimeoutExpired):
        driver.communicate(timeout=random.uniform(0, 8))
    family = below(driver.pid)
    driver.kill()
    driver.communicate()
    assert wait_for_the_end_of(family - {driver.pid}) == set()
    again = subprocess.run(job, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr[-3000:]
    assert digests(lake) == digests(Path(summary["lake"]))
    assert left_behind(lake, temporary) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ds", "14 January"], "The option --ds is not a day"),
        (["--ds", DAY, "--from", "bake"], "names no stage"),
        (["--ds", DAY, "--set", "divspa.betta=1"], "did you mean `beta`"),
        (["--ds", DAY, "--set", "lake=/nowhere/else", "--from", "augment"], "training_runs is not in /nowhere/else"),
    ],
)
def test_a_mistake_is_one_clear_error_without_a_stack_trace(summary: dict, log: Path, arguments, message) -> None:
    done = call("divspa", "run", "--config", str(log / "divspa.yaml"), *arguments)
    assert done.returncode == 1
    assert message in done.stderr and "Traceback" not in done.stderr


def test_without_java_one_sentence_says_what_to_install(log: Path, tmp_path: Path) -> None:
    command = [str(BIN / "divspa"), "run", "--config", str(log / "divspa.yaml"), "--ds", DAY]
    bare = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=bare, check=False)
    assert done.returncode == 1
    assert "Spark needs Java 17 or 21" in done.stderr and "apt-get install openjdk-17" in done.stderr
    assert "Traceback" not in done.stderr
