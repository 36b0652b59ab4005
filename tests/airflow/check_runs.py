"""The whole DAG with the real jobs on SQLite: a day, the next one, which a gate holds back at first, and a backfill of
the first by the scheduler.
"""

import json
import secrets
import socket
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness import REPOSITORY, Airflow, airflow

MAIN = REPOSITORY / ".venv" / "bin"
SYSTEM_PATH = "/usr/bin:/bin"
FIRST, SECOND = "2024-01-02", "2024-01-03"
PUBLISHED = ("augmented_positives", "metrics", "recall_u2i", "recall_i2i")
# Nothing but chance is learned from, and nothing else may be published.
POISON = {
    "divspa": {"ways": ["random"], "sampling": "uniform", "beta": 50, "gates": {"way_filled": 0}},
    "publishing": {"channels": ["divspa"]},
}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated log of three days, one file a day."""
    out = tmp_path_factory.mktemp("generated") / "log"
    sizes = ["--users", "600", "--items", "300", "--clicks", "12000", "--days", "3"]
    subprocess.run([str(MAIN / "divspa"), "generate", "--out", str(out), *sizes], check=True, timeout=300)
    return out


@pytest.fixture(scope="module")
def home(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    """An Airflow whose spark-submit is that of the main environment; each day reads the file of that day only."""
    settings = {
        "config": str(log / "divspa.yaml"),
        "jobs": str(REPOSITORY / "jobs"),
        "set": [
            f"clicks.path={log}/clicks/part-{{ds}}-*.parquet",
            "training.epochs=3",
            "spark.partitions=2",
            # Lists so short that what is learned by chance is far behind.
            "evaluation.ks=[5]",
        ],
        "clicks": f"{log}/clicks/part-{{{{ ds }}}}-*.parquet",
        "start_date": FIRST,
        "end_date": SECOND,
        "retries": 0,
        # Jobs this short end before the JVM's second compiler has paid for itself.
        "conf": {"spark.driver.memory": "1g", "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1"},
    }
    port = _free_port()
    more = {
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "false",
        "AIRFLOW__CORE__PARALLELISM": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
    }
    spark = {"spark_default": {"conn_type": "spark", "host": "local[2]"}}
    return airflow(tmp_path_factory.mktemp("airflow") / "home", f"{MAIN}:{SYSTEM_PATH}", settings, spark, more)


def _told(*command: str | Path) -> dict[str, Any]:
    """The JSON object that a command of the main environment prints."""
    done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True, timeout=300)
    return json.loads(done.stdout)


def _lake(log: Path) -> dict[str, Any]:
    return _told(MAIN / "python", REPOSITORY / "tests" / "describe_lake.py", log / "lake", *PUBLISHED)


def _succeed(home: Airflow, day: str) -> None:
    done = home.run("dags", "test", "divspa_daily", day, timeout=3600)
    assert done.returncode == 0, done.stdout[-20_000:]


def _run(home: Airflow, day: str) -> tuple[str, str]:
    """State and end of the day's run, read from the database because each call of Airflow's command costs seconds."""
    with closing(sqlite3.connect(home.home / "airflow.db")) as database:
        query = "SELECT state, end_date FROM dag_run WHERE date(logical_date) = ?"
        return database.execute(query, (day,)).fetchone()


def _rerun_state(home: Airflow, day: str, ended_before: str, seconds: float) -> str:
    """The state in which the day's run ended anew."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        state, ended = _run(home, day)
        if state in {"success", "failed"} and ended != ended_before:
            return state
        time.sleep(2)
    raise TimeoutError(f"the backfill of {day} did not end; logs are in {home.home}")


def test_a_day_a_poisoned_day_the_same_mended_and_a_backfill(home: Airflow, log: Path) -> None:
    _succeed(home, FIRST)
    whole = (log / "divspa.yaml").read_text()
    (log / "divspa.yaml").write_text(yaml.safe_dump(yaml.safe_load(whole) | POISON))
    held_back = home.run("dags", "test", "divspa_daily", SECOND, timeout=3600)
    assert held_back.returncode != 0 and "worse than those published last" in held_back.stdout
    assert _run(home, SECOND)[0] == "failed"
    poisoned = _lake(log)
    assert [list(poisoned[table]["days"]) for table in PUBLISHED] == [
        [FIRST, SECOND],
        [FIRST, SECOND],
        [FIRST],
        [FIRST],
    ]
    current = _told(MAIN / "divspa", "published", "--config", log / "divspa.yaml", "--json")
    assert current["ds"] == FIRST, "the last good day stays what is read"
    (log / "divspa.yaml").write_text(whole)
    _succeed(home, SECOND)
    before = _lake(log)
    for table in PUBLISHED:
        assert list(before[table]["days"]) == [FIRST, SECOND], table
        assert all(day["rows"] > 0 for day in before[table]["days"].values()), table

    _, ended = _run(home, FIRST)
    with home.daemons():
        range_ = ["--from-date", FIRST, "--to-date", FIRST, "--reprocess-behavior", "completed"]
        made = home.run("backfill", "create", "--dag-id", "divspa_daily", *range_)
        assert made.returncode == 0, made.stdout
        assert _rerun_state(home, FIRST, ended, 3600) == "success"
    after = _lake(log)
    for table in PUBLISHED:
        assert after[table]["version"] > before[table]["version"], f"{table} was written again"
        assert after[table]["days"] == before[table]["days"], f"{table} holds the same rows as before"
