"""One training from its plain description: the same code in one process and in each of many."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count, islice

import torch

from divspa.augmentation.settings import DivSPA
from divspa.data.batches import Batch, equal_steps, read_batches
from divspa.data.items import read_items
from divspa.errors import TrainingError
from divspa.models.checkpoint import Checkpoint
from divspa.models.layout import Layout
from divspa.models.registry import build_model
from divspa.models.settings import Model
from divspa.models.two_tower import TwoTowerModule
from divspa.models.warm_start import carry_over
from divspa.progress import console
from divspa.schemas.vocabulary import FIRST_INDEX
from divspa.training.allocator import reused_memory
from divspa.training.health import all_finite, require_healthy_loss, require_no_collapse
from divspa.training.negatives import NegativeSampler
from divspa.training.objective import Objective
from divspa.training.optimizer import RowAdam
from divspa.training.ranks import Ranks
from divspa.training.resume import Progress, ResumePoint
from divspa.training.settings import Training
from divspa.training.validation import Validation

Report = Callable[[int, str], None]
# How many examples of a batch an error names, and how many items are looked at for a collapse.
NAMED, LOOKED_AT = 5, 20_000
# To know a loss, a GPU has to come to the end of all its work: so many steps are looked at together.
STEPS_A_LOOK = {"cuda": 16, "cpu": 1}


@dataclass(frozen=True)
class Job:
    """Everything a training needs, as plain data that can be sent to another machine.

    `files` lists the data files of each draw (one list for a base model) and `rows` counts the examples of a draw;
    `divspa` is None for a base model; `start_from` is the folder of a checkpoint whose values are carried over, but for
    the indices of a field in `fresh`, which have been given to other values since;
    `mean_weight` is that of the examples, None where all count alike; `to_beat` has another training's scores by epoch:
    one that is behind it after as many epochs as `patience` ends; `fingerprint` changes with anything that would make
    an interrupted training another one.
    """

    model: Model
    layout: Layout
    training: Training
    divspa: DivSPA | None
    seed: int
    files: list[list[str]]
    rows: int
    item_files: list[str]
    folder: str
    fingerprint: str
    validation: Validation | None = None
    start_from: str | None = None
    fresh: Mapping[str, torch.Tensor] = field(default_factory=dict)
    mean_weight: float | None = None
    to_beat: tuple[float, ...] = ()


def fit(job: Job, report: Report = lambda examples, note: None) -> Progress:
    """Train by Adam (Section 4.1), save the best epoch's checkpoint in `job.folder`, and return how it went.

    `report(examples, note)` is called after every step. A training of the same job that was interrupted goes on where
    its last resume point lies. Raises TrainingError when a loss is not finite or explodes, and GateError when the
    embeddings collapse; then the checkpoint stays what it was.
    """
    with reused_memory():
        return Trainer(job, Ranks.current(), report).run()


class Trainer:
    """One training in one process."""

    def __init__(self, job: Job, ranks: Ranks, report: Report) -> None:
        self.job, self.settings, self.ranks, self.report = job, job.training, ranks, report
        self.device = chosen_device(self.settings.device)
        torch.manual_seed(job.seed)
        self.model = starting_model(job).to(self.device)
        self.trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = RowAdam(self.trained, self.settings.rate, self.settings.weight_decay)
        self.generator = torch.Generator().manual_seed(job.seed + ranks.shard.rank)
        self.batch_size = math.ceil(self.settings.batch_size / ranks.shard.world)
        items = read_items(job.item_files, job.layout.items)
        sampler = NegativeSampler(items, self.settings, self.generator, ranks.gathered)
        self.unclicked_N = (items.listed_V & (items.clicks_V == 0)).nonzero().squeeze(1)
        hidden_ids = self.settings.hidden_ids if len(self.unclicked_N) else 0.0
        weight = job.mean_weight or 1.0
        features_VF = items.features_VF.to(self.device)
        self.objective = Objective(features_VF, sampler, self.settings, job.divspa, weight, hidden_ids)
        self.point = ResumePoint(f"{job.folder}/resume", f"{job.fingerprint}-{ranks.shard.world}")
        self.saved_at = time.perf_counter()
        self.unseen: list[tuple[torch.Tensor, int, str]] = []
        self.last_loss, self.last_batch = 0.0, ""

    def run(self) -> Progress:
        """All epochs, until the validation score has stopped rising."""
        progress = self._take_up()
        began = time.perf_counter() - progress.seconds
        while not self._ended(progress):
            self._finish_epoch(progress)
            progress.seconds = time.perf_counter() - began
            if self.ranks.first:
                self._validate(progress)
                self._save(progress)
        if self.ranks.first:
            best = self.point.load_best(progress)
            require_no_collapse(self._vectors(best.restore()), self.job.model.name, self.settings.gates)
            best.save(self.job.folder)
            self.point.clear()
        return progress

    def _take_up(self) -> Progress:
        """Where an interrupted training of this job was, or its beginning; the same in every process."""
        progress, damage = self.point.load(self.model, self.optimizer, self.generator)
        if damage and self.ranks.first:
            console.print(damage, soft_wrap=True, highlight=False, markup=False)
        if self.ranks.mean(progress.examples) != progress.examples:
            raise TrainingError(
                "The processes of a training took up different resume points",
                remedy=f"run the stage again; if that does not help, remove {self.point.folder}",
            )
        return progress

    def _ended(self, progress: Progress) -> bool:
        patience = self.settings.patience
        stopped = patience > 0 and (progress.gained_nothing_for(patience) or self._is_behind(progress, patience))
        return self.ranks.agreed(stopped or progress.epoch >= self.settings.epochs)

    def _is_behind(self, progress: Progress, patience: int) -> bool:
        """Whether it has not yet been as good as the other training was in as many epochs; the first process knows."""
        other = self.job.to_beat[: progress.epoch]
        return bool(other and progress.scores) and progress.epoch >= patience and max(progress.scores) < max(other)

    def _finish_epoch(self, progress: Progress) -> None:
        self.model.train()
        for batch in islice(self._batches(progress.epoch), progress.step, None):
            self._step(batch, progress)
            if self.ranks.first and time.perf_counter() - self.saved_at > 60 * self.settings.checkpoint_minutes:
                self._save(progress)
        self._look(progress)
        self._require_all_examples(progress)
        self.model.take_as_unknown(self.unclicked_N)
        progress.losses.append(self.ranks.mean(progress.loss_sum / max(progress.rows, 1)))
        progress.step, progress.rows, progress.loss_sum = 0, 0, 0.0

    def _require_all_examples(self, progress: Progress) -> None:
        """A pass that lost examples would train a worse model without a word."""
        if self.ranks.shard.world == 1 and progress.rows != self.job.rows:
            raise TrainingError(
                "A pass over the training data did not deliver every example",
                expected=str(self.job.rows),
                found=str(progress.rows),
                remedy="run the stage again, and report this fault",
            )

    def _batches(self, epoch: int) -> Iterator[Batch]:
        """This process' batches of an epoch: a share of each batch, and as many as every other process has."""
        world = self.ranks.shard.world
        files = self.job.files[epoch % len(self.job.files)]

        def one_pass(turn: int) -> Iterator[Batch]:
            return read_batches(
                files,
                self.batch_size,
                augmented=self.job.divspa is not None,
                weighted=self.job.mean_weight is not None,
                seed=self.job.seed + epoch + 1_000_003 * turn,
                shard=self.ranks.shard,
            )

        if world == 1:
            return one_pass(0)
        return equal_steps(map(one_pass, count()), math.ceil(self.job.rows / (self.batch_size * world)))

    def _step(self, batch: Batch, progress: Progress) -> None:
        draw = self.objective.draw(batch)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            loss = self.objective.loss(self.model, batch.to(self.device), draw.to(self.device))
        self.optimizer.zero_grad()
        loss.backward()
        self.ranks.average_gradients(self.trained)
        self.unseen.append((loss.detach(), len(batch), _batch_name(progress, batch)))
        if len(self.unseen) >= STEPS_A_LOOK[self.device.type] or not self.last_batch:
            self._look(progress, before_step=True)
        self.optimizer.set_rate(self._rate(progress))
        self.optimizer.step()
        self.model.after_step()
        progress.step += 1
        progress.rows += len(batch)
        examples = len(batch) * self.ranks.shard.world
        progress.examples += examples
        score = f", validation {progress.scores[-1]:.4f}" if progress.scores else ""
        self.report(examples, f"epoch {progress.epoch + 1}, loss {self.last_loss:.3f}{score}")

    def _look(self, progress: Progress, *, before_step: bool = False) -> None:
        """Take in the losses of the steps since the last look: on a CPU before the step moves a weight, on a GPU before
        any weight that it moved is kept.

        Raises TrainingError for a loss that no training should have.
        """
        values = torch.stack([loss for loss, *_ in self.unseen]).tolist() if self.unseen else []
        for step, value in zip(self.unseen, values, strict=True):
            _, rows, where = step
            # The weights are still those that the loss is of in the newest step alone.
            if before_step and step is self.unseen[-1] and not math.isfinite(value):
                self._require_finite_weights()
            progress.first_loss = progress.first_loss or value
            require_healthy_loss(value, progress.first_loss, self.settings.gates, where, self.point.folder)
            progress.loss_sum += value * rows
            self.last_loss, self.last_batch = value, where
        self.unseen.clear()

    def _require_finite_weights(self) -> None:
        """Raise TrainingError when the last step left weights that are not finite: they may not become a checkpoint."""
        if not all_finite(self.model.parameters()):
            where = f"the gradients of {self.last_batch}"
            require_healthy_loss(math.nan, 1.0, self.settings.gates, where, self.point.folder)

    def _rate(self, progress: Progress) -> float:
        if self.settings.schedule == "constant":
            return self.settings.rate
        return self.settings.rate * max(0.0, 1 - progress.examples / (self.settings.epochs * self.job.rows))

    def _validate(self, progress: Progress) -> None:
        """Score the epoch that has ended, and keep its weights when it is the best."""
        self._require_finite_weights()
        self.model.eval()
        if self.job.validation is not None:
            score = self.job.validation.score(self.model, self.objective.item_features_VF, self.settings.criterion)
            progress.scores.append(score)
        if progress.best_epoch == progress.epoch - 1:
            progress.best = self.point.save_best(Checkpoint.of(self.job.model, self.model))

    @torch.no_grad()
    def _vectors(self, model: TwoTowerModule) -> dict[str, torch.Tensor]:
        """What the towers give for some items, and for the held-out users that have a history."""
        known = self.job.layout.items - FIRST_INDEX
        items_N = FIRST_INDEX + torch.arange(0, known, max(1, known // LOOKED_AT))
        vectors = {"items": model.encode_items(items_N, self.objective.item_features_VF.cpu()[items_N])}
        if self.job.validation is not None:
            features_EF, history_EL = self.job.validation.users_with_history()
            vectors["users"] = model.encode_users(features_EF, history_EL)
        return vectors

    def _save(self, progress: Progress) -> None:
        self._look(progress)
        self._require_finite_weights()
        self.point.save(self.model, self.optimizer, self.generator, progress)
        self.saved_at = time.perf_counter()


def _batch_name(progress: Progress, batch: Batch) -> str:
    named = ", ".join(map(str, batch.keys_B[:NAMED].tolist()))
    return f"epoch {progress.epoch + 1}, step {progress.step + 1}, a batch of {len(batch)} with the example_ids {named}"


def starting_model(job: Job) -> TwoTowerModule:
    """A fresh model, with the values of an earlier one where the job names it."""
    model = build_model(job.model, job.layout)
    if job.start_from is not None:
        carry_over(Checkpoint.load(job.start_from).restore(), model, job.fresh)
    return model


def chosen_device(name: str) -> torch.device:
    """`auto` is a GPU where there is one. Raises TrainingError for `cuda` without one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError("training.device is cuda, but torch finds no GPU", remedy="set training.device to auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
