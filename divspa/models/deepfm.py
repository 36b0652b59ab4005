"""DeepFM: an FM and a deep part over the same embeddings, within two towers (Guo et al. 2017)."""

from typing import ClassVar

import torch

from divspa.models.embeddings import mlp
from divspa.models.fm import FM
from divspa.models.layout import Layout
from divspa.models.two_tower import Layers, TowerSettings


class DeepFMSettings(TowerSettings):
    """Sizes of the layers between the embeddings and the deep part's vectors."""

    hidden: Layers = (64,)


class DeepFM(FM):
    """FM's score plus the inner product of two MLPs, one over the user's and one over the item's embeddings.

    The original's MLP reads the features of user and item together, which no search over vectors can follow; the paper
    puts it "within the two-tower architecture" (Section 4.2). Vectors have 2 * dim + 1 places and no unit length.
    """

    Settings: ClassVar[type[TowerSettings]] = DeepFMSettings

    def __init__(self, layout: Layout, settings: DeepFMSettings) -> None:
        super().__init__(layout, settings)
        dim = settings.dim
        self.user_mlp = mlp([dim * (1 + len(layout.user)), *settings.hidden, dim])
        self.item_mlp = mlp([dim * (1 + len(layout.item)), *settings.hidden, dim])

    def encode_items(self, items_N: torch.Tensor, item_features_NF: torch.Tensor) -> torch.Tensor:
        """Return item vectors [N, 2 * dim + 1]."""
        parts_NFD = self.item_parts(items_N, item_features_NF)
        return torch.cat(
            [self.factorised(items_N, item_features_NF, parts_NFD), self.item_mlp(parts_NFD.flatten(1))], 1
        )

    def user_tower(self, parts_BFD: torch.Tensor) -> torch.Tensor:
        """Return user vectors [B, 2 * dim + 1]."""
        return torch.cat([super().user_tower(parts_BFD), self.user_mlp(parts_BFD.flatten(1))], 1)
