"""The stages of a day, in order."""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from functools import wraps

from pyspark.sql import functions as F

from divspa.augmentation.augment import augment
from divspa.augmentation.ways.registry import chosen_ways
from divspa.config import Config
from divspa.errors import ConfigError
from divspa.evaluation.evaluate import evaluate
from divspa.features.build import build_features
from divspa.lake.damage import damage_named
from divspa.lake.event_logs import enter_in_manifest
from divspa.lake.forget import Forgotten, forget, today
from divspa.lake.job_runs import Run, recorded
from divspa.lake.lease import EVERY_DAY, MAINTAIN, Lease, leased
from divspa.lake.maintain import maintain
from divspa.lake.published import Version, published, rollback
from divspa.lake.tables import Lake
from divspa.linear.train import train_linear
from divspa.models.registry import model_settings
from divspa.progress import step
from divspa.refit import refit
from divspa.schemas import JOB_RUNS
from divspa.serving.export import export_recall
from divspa.serving.publish import publish, publish_anyway
from divspa.training.stages import train_base, train_divspa
from divspa.tuning.choice import to_try, with_choice
from divspa.tuning.tune import tune

Stage = Callable[[Lake, Config, date], object]


def as_chosen(stage: Stage) -> Stage:
    """The stage with the settings that the day has chosen, where it chooses."""

    @wraps(stage)
    def with_settings(lake: Lake, config: Config, ds: date) -> object:
        return stage(lake, with_choice(lake, config, ds), ds)

    return with_settings


STAGES: dict[str, Stage] = {
    stage.__name__: stage
    for stage in (
        build_features,
        train_base,
        train_linear,
        tune,
        as_chosen(augment),
        as_chosen(train_divspa),
        evaluate,
        refit,
        export_recall,
        publish,
    )
}
# What is run beside the stages of a day, when it suits.
APART: dict[str, Stage] = {maintain.__name__: maintain}


def run_stages(
    lake: Lake, config: Config, ds: date, first: str | None = None, last: str | None = None
) -> dict[str, float]:
    """Run the stages from `first` to `last`, both included, and return the seconds that each took.

    Each run of a stage, also one that fails, is logged and added to `job_runs`. The lease of the day is held
    meanwhile: raises ConflictError when another run has it.
    """
    return run_named(lake, config, ds, chosen_stages(first, last))


def run_named(lake: Lake, config: Config, ds: date, names: Sequence[str]) -> dict[str, float]:
    """Run these stages, as `run_stages` does."""
    require_known_names(config)
    seconds, run_id = {}, uuid.uuid4().hex[:16]
    if not names:
        return seconds
    scope = MAINTAIN if names[0] in APART else str(ds)
    with _leased(lake, scope, " to ".join(dict.fromkeys((names[0], names[-1])))) as lease:
        enter_in_manifest(lake, config.event_log)
        for name in names:
            lease.require()
            started = time.perf_counter()
            tracker = lake.spark.sparkContext.statusTracker()
            with recorded(lake, config, Run(run_id, name, ds)), damage_named(), step(name, tracker=tracker):
                (STAGES | APART)[name](lake, config, ds)
            seconds[name] = round(time.perf_counter() - started, 2)
    return seconds


def forget_user(lake: Lake, config: Config, user: str, *, vacuum_now: bool) -> Forgotten:
    """Take a user out of the lake, while no other run works on it. A row of `job_runs` says that it was done, not whom.

    Raises ConflictError when a run works on the lake, as that could write what is forgotten.
    """
    with _leased(lake, EVERY_DAY, "forget"), recorded(lake, config, Run(uuid.uuid4().hex[:16], "forget", today())):
        return forget(lake, config, user, vacuum_now=vacuum_now)


def publish_now(lake: Lake, config: Config, ds: date) -> Version | None:
    """Publish a day as it is, also an earlier one than that which is published, and return what counts then."""
    with _leased(lake, str(ds), "publish"), recorded(lake, config, Run(uuid.uuid4().hex[:16], "publish", ds)):
        publish_anyway(lake, config, ds)
        return published(lake)


def roll_back(lake: Lake, config: Config, to: date | None) -> Version:
    """Return to an earlier published version, as `rollback` does; a row of `job_runs` says so."""
    run = Run(uuid.uuid4().hex[:16], "rollback", to or today())
    with _leased(lake, "published", "rollback"), recorded(lake, config, run):
        return rollback(lake, to)


@contextmanager
def _leased(lake: Lake, scope: str, what: str) -> Iterator[Lease]:
    """Hold a lease that every write of the lake asks for."""
    with leased(lake.root, scope, what) as lease:
        lake.lease = lease
        try:
            yield lease
        finally:
            lake.lease = None


def stages_left(lake: Lake, config: Config, ds: date, names: Sequence[str]) -> list[str]:
    """Those of the stages that have yet to run: from the first one on that did not succeed, with these settings, after
    the one before it.
    """
    if not lake.exists(JOB_RUNS):
        return list(names)
    runs = lake.read(JOB_RUNS).where((F.col("ds") == F.lit(ds)) & (F.col("status") == "succeeded"))
    runs = runs.where(F.col("settings_hash") == config.hash).groupBy("stage").agg(F.max("started_at"))
    newest, before = dict(runs.collect()), datetime.min
    for place, name in enumerate(names):
        if newest.get(name, datetime.min) <= before:
            return list(names[place:])
        before = newest[name]
    return []


def require_known_names(config: Config) -> None:
    """Raise ConfigError when the configuration names a model, a setting of it, or a way that there is not."""
    model_settings(config.model)
    for settings in to_try(config) if config.divspa.choose == "auto" else [config.divspa]:
        chosen_ways(settings)


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
