"""A training as a run of MLflow, where the environment names a tracking server."""

import importlib.util
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from divspa.config import Config
from divspa.errors import ConfigError, one_line
from divspa.training.resume import Progress

logger = logging.getLogger(__name__)
URI, EXPERIMENT = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"


@dataclass(frozen=True)
class TrainedModel:
    """What a training was of: the row's names in `training_runs`."""

    ds: date
    model: str
    model_version: str
    checkpoint: str
    versions: Mapping[str, int]


def require_tracking() -> None:
    """Raises ConfigError, before a training and not after it, when MLflow is asked for and not installed."""
    if URI in os.environ and importlib.util.find_spec("mlflow") is None:
        raise ConfigError(
            f"{URI} is set, but MLflow is not installed", remedy="uv pip install mlflow-skinny, or unset the variable"
        )


def track(trained: TrainedModel, config: Config, progress: Progress) -> None:
    """Record losses and validation scores by epoch, settings and versions read, when MLFLOW_TRACKING_URI is set.

    A server that cannot be reached is a warning: the model is trained and published already.
    """
    if URI not in os.environ:
        return
    try:
        _record(trained, config, progress)
    except Exception as problem:
        logger.warning(json.dumps({"event": "MLflow not written", "model": trained.model, "error": one_line(problem)}))


def _record(trained: TrainedModel, config: Config, progress: Progress) -> None:
    from mlflow import MlflowClient

    client, name = MlflowClient(), os.environ.get(EXPERIMENT, "divspa")
    held = client.get_experiment_by_name(name)
    experiment = held.experiment_id if held else client.create_experiment(name)
    tags = {"ds": str(trained.ds), "model": trained.model, "model_version": trained.model_version}
    tags |= {"checkpoint": trained.checkpoint, "versions": json.dumps(dict(trained.versions))}
    run = client.create_run(experiment, run_name=f"{trained.model} {trained.ds}", tags=tags).info.run_id
    for key, value in _flat(config.model_dump(mode="json")):
        client.log_param(run, key, value)
    for metric, values in {"loss": progress.losses, "validation": progress.scores}.items():
        for epoch, value in enumerate(values, 1):
            client.log_metric(run, metric, value, step=epoch)
    client.log_metric(run, "best_epoch", progress.best_epoch + 1)
    client.log_metric(run, "seconds", progress.seconds)
    client.log_metric(run, "examples_per_second", progress.examples / max(progress.seconds, 1e-9))
    client.set_terminated(run)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by their dotted names."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
