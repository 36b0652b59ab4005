"""YoutubeDNN: pooled history and fields through an MLP, for users and for items (Covington et al. 2016)."""

from typing import ClassVar

import torch

from divspa.models.embeddings import mlp, unit_length
from divspa.models.layout import Layout
from divspa.models.two_tower import Layers, TowerSettings, TwoTowerModule


class YoutubeDNNSettings(TowerSettings):
    """Sizes of the layers between the embeddings and the output vectors."""

    hidden: Layers = (64,)
    residual: bool = True


class YoutubeDNN(TwoTowerModule):
    """The paper's base model (Section 3.1), as two towers.

    The user tower reads the history, pooled by recency, and one embedding a user field; the item tower the item's
    own embedding and one a field; both end in a vector of unit length. With `residual`, the layers add to the history
    and to the item's own embedding; the user's layers then read the fields alone, since layers over the history learned
    the users by heart (docs/measured.md). Left out of the original: the ranking network, search tokens, and the age of
    the example.
    """

    Settings: ClassVar[type[TowerSettings]] = YoutubeDNNSettings

    def __init__(self, layout: Layout, settings: YoutubeDNNSettings) -> None:
        super().__init__(layout, settings)
        dim, self.residual = settings.dim, settings.residual
        read = len(layout.user) + (not self.residual)
        self.user_mlp = mlp([dim * read, *settings.hidden, dim], silent=self.residual)
        self.item_mlp = mlp([dim * (1 + len(layout.item)), *settings.hidden, dim], silent=self.residual)

    def user_tower(self, parts_BFD: torch.Tensor) -> torch.Tensor:
        """Return unit vectors [B, D]."""
        if not self.residual:
            return unit_length(self.user_mlp(parts_BFD.flatten(1)))
        return unit_length(parts_BFD[:, 0] + self.user_mlp(parts_BFD[:, 1:].flatten(1)))

    def item_tower(self, parts_NFD: torch.Tensor) -> torch.Tensor:
        """Return unit vectors [N, D]."""
        out_ND = self.item_mlp(parts_NFD.flatten(1))
        return unit_length(out_ND + parts_NFD[:, 0] if self.residual else out_ND)
