"""YoutubeDNN: mean-pooled history and fields through an MLP, for users and for items (Covington et al. 2016)."""

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch.nn.functional import normalize

from divspa.config import Section
from divspa.models.embeddings import FieldEmbeddings, ItemEmbeddings, mlp
from divspa.models.layout import Layout
from divspa.models.two_tower import TwoTowerModule


class YoutubeDNNSettings(Section):
    """Sizes of the embeddings, of the layers between, and of the output vectors."""

    dim: Annotated[int, Field(ge=1)] = 32
    hidden: tuple[int, ...] = (64,)
    residual: bool = True


class YoutubeDNN(TwoTowerModule):
    """The paper's base model (Section 3.1), as two towers.

    The user tower reads the mean embedding of the history and one embedding a user field; the item tower the item's
    own embedding and one a field; both end in a vector of unit length. Left out of the original: the ranking network,
    search tokens, and the age of the example.
    """

    Settings: ClassVar[type[Section]] = YoutubeDNNSettings

    def __init__(self, layout: Layout, settings: YoutubeDNNSettings) -> None:
        super().__init__(layout, settings)
        dim = settings.dim
        self.residual = settings.residual
        self.items = ItemEmbeddings(layout.items, dim)
        self.user_fields = FieldEmbeddings(layout.user, dim)
        self.item_fields = FieldEmbeddings(layout.item, dim)
        self.user_mlp = mlp([dim * (1 + len(layout.user)), *settings.hidden, dim])
        self.item_mlp = mlp([dim * (1 + len(layout.item)), *settings.hidden, dim])

    def encode_users(self, user_features_BF: torch.Tensor, history_BL: torch.Tensor) -> torch.Tensor:
        """Return unit vectors [B, D]."""
        parts = [self.items.mean_history(history_BL), self.user_fields(user_features_BF).flatten(1)]
        return self._output(self.user_mlp, parts)

    def encode_items(self, items_N: torch.Tensor, item_features_NF: torch.Tensor) -> torch.Tensor:
        """Return unit vectors [N, D]."""
        parts = [self.items(items_N), self.item_fields(item_features_NF).flatten(1)]
        return self._output(self.item_mlp, parts)

    def _output(self, layers: torch.nn.Sequential, parts: list[torch.Tensor]) -> torch.Tensor:
        """Run the layers; the residual adds the first part, so that both towers start out in the item embeddings."""
        out = layers(torch.cat(parts, 1))
        return normalize(out + parts[0] if self.residual else out, dim=1)
