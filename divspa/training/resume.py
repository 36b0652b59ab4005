"""Resume points: everything that makes an interrupted training go on as if nothing had happened."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import safetensors.torch
import torch

from divspa.models.two_tower import TwoTowerModule
from divspa.storage import read_file, remove_folder, write_file
from divspa.training.optimizer import RowAdam

STATES, POSITION = ("state-a.safetensors", "state-b.safetensors"), "position.json"


@dataclass
class Progress:
    """How far a training is: the mean loss and validation score of each epoch that ended, and where the next stands.

    `step`, `loss_sum` and `rows` are of the epoch at hand; `examples` and `seconds` are of all epochs together.
    """

    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    step: int = 0
    loss_sum: float = 0.0
    rows: int = 0
    examples: int = 0
    seconds: float = 0.0
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


@dataclass(frozen=True)
class ResumePoint:
    """A folder that holds the state of one training; a point with another fingerprint is not taken up."""

    folder: str
    fingerprint: str

    def save(self, model: TwoTowerModule, optimizer: RowAdam, generator: torch.Generator, progress: Progress) -> None:
        """Replace the point. The position is written last and names its state, so a kill between leaves the old one."""
        tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in _flat(optimizer).items()}
        tensors |= {"random.torch": torch.get_rng_state(), "random.negatives": generator.get_state()}
        state = STATES[self._position().get("state") == STATES[0]]
        content = safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()})
        write_file(f"{self.folder}/{state}", content)
        position = {"fingerprint": self.fingerprint, "state": state, "progress": asdict(progress)}
        write_file(f"{self.folder}/{POSITION}", json.dumps(position).encode())

    def load(self, model: TwoTowerModule, optimizer: RowAdam, generator: torch.Generator) -> Progress:
        """Take up the point where there is one of the same training; else return a new progress."""
        position = self._position()
        if position.get("fingerprint") != self.fingerprint:
            return Progress()
        tensors = safetensors.torch.load(read_file(f"{self.folder}/{position['state']}"))
        model.load_state_dict(_under("model.", tensors))
        for name, tensor in _under("optimizer.", tensors).items():
            _flat(optimizer)[name].copy_(tensor)
        torch.set_rng_state(tensors["random.torch"])
        generator.set_state(tensors["random.negatives"])
        return Progress(**position["progress"] | {"resumed": True})

    def clear(self) -> None:
        """Remove the point."""
        remove_folder(self.folder)

    def _position(self) -> dict[str, Any]:
        try:
            return json.loads(read_file(f"{self.folder}/{POSITION}"))
        except FileNotFoundError:
            return {}


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
