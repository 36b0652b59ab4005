"""Every run of a stage is named in Spark, logged as JSON and added to `job_runs`, also one that fails."""

import json
import logging
import re
from datetime import date, timedelta

import pytest
from delta.tables import DeltaTable

from divspa import pipeline
from divspa.config import Config
from divspa.errors import GateError, InputError
from divspa.evaluation.history import as_prometheus, last_days
from divspa.lake.tables import Lake
from divspa.schemas import CHANNELS, JOB_RUNS, METRICS

DAY = date(2024, 1, 1)
CONFIG = Config.model_validate({"clicks": {"path": "-", "user": "-", "item": "-", "time": "-"}})
SECRET = "wJalrXUtnFEMI-not-a-real-key"


def test_what_stages_read_and_wrote_and_why_one_failed(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
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
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name.startswith("divspa")]
    assert [(line["stage"], line["status"]) for line in lines] == [
        ("build_features", "succeeded"),
        ("train_base", "failed"),
    ]
    assert lines[0]["rows_written"] == {"metrics": 3} and SECRET not in caplog.text


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
