"""AutoInt: feature interactions by self-attention over the fields (Song et al. 2019)."""

from typing import Annotated, ClassVar

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn.functional import relu, scaled_dot_product_attention

from divspa.models.embeddings import silence, unit_length
from divspa.models.layout import Layout
from divspa.models.two_tower import TowerSettings, TwoTowerModule


class AutoIntSettings(TowerSettings):
    """How many interacting layers there are, and their heads; `dim` is divided over the heads."""

    layers: Annotated[int, Field(ge=1)] = 2
    heads: Annotated[int, Field(ge=1)] = 2
    residual: bool = True

    @model_validator(mode="after")
    def _heads_fit(self) -> "AutoIntSettings":
        if self.dim % self.heads:
            raise ValueError(f"`dim` {self.dim} is not a multiple of `heads` {self.heads}")
        return self


class AutoInt(TwoTowerModule):
    """Interacting layers (the paper's Eq. 5 to 8) over the fields of each tower, which end in unit vectors.

    The original attends over user and item fields together and predicts a click; here each tower attends over its own
    fields, as candidate generation must. The output layer adds the history's or the item's own embedding.
    """

    Settings: ClassVar[type[TowerSettings]] = AutoIntSettings

    def __init__(self, layout: Layout, settings: AutoIntSettings) -> None:
        super().__init__(layout, settings)
        self.residual = settings.residual
        self.user_layers = _interactions(1 + len(layout.user), settings)
        self.item_layers = _interactions(1 + len(layout.item), settings)

    def user_tower(self, parts_BFD: torch.Tensor) -> torch.Tensor:
        """Return unit vectors [B, D]."""
        return self._output(self.user_layers, parts_BFD)

    def item_tower(self, parts_NFD: torch.Tensor) -> torch.Tensor:
        """Return unit vectors [N, D]."""
        return self._output(self.item_layers, parts_NFD)

    def _output(self, layers: nn.Sequential, parts_BFD: torch.Tensor) -> torch.Tensor:
        out_BD = layers(parts_BFD)
        return unit_length(out_BD + parts_BFD[:, 0] if self.residual else out_BD)


def _interactions(fields: int, settings: AutoIntSettings) -> nn.Sequential:
    layers = [InteractingLayer(settings.dim, settings.heads) for _ in range(settings.layers)]
    output = nn.Linear(fields * settings.dim, settings.dim)
    if settings.residual:
        silence(output)
    return nn.Sequential(*layers, nn.Flatten(), output)


class InteractingLayer(nn.Module):
    """Every field attends to all fields of its tower, by several heads; a linear residual keeps the field itself."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(dim, 3 * dim, bias=False)
        self.keep = nn.Linear(dim, dim, bias=False)

    def forward(self, fields_BFD: torch.Tensor) -> torch.Tensor:
        """Return [B, F, D]."""
        heads_BFHE = [part.unflatten(-1, (self.heads, -1)) for part in self.query_key_value(fields_BFD).chunk(3, -1)]
        attended_BHFE = scaled_dot_product_attention(*(part.transpose(1, 2) for part in heads_BFHE))
        return relu(attended_BHFE.transpose(1, 2).flatten(2) + self.keep(fields_BFD))
