"""What MLflow holds of a training, read back by MLflow's own client, and what happens without it."""

import importlib.util
import logging
from datetime import date
from pathlib import Path

import pytest
from mlflow import MlflowClient

from divspa.config import Config
from divspa.errors import ConfigError
from divspa.features.settings import ClickLog
from divspa.training.resume import Progress
from divspa.training.tracking import TrainedModel, require_tracking, track

CONFIG = Config(clicks=ClickLog(path="x", user="u", item="i", time="t"))
PROGRESS = Progress(losses=[2.0, 1.5, 1.25], scores=[0.1, 0.3, 0.2], examples=900, seconds=3.0)
TRAINED = TrainedModel(date(2024, 1, 5), "divspa", "abc", "checkpoints/x", {"examples": 4})


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    uri = (tmp_path / "runs").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return uri


def test_a_training_is_a_run_with_its_curve_settings_and_versions(server: str) -> None:
    require_tracking()
    track(TRAINED, CONFIG, PROGRESS)
    track(TRAINED, CONFIG, PROGRESS)
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name("divspa")
    assert experiment is not None
    first, second = client.search_runs([experiment.experiment_id])
    assert first.info.run_id != second.info.run_id and first.info.status == "FINISHED"
    curve = client.get_metric_history(first.info.run_id, "validation")
    assert sorted((point.step, point.value) for point in curve) == [(1, 0.1), (2, 0.3), (3, 0.2)]
    assert first.data.metrics["best_epoch"] == 2 and first.data.metrics["examples_per_second"] == 300
    assert first.data.params["training.batch_size"] == "1024" and first.data.params["clicks.user"] == "u"
    assert first.data.tags["model_version"] == "abc" and first.data.tags["versions"] == '{"examples": 4}'


def test_a_server_that_fails_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "file" / "runs").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    with caplog.at_level(logging.WARNING):
        track(TRAINED, CONFIG, PROGRESS)
    assert "MLflow not written" in caplog.text


def test_without_mlflow_a_training_that_asks_for_it_does_not_start(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="uv pip install mlflow-skinny"):
        require_tracking()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    require_tracking()
