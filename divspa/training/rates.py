"""The base's learning rate: given, or of several the one whose model ranks the held-out clicks best."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import date

from divspa.config import Config
from divspa.errors import DivSPAError, GateError, TrainingError, one_line
from divspa.lake.tables import Lake
from divspa.models.checkpoint import Checkpoint
from divspa.progress import console
from divspa.schemas import TRAINING_RUNS
from divspa.settings import fingerprint
from divspa.storage import read_file, remove, write_file
from divspa.training.fit import Job
from divspa.training.resume import Progress

ENDED = "ended.json"


@dataclass(frozen=True)
class Trained:
    """The rate that was kept, how its training went, and the best score of every rate that was tried and trained."""

    rate: float
    progress: Progress
    scores: dict[float, float]


def best_of(job: Job, rates: Sequence[float], train: Callable[[Job], Progress]) -> Trained:
    """Train with each rate, and keep in the job's folder the checkpoint of the best score.

    The largest comes first, as it is the fastest; a smaller one that is behind it ends early. The first rate that is
    given, without a score, where there is nothing to choose, or nothing to choose by. Raises what the last training did
    when none came to its end.
    """
    if len(rates) == 1 or job.validation is None:
        return Trained(rates[0], train(at_rate(job, rates[0])), {})
    jobs = {rate: replace(at_rate(job, rate), folder=f"{job.folder}/rate={rate:g}") for rate in sorted(rates)[::-1]}
    went: dict[float, Progress] = {}
    for rate, own in jobs.items():
        others = [tuple(progress.scores) for progress in went.values()]
        try:
            went[rate] = _once(replace(own, to_beat=max(others, key=max, default=())), train)
        except (TrainingError, GateError) as error:
            if not went and rate == min(rates):
                raise
            console.print(f"learning rate {rate:g}: {one_line(error)}", soft_wrap=True, highlight=False, markup=False)
    scores = {rate: max(progress.scores) for rate, progress in went.items()}
    best = max(scores, key=lambda rate: scores[rate])
    Checkpoint.load(jobs[best].folder).save(job.folder)
    for own in jobs.values():
        remove(own.folder)
    console.print(_told(scores, best, job.training.criterion), soft_wrap=True, highlight=False)
    return Trained(best, went[best], scores)


def _once(job: Job, train: Callable[[Job], Progress]) -> Progress:
    """Train, unless a run that was killed later has done so, as is remembered beside the whole checkpoint."""
    remembered = f"{job.folder}/{ENDED}"
    with suppress(FileNotFoundError, ValueError, TypeError, KeyError, DivSPAError):
        held = json.loads(read_file(remembered))
        progress = Progress(**held["progress"])
        if held["fingerprint"] == job.fingerprint and Checkpoint.load(job.folder).version == progress.best:
            return replace(progress, resumed=True)
    progress = train(job)
    write_file(remembered, json.dumps({"fingerprint": job.fingerprint, "progress": asdict(progress)}).encode())
    return progress


def at_rate(job: Job, rate: float) -> Job:
    """The same training with a rate; another training for a resume point."""
    training = job.training.model_copy(update={"learning_rate": rate})
    return replace(job, training=training, fingerprint=fingerprint(job.fingerprint, rate))


def with_rate(lake: Lake, config: Config, ds: date) -> Config:
    """The configuration with the learning rate that the day's base has; raises MissingTableError when it has none."""
    rate = config.learning_rates[0]
    if len(config.learning_rates) > 1:
        (row,) = lake.read_day(TRAINING_RUNS, ds, model=config.model.name).select("settings").collect()
        rate = json.loads(row.settings)["training"]["learning_rate"]
    return config.with_training(learning_rate=rate)


def _told(scores: Mapping[float, float], best: float, criterion: str) -> str:
    each = ", ".join(f"{rate:g}: {score:.4f}" for rate, score in scores.items())
    return f"learning rate {best:g}, by {criterion} of the held-out clicks ({each})"
