"""The one seam between models and the rest: two towers that meet in an inner product."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from divspa.models.embeddings import FieldEmbeddings, HistoryWeights, ItemEmbeddings
from divspa.models.layout import Layout
from divspa.schemas.vocabulary import UNKNOWN
from divspa.settings import Section

Layers = tuple[Annotated[int, Field(ge=1, le=1 << 16)], ...]


class TowerSettings(Section):
    """What every model has: the size of an embedding, and how past items count: by recency or all alike."""

    dim: Annotated[int, Field(ge=1, le=1 << 14)] = 32
    pooling: Literal["recency", "mean"] = "recency"


@dataclass(frozen=True)
class Step:
    """What a model may add a loss of its own to: one training step of B examples over V items.

    `keys_B` names the examples for good, over epochs and restarts; `users_BD` and `positives_BD` are the towers'
    outputs of the users and of the clicked items; `item_features` looks up the encoded fields [N, F] of item indices
    [N].
    """

    keys_B: torch.Tensor
    user_features_BF: torch.Tensor
    history_BL: torch.Tensor
    ages_BL: torch.Tensor | None
    users_BD: torch.Tensor
    positives_BD: torch.Tensor
    item_features: Callable[[torch.Tensor], torch.Tensor]
    omega: float
    generator: torch.Generator


class TwoTowerModule(nn.Module):
    """A model of users and items that meet in an inner product.

    A new model is one file: a settings class, a subclass with the two towers, and an entry in `divspa.models.registry`.
    `cosine` models return vectors of unit length and are trained with the inverse temperature omega; the scores of the
    others are logits as they are.
    """

    Settings: ClassVar[type[TowerSettings]] = TowerSettings
    cosine: ClassVar[bool] = True

    def __init__(self, layout: Layout, settings: TowerSettings) -> None:
        super().__init__()
        self.layout = layout
        self.items = ItemEmbeddings(layout.items, settings.dim)
        self.history_weights = HistoryWeights(layout.history_length, recency=settings.pooling == "recency")
        self.user_fields = FieldEmbeddings(layout.user, settings.dim)
        self.item_fields = FieldEmbeddings(layout.item, settings.dim)

    def encode_users(
        self, user_features_BF: torch.Tensor, history_BL: torch.Tensor, ages_BL: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return user vectors [B, D]; a history that was sampled comes with its items' ages."""
        return self.user_tower(self.user_parts(user_features_BF, history_BL, ages_BL))

    def encode_items(self, items_N: torch.Tensor, item_features_NF: torch.Tensor) -> torch.Tensor:
        """Return item vectors [N, D] of item indices and their encoded fields."""
        return self.item_tower(self.item_parts(items_N, item_features_NF))

    def user_parts(
        self, user_features_BF: torch.Tensor, history_BL: torch.Tensor, ages_BL: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The embedded inputs of the user tower [B, 1 + fields, dim]: the weighted history comes first."""
        history_B1D = self.items.pooled(history_BL, self.history_weights(history_BL, ages_BL)).unsqueeze(1)
        return torch.cat([history_B1D, self.user_fields(user_features_BF)], 1)

    def item_parts(self, items_N: torch.Tensor, item_features_NF: torch.Tensor) -> torch.Tensor:
        """The embedded inputs of the item tower [N, 1 + fields, dim]: the item's own embedding comes first."""
        return torch.cat([self.items(items_N).unsqueeze(1), self.item_fields(item_features_NF)], 1)

    def user_tower(self, parts_BFD: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def item_tower(self, parts_NFD: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    @torch.no_grad()
    def take_as_unknown(self, items_N: torch.Tensor) -> None:
        """Give items [N] the embeddings of one whose id is unknown, so that their fields alone tell them apart."""
        for part in self.modules():
            if isinstance(part, ItemEmbeddings):
                part.weight[items_N] = part.weight[UNKNOWN].clone()

    def auxiliary_loss(self, step: Step) -> torch.Tensor | None:
        """A loss of the model's own beside Eq. 1; None when it has none."""
        return None

    def after_step(self) -> None:
        """Called when the optimiser has moved the weights."""
