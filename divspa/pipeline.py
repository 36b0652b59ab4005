"""The stages of a day, in order."""

import time
import uuid
from collections.abc import Callable
from datetime import date

from divspa.augmentation.augment import augment
from divspa.config import Config
from divspa.errors import ConfigError
from divspa.evaluation.evaluate import evaluate
from divspa.features.build import build_features
from divspa.lake.job_runs import Run, recorded
from divspa.lake.maintain import maintain
from divspa.lake.tables import Lake
from divspa.models.registry import model_settings
from divspa.progress import step
from divspa.serving.export import export_recall
from divspa.training.stages import train_base, train_divspa

STAGES: dict[str, Callable[[Lake, Config, date], object]] = {
    stage.__name__: stage for stage in (build_features, train_base, augment, train_divspa, evaluate, export_recall)
}
# What is run beside the stages of a day, when it suits.
APART: dict[str, Callable[[Lake, Config, date], object]] = {maintain.__name__: maintain}


def run_stages(
    lake: Lake, config: Config, ds: date, first: str | None = None, last: str | None = None
) -> dict[str, float]:
    """Run the stages from `first` to `last`, both included, and return the seconds that each took.

    Each run of a stage, also one that fails, is logged and added to `job_runs`.
    """
    model_settings(config.model)
    seconds, run_id = {}, uuid.uuid4().hex[:16]
    for name in chosen_stages(first, last):
        started = time.perf_counter()
        tracker = lake.spark.sparkContext.statusTracker()
        with recorded(lake, config, Run(run_id, name, ds)), step(name, tracker=tracker):
            (STAGES | APART)[name](lake, config, ds)
        seconds[name] = round(time.perf_counter() - started, 2)
    return seconds


def chosen_stages(first: str | None, last: str | None) -> list[str]:
    """The names of the stages from `first` to `last`. Raises ConfigError for an unknown name or a wrong order."""
    if first == last and first in APART:
        return [first]
    names = list(STAGES)
    for option, name in (("--from", first), ("--to", last)):
        if name is not None and name not in names:
            raise ConfigError(f"The option {option} names no stage", expected=", ".join(names), found=name)
    start, stop = names.index(first or names[0]), names.index(last or names[-1])
    if start > stop:
        raise ConfigError(f"The stage {first} comes after {last}", expected=" -> ".join(names))
    return names[start : stop + 1]
