"""One trial: the base's weights, or its own of the round before, trained on the drawn pairs, and what it ranks."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from pyspark.sql import SparkSession

from divspa.augmentation.settings import DivSPA
from divspa.errors import GateError, TrainingError, one_line
from divspa.models.checkpoint import Checkpoint
from divspa.settings import fingerprint
from divspa.training.fit import Job
from divspa.training.launch import launch
from divspa.training.validation import Validation
from divspa.tuning.positives import Pairs


@dataclass(frozen=True)
class Outcome:
    """How a trial stood after a round: pairs learned from so far, and ranks of E held-out events, none if it failed."""

    round: int
    trial: int
    settings: DivSPA
    pairs: int
    seconds: float
    ranks_E: NDArray[np.integer] = field(default_factory=lambda: np.zeros(0, np.int64))
    failure: str | None = None


@dataclass(frozen=True)
class Bench:
    """What all trials share: `job` is a training from the base's weights that lacks its data, one pass of which is a
    round; `weighted` says whether its pairs count by their weights; `folder` holds the trials' checkpoints;
    `model_version` is the base's.
    """

    spark: SparkSession
    job: Job
    weighted: bool
    validation: Validation
    users_E: NDArray[np.int64]
    item_features_VF: torch.Tensor
    folder: str
    model_version: str

    def run(self, number: int, trial: int, settings: DivSPA, drawn: Mapping[int, Pairs]) -> Outcome:
        """One round of a trial, on the pairs that were drawn for it. One that fails to train is out, not an error."""
        started, own, pairs = time.perf_counter(), f"{self.folder}/trial={trial}", drawn[number]
        learned = sum(drawn[before].rows for before in range(number))
        job = replace(
            self.job,
            divspa=settings,
            files=[pairs.files],
            rows=pairs.rows,
            mean_weight=pairs.mean_weight if self.weighted else None,
            folder=own,
            start_from=own if learned else self.job.start_from,
            fingerprint=fingerprint(self.job.fingerprint, settings, number),
        )
        try:
            launch(self.spark, job, lambda examples, note: None)
            model = Checkpoint.load(own).restore()
            ranks_E, failure = self.validation.ranks(model, self.item_features_VF), None
        except (TrainingError, GateError) as error:
            ranks_E, failure = np.zeros(0, np.int64), one_line(error)
        seconds = round(time.perf_counter() - started, 3)
        return Outcome(number, trial, settings, learned + pairs.rows, seconds, ranks_E, failure)
