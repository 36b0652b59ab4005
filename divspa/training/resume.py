"""Resume points: everything that makes an interrupted training go on as if nothing had happened."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import safetensors.torch
import torch

from divspa.errors import DivSPAError
from divspa.models.checkpoint import Checkpoint
from divspa.models.two_tower import TwoTowerModule
from divspa.storage import listed, read_file, remove, write_file
from divspa.training.optimizer import RowAdam

SLOTS = ("a", "b")
STATE, POSITION, BEST = "state-{}.safetensors", "position-{}.json", "best-"


@dataclass
class Progress:
    """How far a training is: the mean loss and validation score of each epoch that ended, and where the next stands.

    `step`, `loss_sum` and `rows` are of the epoch at hand; `examples` and `seconds` are of all epochs together. `best`
    is the version of the best weights so far, empty before the first epoch has ended; `first_loss` is the first step's.
    """

    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    step: int = 0
    loss_sum: float = 0.0
    rows: int = 0
    examples: int = 0
    seconds: float = 0.0
    best: str = ""
    first_loss: float = 0.0
    resumed: bool = False

    @property
    def epoch(self) -> int:
        """The epoch at hand, from 0."""
        return len(self.losses)

    @property
    def best_epoch(self) -> int:
        """The epoch with the highest validation score, or the last one where nothing is held out."""
        return int(np.argmax(self.scores)) if self.scores else self.epoch - 1

    def gained_nothing_for(self, epochs: int) -> bool:
        """Whether so many epochs in a row were no better than the best."""
        return bool(self.scores) and self.epoch - 1 - self.best_epoch >= epochs


class NotWholeError(Exception):
    """Why a point cannot be taken up."""


@dataclass(frozen=True)
class Position:
    """What is said of one state: where the training was, and the digest of all that belongs to it."""

    slot: str
    number: int
    fingerprint: str
    digest: str
    progress: Progress


@dataclass(frozen=True)
class ResumePoint:
    """A folder that holds the last two states of one training and the best weights so far.

    Each state lies in a slot, with a position that is written last and holds a digest of both, so a point is known to
    be whole. A point with another fingerprint is of another training and not taken up.
    """

    folder: str
    fingerprint: str

    def save(self, model: TwoTowerModule, optimizer: RowAdam, generator: torch.Generator, progress: Progress) -> None:
        """Replace the older point; a kill in between leaves the newer one."""
        positions, _ = self._positions()
        slot = SLOTS[bool(positions) and positions[0].slot == SLOTS[0]]
        number = positions[0].number + 1 if positions else 0
        tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in _flat(optimizer).items()}
        tensors |= {"random.torch": torch.get_rng_state(), "random.negatives": generator.get_state()}
        content = safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()})
        position = {"number": number, "fingerprint": self.fingerprint, "progress": asdict(progress)}
        remove(self._file(POSITION, slot))
        write_file(self._file(STATE, slot), content)
        whole = json.dumps(position | {"digest": _digest(content, position)})
        write_file(self._file(POSITION, slot), whole.encode())
        self._forget_weights({progress.best, *(other.progress.best for other in positions if other.slot != slot)})

    def load(
        self, model: TwoTowerModule, optimizer: RowAdam, generator: torch.Generator
    ) -> tuple[Progress, str | None]:
        """Take up the newest whole point of the same training, else begin anew; and what was damaged, in one line."""
        positions, damage = self._positions()
        for position in positions:
            if position.fingerprint != self.fingerprint:
                continue
            try:
                self._take_up(position, model, optimizer, generator)
            except NotWholeError as why:
                damage.append(str(why))
                continue
            where = f"goes on from epoch {position.progress.epoch + 1}, step {position.progress.step}"
            return replace(position.progress, resumed=True), self._said(damage, where)
        return Progress(), self._said(damage, "begins anew")

    def clear(self) -> None:
        """Remove the point."""
        for slot in SLOTS:
            remove(self._file(POSITION, slot))
        remove(self.folder)

    def save_best(self, checkpoint: Checkpoint) -> str:
        """Keep the best weights so far. Returns their version, by which a progress names them."""
        checkpoint.save(self._weights(checkpoint.version))
        return checkpoint.version

    def load_best(self, progress: Progress) -> Checkpoint:
        """The best weights that a progress names. Raises DivSPAError when they are not there or damaged."""
        return Checkpoint.load(self._weights(progress.best))

    def _take_up(
        self, position: Position, model: TwoTowerModule, optimizer: RowAdam, generator: torch.Generator
    ) -> None:
        """Nothing is changed unless all is whole."""
        state = self._file(STATE, position.slot)
        try:
            content = read_file(state)
            if position.progress.best:
                self.load_best(position.progress)
        except FileNotFoundError as error:
            raise NotWholeError(f"{state} is missing") from error
        except DivSPAError as error:
            raise NotWholeError(str(error)) from error
        said = {"number": position.number, "fingerprint": position.fingerprint, "progress": asdict(position.progress)}
        if _digest(content, said) != position.digest:
            raise NotWholeError(f"{state} is not what its position says")
        tensors = safetensors.torch.load(content)
        held = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
        held |= {f"optimizer.{name}": tensor for name, tensor in _flat(optimizer).items()}
        if {name: tensor.shape for name, tensor in held.items()} != {
            name: tensor.shape for name, tensor in tensors.items() if not name.startswith("random.")
        }:
            raise NotWholeError(f"{state} is of another version of divspa")
        model.load_state_dict(_under("model.", tensors))
        for name, tensor in _under("optimizer.", tensors).items():
            _flat(optimizer)[name].copy_(tensor)
        torch.set_rng_state(tensors["random.torch"])
        generator.set_state(tensors["random.negatives"])

    def _positions(self) -> tuple[list[Position], list[str]]:
        """The readable positions, newest first, and what is wrong with the others."""
        found, damage = [], []
        for slot in SLOTS:
            file = self._file(POSITION, slot)
            try:
                held = json.loads(read_file(file))
                progress = Progress(**held.pop("progress"))
                found.append(Position(slot, int(held["number"]), held["fingerprint"], held["digest"], progress))
            except FileNotFoundError:
                continue
            except (ValueError, TypeError, KeyError, AttributeError):
                damage.append(f"{file} is cut or garbage")
        return sorted(found, key=lambda position: position.number, reverse=True), damage

    def _forget_weights(self, needed: set[str]) -> None:
        for entry in listed(self.folder):
            if entry.name.startswith(BEST) and entry.name.removeprefix(BEST) not in needed:
                remove(f"{self.folder}/{entry.name}")

    def _said(self, damage: list[str], what: str) -> str | None:
        if not damage:
            return None
        return f"A resume point in {self.folder} is damaged ({'; '.join(damage)}): training {what}"

    def _file(self, kind: str, slot: str) -> str:
        return f"{self.folder}/{kind.format(slot)}"

    def _weights(self, version: str) -> str:
        return f"{self.folder}/{BEST}{version}"


def _digest(state: bytes, position: dict[str, Any]) -> str:
    said = json.dumps(position, sort_keys=True).encode()
    return hashlib.sha256(said + hashlib.sha256(state).digest()).hexdigest()


def _flat(optimizer: RowAdam) -> dict[str, torch.Tensor]:
    """The optimiser's own tensors, named by the parameter's place."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return {
        f"{place}.{name}": tensor
        for place, parameter in enumerate(parameters)
        for name, tensor in optimizer.state[parameter].items()
    }


def _under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
