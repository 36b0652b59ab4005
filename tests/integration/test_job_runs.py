"""Every run of a stage is named in Spark, logged as JSON and added to `job_runs`, also one that fails."""

import json
import logging
import re
import threading
from collections.abc import Iterator
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from delta.tables import DeltaTable

from divspa import pipeline
from divspa.config import Config
from divspa.errors import GateError, InputError
from divspa.evaluation.history import as_prometheus, last_days
from divspa.lake.lineage import Lineage
from divspa.lake.tables import Lake
from divspa.lake.traffic import Traffic
from divspa.schemas import CHANNELS, JOB_RUNS, METRICS

DAY = date(2024, 1, 1)
CONFIG = Config.model_validate({"clicks": {"path": "-", "user": "-", "item": "-", "time": "-"}})
STATES = [("build_features", "COMPLETE"), ("train_base", "FAIL")]
SECRET = "wJalrXUtnFEMI-not-a-real-key"


@pytest.fixture
def lineage(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict]]:
    """What a receiver of OpenLineage was told."""
    events: list[dict] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            events.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(201)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OPENLINEAGE_URL", f"http://127.0.0.1:{server.server_port}")
    yield events
    server.shutdown()
    server.server_close()


def test_what_stages_read_and_wrote_and_why_one_failed(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, lineage: list[dict]
) -> None:
    described: list[str | None] = []

    def build_features(lake: Lake, config: Config, ds: date) -> None:
        rows = [(name, "v", "all", name, 1.0) for name in ("a", "b", "c")]
        lake.replace_day_with(METRICS, rows, ds)
        lake.read_day(METRICS, ds)
        described.append(lake.spark.sparkContext.getLocalProperty("spark.job.description"))

    def train_base(lake: Lake, config: Config, ds: date) -> None:
        raise InputError(f"No s3a://me:{SECRET}@bucket,\nwith {SECRET}")

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setattr(pipeline, "STAGES", {stage.__name__: stage for stage in (build_features, train_base)})
    caplog.set_level(logging.INFO, "divspa")
    with pytest.raises(InputError, match=SECRET):
        pipeline.run_stages(lake, CONFIG, DAY)
    done, failed = lake.read(JOB_RUNS).orderBy("started_at").collect()
    assert (done.stage, done.status, done.error) == ("build_features", "succeeded", None)
    assert done.rows_read == done.rows_written == {"metrics": 3}
    assert done.versions_read == done.versions_written == {"metrics": lake.version(METRICS)}
    assert 0 < done.seconds < 600 and 0 < done.peak_gb < 64
    assert (failed.stage, failed.status, failed.run_id) == ("train_base", "failed", done.run_id)
    assert "s3a://***@bucket" in failed.error and SECRET not in failed.error
    assert described == [f"build_features {DAY}"]
    assert lake.spark.sparkContext.getLocalProperty("spark.job.description") is None
    commit = DeltaTable.forPath(lake.spark, lake.path(METRICS)).history(1).collect()[0]
    assert commit.userMetadata == done.run_id
    records = [each for each in caplog.records if each.name == "divspa.lake.job_runs"]
    lines = [json.loads(record.getMessage()) for record in records]
    assert [(line["stage"], line["status"]) for line in lines] == [
        ("build_features", "succeeded"),
        ("train_base", "failed"),
    ]
    assert lines[0]["rows_written"] == {"metrics": 3} and SECRET not in caplog.text
    told = [(event["job"]["name"], event["eventType"]) for event in lineage]
    assert told == [(f"divspa.{name}", how) for name, end in STATES for how in ("START", end)]
    assert SECRET not in json.dumps(lineage)
    assert len({event["run"]["runId"] for event in lineage}) == 2
    (written,) = lineage[1]["outputs"]
    assert (written["namespace"], written["name"]) == ("file", lake.path(METRICS))
    assert written["facets"]["version"]["datasetVersion"] == str(lake.version(METRICS))
    assert written["outputFacets"]["outputStatistics"]["rowCount"] == 3
    assert [each["name"] for each in lineage[1]["inputs"]] == [lake.path(METRICS)]
    assert "s3a://***@bucket" in lineage[3]["run"]["facets"]["errorMessage"]["message"]


def test_a_receiver_that_is_away_stops_no_stage(monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    monkeypatch.setenv("OPENLINEAGE_URL", "http://127.0.0.1:1")
    told = Lineage.of("publish", "s3a://bucket/lake")
    assert told is not None
    told.ended(Traffic(versions_written={"metrics": 4}), None)
    assert "no lineage of divspa.publish" in caplog.text
    monkeypatch.delenv("OPENLINEAGE_URL")
    assert Lineage.of("publish", "lake") is None


def test_a_run_that_cannot_be_recorded_keeps_its_own_error(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def build_features(lake: Lake, config: Config, ds: date) -> None:
        raise InputError("its own error")

    def refuse(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(pipeline, "STAGES", {"build_features": build_features})
    monkeypatch.setattr(lake, "append_with", refuse)
    with pytest.raises(InputError, match="its own error"):
        pipeline.run_stages(lake, CONFIG, DAY)
    assert "job_runs not written" in caplog.text and "no space left" in caplog.text


def test_the_last_days_are_told_and_made_into_figures_for_prometheus(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert last_days(lake, 3) == []
    broken = True

    def evaluate(lake: Lake, config: Config, ds: date) -> None:
        lake.replace_day_with(METRICS, [("a+b", "v", "all", "hr@50", 0.25), ("a+b", "v", "head", "hr@50", 0.9)], ds)
        row = ("a+b", ["a", "b"], [1.0, 1.0], "v", "ndcg", 0.1, 5, "hr@50", 0.25, True, "best")
        lake.replace_day_with(CHANNELS, [row], ds)

    def augment(lake: Lake, config: Config, ds: date) -> None:
        if broken:
            raise GateError('filled "0.1"\nof 0.3')

    monkeypatch.setattr(pipeline, "STAGES", {stage.__name__: stage for stage in (evaluate, augment)})
    for days in range(3):
        with pytest.raises(GateError):
            pipeline.run_stages(lake, CONFIG, DAY + timedelta(days=days))
    newest, before = last_days(lake, 2)
    assert (newest.ds, before.ds) == (DAY + timedelta(days=2), DAY + timedelta(days=1))
    assert newest.channel == "a+b" and newest.metrics == {"a+b": {"hr@50": 0.25}} and not newest.is_published
    assert list(newest.failed) == ["augment"] and "filled" in newest.failed["augment"]
    page = as_prometheus([newest])
    samples = dict(re.findall(r"^(divspa_\w+\{[^}]+\}) (\S+)$", page, re.MULTILINE))
    assert len(samples) == sum(not line.startswith("#") for line in page.splitlines())
    assert samples['divspa_quality{ds="2024-01-03",model="a+b",metric="hr@50"}'] == "0.25"
    assert samples['divspa_stage_succeeded{ds="2024-01-03",stage="augment"}'] == "0"
    broken = False
    pipeline.run_stages(lake, CONFIG, DAY, first="augment", last="augment")
    (*_, oldest) = last_days(lake, 3)
    assert oldest.ds == DAY and oldest.failed == {}, "the newest run of a stage counts"
