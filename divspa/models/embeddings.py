"""Embeddings of sparse fields and of item histories, shared by every model; their gradients are sparse."""

from itertools import accumulate, pairwise

import torch
from torch import nn

from divspa.models.layout import FieldSlot

# Small, so that an item which is hardly ever trained is placed by its fields, and not at random among the best.
INITIAL_SPREAD = 0.02
SHORTEST = 0.01


class FieldEmbeddings(nn.Module):
    """One table for all fields; the values of a multi-valued field are averaged, padding left out."""

    def __init__(self, fields: tuple[FieldSlot, ...], dim: int) -> None:
        super().__init__()
        self.fields = fields
        self.cardinality = {field.name: field.cardinality for field in fields}
        ends = accumulate(self.cardinality.values())
        self.starts = {name: end - self.cardinality[name] for name, end in zip(self.cardinality, ends, strict=True)}
        offsets = [self.starts[field.name] for field in fields for _ in range(field.width)]
        self.offsets_F: torch.Tensor
        self.register_buffer("offsets_F", torch.tensor(offsets, dtype=torch.int32), persistent=False)
        self.table = nn.Embedding(max(1, sum(field.cardinality for field in fields)), dim, sparse=True)
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
        super().__init__(items, dim, sparse=True)
        nn.init.normal_(self.weight, std=INITIAL_SPREAD)

    def mean_history(self, history_BL: torch.Tensor) -> torch.Tensor:
        """Average the embeddings of past items, padding left out. Returns [B, dim]; zeros without a history."""
        real_BL = (history_BL != 0).to(self.weight.dtype)
        weights_BL = real_BL / real_BL.sum(1, keepdim=True).clamp(min=1)
        return nn.functional.embedding_bag(
            history_BL, self.weight, mode="sum", per_sample_weights=weights_BL, sparse=True
        )


def mlp(sizes: list[int], *, silent: bool = False) -> nn.Sequential:
    """Linear layers of the given sizes with ReLU between them; `silent` ones start out returning zeros.

    Silent layers beside a residual let a tower begin as its embeddings and learn what to add to them, which was both
    faster and better than random layers (docs/measured.md).
    """
    linear = [nn.Linear(inner, outer) for inner, outer in pairwise(sizes)]
    if silent:
        silence(linear[-1])
    between = [part for layer in linear[:-1] for part in (layer, nn.ReLU())]
    return nn.Sequential(*between, linear[-1])


def silence(layer: nn.Linear) -> None:
    """Start out with weights and bias of zero."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)


def unit_length(vectors_BD: torch.Tensor) -> torch.Tensor:
    """Divide vectors by their length, and those shorter than SHORTEST by SHORTEST.

    A user without history or fields starts out at zero, where the slope of a plain division has no bound.
    """
    return nn.functional.normalize(vectors_BD, dim=1, eps=SHORTEST)
