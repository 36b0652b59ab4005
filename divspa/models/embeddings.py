"""Embeddings of sparse fields and of item histories, shared by every model; their gradients are sparse."""

import warnings
from itertools import accumulate, pairwise

import torch
from torch import nn
from torch.nn.functional import embedding

from divspa.models.layout import FieldSlot

# Small, so that an item which is hardly ever trained is placed by its fields, and not at random among the best.
INITIAL_SPREAD = 0.02
SHORTEST = 0.01
STEPS_A_DOUBLING = 4
# A weight by age is moved by every example, and yet at the pace of an embedding it would take several passes to settle.
RECENCY_RATE = 10.0


class FieldEmbeddings(nn.Module):
    """One table for all fields; the values of a multi-valued field are averaged, padding left out.

    A vector passes a linear layer of its own; those come after the other fields.
    """

    def __init__(self, fields: tuple[FieldSlot, ...], dim: int) -> None:
        super().__init__()
        starts = [0, *accumulate(field.width for field in fields)]
        places = {field.name: range(start, start + field.width) for field, start in zip(fields, starts, strict=False)}
        self.vectors = {field.name: places[field.name] for field in fields if field.vector}
        self.layers = nn.ModuleList(_small_linear(len(own), dim) for own in self.vectors.values())
        self.fields = fields = tuple(field for field in fields if not field.vector)
        coded = [place for field in fields for place in places[field.name]]
        self.coded_F: torch.Tensor
        self.register_buffer("coded_F", torch.tensor(coded, dtype=torch.int64), persistent=False)
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
        if not self.vectors:
            return self._coded(features_BF)
        parts = [self._coded(features_BF[:, self.coded_F])]
        for layer, own in zip(self.layers, self.vectors.values(), strict=True):
            vector_BS = features_BF[:, own.start : own.stop].view(torch.float32)
            parts.append(layer(vector_BS).unsqueeze(1))
        return torch.cat(parts, 1)

    def _coded(self, features_BF: torch.Tensor) -> torch.Tensor:
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

    def pooled(self, history_BL: torch.Tensor, weights_BL: torch.Tensor) -> torch.Tensor:
        """The weighted sum of the embeddings of past items. Returns [B, dim]; zeros where every weight is 0."""
        return nn.functional.embedding_bag(
            history_BL, self.weight, mode="sum", per_sample_weights=weights_BL, sparse=True
        )


class HistoryWeights(nn.Module):
    """How much each past item counts in a user's history, by how many came after it: its age, 0 for the newest.

    All count alike at the start. With `recency` there is one learned weight a step of age, and steps widen with age:
    four whenever it doubles. What a user did last says most of what comes next on some logs and little on others
    (docs/measured.md). Items that are not real weigh 0, the others sum to 1.
    """

    def __init__(self, length: int, *, recency: bool) -> None:
        super().__init__()
        step_L = (STEPS_A_DOUBLING * torch.arange(1, length + 1).log2()).long()
        self.step_L: torch.Tensor
        self.register_buffer("step_L", step_L, persistent=False)
        self.log_weights = nn.Parameter(torch.zeros(int(step_L[-1]) + 1)) if recency else None

    def forward(self, history_BL: torch.Tensor, ages_BL: torch.Tensor | None = None) -> torch.Tensor:
        """Return weights [B, L] of items, oldest first and padded with 0; ages are given where some are left out."""
        real_BL = history_BL != 0
        if self.log_weights is None:
            return real_BL / real_BL.sum(1, keepdim=True).clamp(min=1)
        if ages_BL is None:
            ages_BL = ages_of(history_BL)
        # embedding() rather than indexing, because its gradient is summed several times faster.
        logits_BL = RECENCY_RATE * embedding(self.step_L[ages_BL], self.log_weights.unsqueeze(1)).squeeze(-1)
        return torch.softmax(logits_BL.masked_fill(~real_BL, -torch.inf), 1).nan_to_num(0.0)


def ages_of(history_BL: torch.Tensor) -> torch.Tensor:
    """How many items came after each one of a whole history [B, L], oldest first; 0 for padding."""
    real_B1 = (history_BL != 0).sum(1, keepdim=True)
    return (real_B1 - 1 - torch.arange(history_BL.shape[1], device=history_BL.device)).clamp(min=0)


def mlp(sizes: list[int], *, silent: bool = False) -> nn.Sequential:
    """Linear layers of the given sizes with ReLU between them; `silent` ones start out returning zeros.

    Silent layers beside a residual let a tower begin as its embeddings and learn what to add to them, which was both
    faster and better than random layers (docs/measured.md).
    """
    with warnings.catch_warnings():
        # Without user fields the first layer reads nothing, of which torch would tell at every training.
        warnings.filterwarnings("ignore", message="Initializing zero-element tensors")
        linear = [nn.Linear(inner, outer) for inner, outer in pairwise(sizes)]
    if silent:
        silence(linear[-1])
    between = [part for layer in linear[:-1] for part in (layer, nn.ReLU())]
    return nn.Sequential(*between, linear[-1])


def _small_linear(inner: int, outer: int) -> nn.Linear:
    layer = nn.Linear(inner, outer)
    nn.init.normal_(layer.weight, std=INITIAL_SPREAD)
    nn.init.zeros_(layer.bias)
    return layer


def silence(layer: nn.Linear) -> None:
    """Start out with weights and bias of zero."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)


def unit_length(vectors_BD: torch.Tensor) -> torch.Tensor:
    """Divide vectors by their length, and those shorter than SHORTEST by SHORTEST.

    A user without history or fields starts out at zero, where the slope of a plain division has no bound.
    """
    return nn.functional.normalize(vectors_BD, dim=1, eps=SHORTEST)
