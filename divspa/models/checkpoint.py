"""Checkpoints: weights as safetensors and everything else as JSON; nothing is ever unpickled."""

import hashlib
import json
from dataclasses import dataclass
from datetime import date

import safetensors.torch
from pyarrow import fs

from divspa.config import Model
from divspa.errors import MissingTableError
from divspa.models.layout import Layout
from divspa.models.registry import build_model
from divspa.models.two_tower import TwoTowerModule

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
        system, path = _locate(folder)
        system.create_dir(path, recursive=True)
        described = {"model": self.model.model_dump(), "layout": self.layout.model_dump(), "version": self.version}
        with system.open_output_stream(f"{path}/{WEIGHTS}") as out:
            out.write(self.weights)
        with system.open_output_stream(f"{path}/{DESCRIPTION}") as out:
            out.write(json.dumps(described, indent=2).encode())

    @classmethod
    def load(cls, folder: str) -> "Checkpoint":
        """Read what `save` wrote. Raises MissingTableError when there is no checkpoint."""
        system, path = _locate(folder)
        try:
            with system.open_input_stream(f"{path}/{DESCRIPTION}") as file:
                described = json.loads(file.read())
            with system.open_input_stream(f"{path}/{WEIGHTS}") as file:
                weights = file.read()
        except FileNotFoundError as error:
            raise MissingTableError(
                f"There is no checkpoint in {folder}", remedy="run the training stage for this day first"
            ) from error
        return cls(Model.model_validate(described["model"]), Layout.model_validate(described["layout"]), weights)


def checkpoint_folder(lake_root: str, ds: date, model: str) -> str:
    """Where a model's checkpoint of a day lies; the model trained on augmented positives is named DIVSPA."""
    return f"{lake_root}/checkpoints/ds={ds}/model={model}"


def _locate(folder: str) -> tuple[fs.FileSystem, str]:
    return fs.FileSystem.from_uri(folder.replace("s3a://", "s3://"))
