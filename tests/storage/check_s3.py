"""The whole pipeline with log and lake on S3 (moto's server in this process), in processes of its own.

    uv run pytest -n 0 tests/storage/check_s3.py

Spark fetches hadoop-aws once, 550 MB; then it takes five minutes.
"""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import deltalake
import polars as pl
import pyarrow as pa
import pytest
from describe_lake import VERSIONS
from moto.server import ThreadedMotoServer
from s3_server import FAULTS, SECRET, faltering, s3_server

from divspa.pipeline import STAGES
from divspa.schemas import TABLES

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
DAY = "2024-01-14"
LAKE, FALTERING = "s3a://bucket/some/lake", "s3a://bucket/faltering/lake"
SMALL = ["training.epochs=1", "spark.driver_memory=1g", "spark.partitions=2", "spark.master=local[2]"]
SETS = [part for setting in [*SMALL, f"lake={LAKE}"] for part in ("--set", setting)]
# delta-rs refuses plain HTTP unless told.
PLAIN = {"AWS_ALLOW_HTTP": "true"}


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[ThreadedMotoServer]:
    with s3_server() as server:
        yield server


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(list(arguments), capture_output=True, text=True, cwd=ROOT, env=environment, check=False)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration whose clicks and items lie in the bucket."""
    folder = tmp_path_factory.mktemp("log") / "log"
    made = call("divspa", "generate", "--out", str(folder), "--users", "300", "--items", "200", "--clicks", "4000")
    assert made.returncode == 0, made.stderr
    for file in folder.rglob("*.parquet"):
        boto3.client("s3").upload_file(str(file), "bucket", f"log/{file.relative_to(folder)}")
        file.unlink()
    written = folder / "divspa.yaml"
    written.write_text(written.read_text().replace(str(folder), "s3a://bucket/log"))
    return written


@pytest.fixture(scope="module")
def run(config: Path) -> subprocess.CompletedProcess[str]:
    done = call("divspa", "run", "--config", str(config), "--ds", DAY, "--json", *SETS)
    assert done.returncode == 0, done.stderr[-5000:]
    return done


def table(name: str, version: int | None = None) -> deltalake.DeltaTable:
    return deltalake.DeltaTable(f"{LAKE}/{name}", version=version, storage_options=PLAIN)


def rows(name: str) -> int:
    return len(pl.read_delta(f"{LAKE}/{name}", storage_options=PLAIN))


def keys(prefix: str) -> list[str]:
    found = boto3.client("s3").list_objects_v2(Bucket="bucket", Prefix=f"some/lake/{prefix}").get("Contents", [])
    return [entry["Key"].removeprefix("some/lake/") for entry in found]


def content(key: str) -> bytes:
    return boto3.client("s3").get_object(Bucket="bucket", Key=f"some/lake/{key}")["Body"].read()


def test_every_table_is_read_without_spark(run: subprocess.CompletedProcess[str]) -> None:
    summary = json.loads(run.stdout)
    assert list(summary["stages"]) == list(STAGES) and summary["lake"] == LAKE
    for name, contract in TABLES.items():
        held = pl.read_delta(f"{LAKE}/{name}", storage_options=PLAIN)
        assert held.columns == contract.column_names
        assert len(held) > 0 or name.endswith("_quarantine"), name
    assert summary["models"]["divspa"]["hr@100"] > 0


def test_job_runs_say_what_the_tables_say(run: subprocess.CompletedProcess[str]) -> None:
    runs = pl.read_delta(f"{LAKE}/job_runs", storage_options=PLAIN).sort("started_at").to_dicts()
    assert [(row["stage"], row["status"]) for row in runs] == [(stage, "succeeded") for stage in STAGES]
    logged = [json.loads(line) for line in run.stderr.splitlines() if line.startswith('{"event": "stage"')]
    for row, line in zip(runs, logged, strict=True):
        assert line["stage"] == row["stage"] and line["rows_written"] == row["rows_written"]
        for name, version in row["versions_written"].items():
            # Not by delta-rs's history(), which holds Python's lock while it waits for the server in this process.
            lines = content(f"{name}/_delta_log/{version:020}.json").decode().splitlines()
            commit = next(action["commitInfo"] for action in map(json.loads, lines) if "commitInfo" in action)
            assert commit["userMetadata"] == row["run_id"], name
    assert runs[0]["rows_written"]["clicks"] == rows("clicks")


def test_files_beside_the_tables_are_there(run: subprocess.CompletedProcess[str]) -> None:
    assert content(f"reports/ds={DAY}/report.html").count(b'<figure class="plot">') == 4
    serving = {key.rpartition("/")[2] for key in keys(f"serving/ds={DAY}/")}
    assert {"items.faiss", "item_ids.parquet", "user_tower.pt2"} <= serving
    assert len([key for key in keys("checkpoints/") if key.endswith("model.safetensors")]) == 2
    assert not [key for key in keys("checkpoints/") + keys("serving/") if key.endswith(".part") or "/resume/" in key]


def test_event_logs_name_the_stages_and_nothing_holds_the_secret(run: subprocess.CompletedProcess[str]) -> None:
    logs = [key for key in keys("event_logs/") if key.endswith(".zstd")]
    assert logs, keys("event_logs/")
    events = "".join(pa.CompressedInputStream(io.BytesIO(content(key)), "zstd").read().decode() for key in logs)
    assert f"augment {DAY}: write augmented_positives" in events
    assert SECRET not in events and SECRET not in run.stderr + run.stdout
    assert SECRET not in repr(pl.read_delta(f"{LAKE}/job_runs", storage_options=PLAIN).to_dicts())


def test_a_store_that_falters_changes_nothing(
    run: subprocess.CompletedProcess[str], config: Path, server: ThreadedMotoServer
) -> None:
    command = ["divspa", "run", "--config", str(config), "--ds", DAY, *SETS, "--set", f"lake={FALTERING}"]
    with faltering(server, 0.02, seconds=2) as counts:
        done = call(*command)
    assert min(counts[fault] for fault in FAULTS) > 0, counts
    assert done.returncode == 0, done.stderr[-5000:]
    names = [name for name in TABLES if name not in ("job_runs", "published", "training_runs")]
    sound, faltered = ({name: content_of(lake, name) for name in names} for lake in (LAKE, FALTERING))
    assert [name for name in names if sound[name] != faltered[name]] == []


def content_of(lake: str, name: str) -> list[str]:
    """The rows of a table, without what tells of the run, and names the versions of other tables."""
    rows = pl.read_delta(f"{lake}/{name}", storage_options=PLAIN).drop(*VERSIONS, "seconds", strict=False)
    return sorted(map(repr, rows.rows()))


def test_maintain_joins_and_vacuums(run: subprocess.CompletedProcess[str], config: Path) -> None:
    before = rows("augmented_positives")
    files = len(table("job_runs").file_uris())
    done = call("divspa", "maintain", "--config", str(config), "--ds", DAY, *SETS, "--set", "maintain.vacuum_hours=0")
    assert done.returncode == 0, done.stderr[-5000:]
    assert len(table("job_runs").file_uris()) < files
    assert len([key for key in keys("job_runs/ds=") if key.endswith(".parquet")]) == len(table("job_runs").file_uris())
    assert rows("augmented_positives") == before


def test_a_job_under_spark_submit_says_what_it_lacks(run: subprocess.CompletedProcess[str], config: Path) -> None:
    job = ["jobs/export_recall.py", "--config", str(config), "--ds", DAY, *SETS]
    done = call("spark-submit", "--master", "local[2]", "--driver-memory", "1g", *job)
    assert done.returncode == 1
    # spark-submit hands on what a job says on stderr as its own stdout.
    assert "hadoop-aws is not on Spark's classpath" in done.stdout, done.stderr[-5000:]
    packages = done.stdout.partition("--packages ")[2].partition("`")[0]
    done = call("spark-submit", "--packages", packages, "--master", "local[2]", "--driver-memory", "1g", *job)
    assert done.returncode == 0, done.stderr[-5000:]


def test_a_bucket_that_is_not_there_is_one_clear_error(config: Path) -> None:
    done = call("divspa", "run", "--config", str(config), "--ds", DAY, "--set", "lake=s3a://nowhere/lake")
    assert done.returncode == 1
    assert "cannot be written to s3a://nowhere/lake/event_logs" in done.stderr and "Traceback" not in done.stderr
