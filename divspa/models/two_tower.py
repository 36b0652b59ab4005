"""The one seam between models and the rest: two towers and a score."""

from typing import ClassVar, Protocol

import torch
from torch import nn

from divspa.config import Section
from divspa.models.layout import Layout


class TwoTower(Protocol):
    """A model of users and items that meet in an inner product.

    `cosine` models return vectors of unit length. A new model is one file: a settings class, a module with these
    methods, and an entry in `divspa.models.registry`.
    """

    Settings: ClassVar[type[Section]]
    cosine: ClassVar[bool]

    def encode_users(self, user_features_BF: torch.Tensor, history_BL: torch.Tensor) -> torch.Tensor:
        """Return user vectors [B, D]."""
        ...

    def encode_items(self, items_N: torch.Tensor, item_features_NF: torch.Tensor) -> torch.Tensor:
        """Return item vectors [N, D] of item indices and their encoded fields."""
        ...


class TwoTowerModule(nn.Module):
    """Base class of the models: a torch module that is built from the data's layout and its settings."""

    Settings: ClassVar[type[Section]]
    cosine: ClassVar[bool] = True

    def __init__(self, layout: Layout, settings: Section) -> None:
        super().__init__()
        self.layout = layout
        self.settings = settings

    def encode_users(self, user_features_BF: torch.Tensor, history_BL: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def encode_items(self, items_N: torch.Tensor, item_features_NF: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError
