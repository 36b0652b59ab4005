"""YoutubeDNN: mean-pooled history and fields through an MLP, for users and for items (Covington et al. 2016)."""

from typing import ClassVar

import torch
from torch.nn.functional import normalize

from divspa.models.embeddings import mlp
from divspa.models.layout import Layout
from divspa.models.two_tower import TowerSettings, TwoTowerModule


class YoutubeDNNSettings(TowerSettings):
    """Sizes of the layers between the embeddings and the output vectors."""

    hidden: tuple[int, ...] = (64,)
    residual: bool = True


class YoutubeDNN(TwoTowerModule):
    """The paper's base model (Section 3.1), as two towers.

    The user tower reads the mean embedding of the history and one embedding a user field; the item tower the item's
    own embedding and one a field; both end in a vector of unit length. Left out of the original: the ranking network,
    search tokens, and the age of the example.
    """

    Settings: ClassVar[type[TowerSettings]] = YoutubeDNNSettings

    def __init__(self, layout: Layout, settings: YoutubeDNNSettings) -> None:
        super().__init__(layout, settings)
        dim = settings.dim
        self.residual = settings.residual
        self.user_mlp = mlp([dim * (1 + len(layout.user)), *settings.hidden, dim], silent=settings.residual)
        self.item_mlp = mlp([dim * (1 + len(layout.item)), *settings.hidden, dim], silent=settings.residual)

    def user_tower(self, parts_BFD: torch.Tensor) -> torch.Tensor:
        """Return unit vectors [B, D]."""
        return self._output(self.user_mlp, parts_BFD)

    def item_tower(self, parts_NFD: torch.Tensor) -> torch.Tensor:
        """Return unit vectors [N, D]."""
        return self._output(self.item_mlp, parts_NFD)

    def _output(self, layers: torch.nn.Sequential, parts_BFD: torch.Tensor) -> torch.Tensor:
        """Run the layers; the residual adds the first part, so that both towers start out in the item embeddings."""
        out_BD = layers(parts_BFD.flatten(1))
        return normalize(out_BD + parts_BFD[:, 0] if self.residual else out_BD, dim=1)
