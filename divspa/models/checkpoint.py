"""Checkpoints: weights as safetensors and everything else as JSON; nothing is ever unpickled."""

import hashlib
import json
from dataclasses import dataclass
from datetime import date

import safetensors.torch

from divspa.errors import DamagedError, MissingTableError
from divspa.models.layout import Layout
from divspa.models.registry import build_model
from divspa.models.settings import Model
from divspa.models.two_tower import TwoTowerModule
from divspa.storage import read_file, write_file

DIVSPA = "divspa"
WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"


@dataclass(frozen=True)
class Checkpoint:
    """A trained model as bytes: small enough to broadcast, and safe to load."""

    model: Model
    layout: Layout
    weights: bytes

    @classmethod
    def of(cls, model: Model, trained: TwoTowerModule) -> "Checkpoint":
        state = {name: tensor.contiguous() for name, tensor in trained.state_dict().items()}
        return cls(model, trained.layout, safetensors.torch.save(state))

    @property
    def version(self) -> str:
        """A hash of the weights: the same training gives the same version, whenever it runs."""
        return hashlib.sha256(self.weights).hexdigest()[:16]

    def restore(self) -> TwoTowerModule:
        """Build the model with these weights, ready to score."""
        module = build_model(self.model, self.layout)
        module.load_state_dict(safetensors.torch.load(self.weights))
        return module.eval().requires_grad_(False)

    def save(self, folder: str) -> None:
        """Write both files into a folder, local or of any file system that Arrow knows."""
        described = {"model": self.model.model_dump(), "layout": self.layout.model_dump(), "version": self.version}
        write_file(f"{folder}/{WEIGHTS}", self.weights)
        write_file(f"{folder}/{DESCRIPTION}", json.dumps(described, indent=2).encode())

    @classmethod
    def load(cls, folder: str) -> "Checkpoint":
        """Read what `save` wrote. Raises MissingTableError when there is no checkpoint, DamagedError when it is cut."""
        description, weights = _read(folder, DESCRIPTION), _read(folder, WEIGHTS)
        try:
            described = json.loads(description)
            model, layout = Model.model_validate(described["model"]), Layout.model_validate(described["layout"])
            version = str(described["version"])
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(f"{folder}/{DESCRIPTION}", "a description of a model", "cut or garbage") from error
        checkpoint = cls(model, layout, weights)
        if checkpoint.version != version:
            found = f"{checkpoint.version} of {len(weights)} bytes"
            raise _damaged(f"{folder}/{WEIGHTS}", f"weights of version {version}", found)
        return checkpoint


def _read(folder: str, name: str) -> bytes:
    try:
        return read_file(f"{folder}/{name}")
    except FileNotFoundError as error:
        raise MissingTableError(
            f"There is no whole checkpoint in {folder}",
            found=f"no file {name}",
            remedy="run the training stage for this day first",
        ) from error


def _damaged(file: str, expected: str, found: str) -> DamagedError:
    stage = "train_divspa" if f"/model={DIVSPA}/" in file else "train_base"
    return DamagedError(
        f"The file {file} is damaged", expected=expected, found=found, remedy=f"run `{stage}` of its day again"
    )


def checkpoint_folder(lake_root: str, ds: date, model: str) -> str:
    """Where a model's checkpoint of a day lies; the model trained on augmented positives is named DIVSPA."""
    return f"{lake_root}/checkpoints/ds={ds}/model={model}"
