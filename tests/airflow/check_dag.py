"""The DAG as Airflow sees it: parsing, order, rendered command lines, gates and alerts; no Spark runs here."""

import ast
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path

import boto3
import pytest
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from botocore.exceptions import EndpointConnectionError
from harness import REPOSITORY, airflow, recorded, recorder

sys.path.insert(0, str(REPOSITORY / "airflow_dags"))

SYSTEM_PATH = "/usr/bin:/bin"
STAGES = [
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
FIXTURES = Path(__file__).parent / "commands.json"
LOCAL_SPARK = {"spark_default": {"conn_type": "spark", "host": "local[2]"}}
YARN = {
    "hadoop": {
        "conn_type": "spark",
        "host": "yarn",
        "extra": {"deploy-mode": "cluster", "queue": "reco", "spark-binary": "spark-submit"},
    }
}
DEPLOYMENT = {
    "config": "hdfs:///divspa/daily.yaml",
    "jobs": "hdfs:///divspa/jobs",
    "set": ["training.epochs=3", "lake=hdfs:///lake"],
    "spark_connection": "hadoop",
    "conf": {"spark.executor.memory": "12g"},
    "stages": {"train_base": {"conf": {"spark.executor.memory": "40g", "spark.task.maxFailures": "1"}}},
}


@pytest.fixture
def module():
    import divspa_daily

    return divspa_daily


@pytest.fixture
def clicks(tmp_path: Path) -> str:
    """The path of the day's clicks, which have landed for 2026-03-05."""
    (tmp_path / "clicks-2026-03-05.parquet").write_text("landed")
    return str(tmp_path / "clicks-{{ ds }}.parquet")


def test_stages_run_in_a_row_behind_the_sensor(module) -> None:
    dag = module.build_dag(module.read_settings({}))
    order = ["clicks_landed", *STAGES]
    assert dag.task_ids == order
    for before, after in pairwise(order):
        assert dag.get_task(before).downstream_task_ids == {after}
        assert dag.get_task(after).trigger_rule == "all_success", "a failed stage stops all that follow"


def test_days_are_caught_up_one_at_a_time(module) -> None:
    dag = module.build_dag(module.read_settings({"start_date": "2026-03-01"}))
    assert (dag.catchup, dag.max_active_runs) == (True, 1)
    assert dag.start_date.isoformat() == "2026-03-01T00:00:00+00:00"
    assert type(dag.timetable).__name__ == "CronDataIntervalTimetable", "a day runs when it is over"


def test_retries_and_timeouts_come_from_the_variable(module) -> None:
    given = {"retries": 4, "retry_minutes": 1, "stages": {"evaluate": {"timeout_hours": 1, "retries": 0}}}
    dag = module.build_dag(module.read_settings(given))
    augment, evaluate = dag.get_task("augment"), dag.get_task("evaluate")
    assert (augment.retries, augment.retry_delay) == (4, timedelta(minutes=1))
    assert augment.execution_timeout == timedelta(hours=6)
    assert (evaluate.retries, evaluate.execution_timeout) == (0, timedelta(hours=1))


@pytest.mark.parametrize(("code", "for_good"), [(3, True), (1, False), (33, False)])
def test_a_closed_gate_is_not_tried_again(module, monkeypatch: pytest.MonkeyPatch, code: int, for_good: bool) -> None:
    def submit(*_: object) -> None:
        raise AirflowException(f"Cannot execute: spark-submit jobs/evaluate.py. Error code is: {code}.")

    stage = module.build_dag(module.read_settings({})).get_task("evaluate")
    monkeypatch.setattr(SparkSubmitOperator, "execute", submit)
    with pytest.raises(AirflowException) as error:
        stage.execute({})
    assert isinstance(error.value, AirflowFailException) == for_good


def test_published_tables_are_assets(module) -> None:
    dag = module.build_dag(module.read_settings({}))
    published = {task.task_id: [asset.name for asset in task.outlets] for task in dag.tasks if task.outlets}
    assert published == {
        "train_linear": ["item_neighbours"],
        "augment": ["augmented_positives"],
        "evaluate": ["metrics", "channels"],
        "export_recall": ["recall_u2i", "recall_i2i", "recall_fallback"],
        "publish": ["published"],
    }


@pytest.mark.parametrize(
    "given", [{"timeout": 3}, {"stages": {"agument": {}}}, {"stages": {"augment": {"memory": "4g"}}}]
)
def test_an_unknown_key_is_refused_by_name(module, given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="divspa_daily has unknown"):
        module.read_settings(given)


def test_the_dag_imports_nothing_of_divspa() -> None:
    tree = ast.parse((REPOSITORY / "airflow_dags" / "divspa_daily.py").read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in imported if name.partition(".")[0] in {"divspa", "schemas", "jobs"}]


def test_airflow_itself_parses_the_folder(tmp_path: Path) -> None:
    good = airflow(tmp_path / "good", SYSTEM_PATH, {}).run("dags", "list-import-errors", "--local")
    bad = airflow(tmp_path / "bad", SYSTEM_PATH, {"retrys": 3}).run("dags", "list-import-errors", "--local")
    assert (good.returncode, "No data found" in good.stdout) == (0, True), good.stdout
    assert "retrys" in bad.stdout, "a misspelt setting is shown as an import error"


@pytest.mark.parametrize("name", ["defaults", "yarn"])
def test_rendered_commands_equal_the_fixtures(name: str, tmp_path: Path, clicks: str) -> None:
    folder, calls = recorder(tmp_path / "bin")
    settings = {"defaults": {}, "yarn": DEPLOYMENT}[name]
    connections = {"defaults": LOCAL_SPARK, "yarn": YARN}[name]
    home = airflow(tmp_path / "home", f"{folder}:{SYSTEM_PATH}", {**settings, "clicks": clicks}, connections)
    done = home.run("dags", "test", "divspa_daily", "2026-03-05")
    assert done.returncode == 0, done.stdout
    assert list(recorded(calls)) == STAGES
    assert recorded(calls) == json.loads(FIXTURES.read_text())[name]


def test_a_failed_gate_stops_publishing_and_alerts(tmp_path: Path, clicks: str) -> None:
    received: list[dict[str, object]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    folder, calls = recorder(tmp_path / "bin", fails="evaluate")
    hook = {"conn_type": "http", "host": f"http://127.0.0.1:{server.server_port}/alerts"}
    settings = {"clicks": clicks, "retries": 0, "alert_connection": "pager"}
    home = airflow(tmp_path / "home", f"{folder}:{SYSTEM_PATH}", settings, LOCAL_SPARK | {"pager": hook})
    done = home.run("dags", "test", "divspa_daily", "2026-03-05")
    server.shutdown()
    assert done.returncode != 0
    assert list(recorded(calls)) == STAGES[:7], "export_recall was not submitted"
    assert [(alert["task"], alert["ds"]) for alert in received] == [("evaluate", "2026-03-05")], done.stdout
    assert "refused" in str(received[0]["error"])


@pytest.fixture
def store() -> Iterator[dict[str, object]]:
    """The connection of an S3 server with the bucket `logs`, in which the clicks of 2026-03-05 have landed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    python = REPOSITORY / ".venv/bin/python"
    server = subprocess.Popen([str(python), "-m", "moto.server", "-p", str(port)], stderr=subprocess.DEVNULL)
    given = {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1"}
    client = boto3.client("s3", **given, aws_access_key_id="key", aws_secret_access_key="secret")
    for _ in range(100):
        try:
            client.create_bucket(Bucket="logs")
            break
        except EndpointConnectionError:
            time.sleep(0.2)
    client.put_object(Bucket="logs", Key="clicks/part-2026-03-05-000.parquet", Body=b"landed")
    yield {"conn_type": "aws", "login": "key", "password": "secret", "extra": given}
    server.terminate()
    server.wait()


@pytest.mark.parametrize(("day", "landed"), [("2026-03-05", True), ("2026-03-06", False)])
def test_clicks_are_waited_for_in_an_object_store(tmp_path: Path, store, day: str, landed: bool) -> None:
    folder, calls = recorder(tmp_path / "bin")
    settings = {"clicks": "s3://logs/clicks/part-{{ ds }}-*.parquet", "store_connection": "store"}
    settings |= {"wait_hours": 0.001, "poke_minutes": 0.02}
    home = airflow(tmp_path / "home", f"{folder}:{SYSTEM_PATH}", settings, LOCAL_SPARK | {"store": store})
    done = home.run("dags", "test", "divspa_daily", day)
    assert (done.returncode == 0) == landed, done.stdout
    assert list(recorded(calls)) == (STAGES if landed else [])
    assert landed or "AirflowSensorTimeout" in done.stdout, done.stdout


def test_without_the_days_clicks_nothing_is_submitted(tmp_path: Path, clicks: str) -> None:
    folder, calls = recorder(tmp_path / "bin")
    settings = {"clicks": clicks, "wait_hours": 0.001, "poke_minutes": 0.02}
    home = airflow(tmp_path / "home", f"{folder}:{SYSTEM_PATH}", settings, LOCAL_SPARK)
    done = home.run("dags", "test", "divspa_daily", "2026-03-06")
    assert done.returncode != 0
    assert "AirflowSensorTimeout" in done.stdout, done.stdout
    assert recorded(calls) == {}
