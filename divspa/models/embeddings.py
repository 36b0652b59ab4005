"""Embeddings of sparse fields and of item histories, shared by every model."""

from itertools import pairwise

import torch
from torch import nn

from divspa.models.layout import FieldSlot

# Small, so that an item which is hardly ever trained is placed by its fields, and not at random among the best.
INITIAL_SPREAD = 0.02


class FieldEmbeddings(nn.Module):
    """One table for all fields; the values of a multi-valued field are averaged, padding left out."""

    def __init__(self, fields: tuple[FieldSlot, ...], dim: int) -> None:
        super().__init__()
        self.fields = fields
        starts = [sum(field.cardinality for field in fields[:i]) for i in range(len(fields))]
        offsets = [start for start, field in zip(starts, fields, strict=True) for _ in range(field.width)]
        self.offsets_F: torch.Tensor
        self.register_buffer("offsets_F", torch.tensor(offsets, dtype=torch.int32), persistent=False)
        self.table = nn.Embedding(max(1, sum(field.cardinality for field in fields)), dim)
        nn.init.normal_(self.table.weight, std=INITIAL_SPREAD)

    def forward(self, features_BF: torch.Tensor) -> torch.Tensor:
        """Return [B, fields, dim]."""
        values_BFD = self.table(features_BF + self.offsets_F)
        if all(field.width == 1 for field in self.fields):
            return values_BFD
        real_BF1 = (features_BF != 0).unsqueeze(-1).to(values_BFD.dtype)
        widths = [field.width for field in self.fields]
        sums = [part.sum(1) for part in (values_BFD * real_BF1).split(widths, 1)]
        counts = [part.sum(1).clamp(min=1) for part in real_BF1.split(widths, 1)]
        return torch.stack([total / count for total, count in zip(sums, counts, strict=True)], 1)


class ItemEmbeddings(nn.Embedding):
    """The table of item ids, shared by the item tower and the user's history."""

    def __init__(self, items: int, dim: int) -> None:
        super().__init__(items, dim)
        nn.init.normal_(self.weight, std=INITIAL_SPREAD)

    def mean_history(self, history_BL: torch.Tensor) -> torch.Tensor:
        """Average the embeddings of past items, padding left out. Returns [B, dim]; zeros without a history."""
        real_BL = (history_BL != 0).to(self.weight.dtype)
        weights_BL = real_BL / real_BL.sum(1, keepdim=True).clamp(min=1)
        return nn.functional.embedding_bag(history_BL, self.weight, mode="sum", per_sample_weights=weights_BL)


def mlp(sizes: list[int]) -> nn.Sequential:
    """Linear layers of the given sizes with ReLU between them."""
    layers: list[nn.Module] = []
    for i, (inner, outer) in enumerate(pairwise(sizes)):
        layers += [nn.ReLU()] * (i > 0) + [nn.Linear(inner, outer)]
    return nn.Sequential(*layers)
