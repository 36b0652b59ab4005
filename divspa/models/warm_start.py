"""Warm start: the values of an earlier model in one whose vocabulary has changed."""

from collections.abc import Mapping

import torch

from divspa.models.embeddings import FieldEmbeddings
from divspa.models.two_tower import TwoTowerModule
from divspa.schemas.vocabulary import ITEM_FIELD


@torch.no_grad()
def carry_over(earlier: TwoTowerModule, model: TwoTowerModule, fresh: Mapping[str, torch.Tensor] | None = None) -> None:
    """Copy every value that both models have: whole layers of equal shape, and the rows of the earlier vocabulary.

    Index i means the same in both but where `fresh` names it, by field: there it has been given to another value since.
    Such rows and new ones keep their fresh values, and so does a layer whose shape has changed because a field was
    added.
    """
    fresh = fresh or {}
    _carry_ages(earlier.history_weights.log_weights, model.history_weights.log_weights)
    fields = {name: part for name, part in earlier.named_modules() if isinstance(part, FieldEmbeddings)}
    for name, part in model.named_modules():
        if name in fields and isinstance(part, FieldEmbeddings):
            _carry_fields(fields[name], part, fresh)
    of_fields = tuple(f"{name}.{part}." for name in fields for part in ("table", "layers"))
    values = dict(earlier.named_parameters())
    for name, parameter in model.named_parameters():
        known = values.get(name)
        if name.startswith(of_fields) or known is None or known.shape[1:] != parameter.shape[1:]:
            continue
        if known.shape == parameter.shape or name.removesuffix(".weight") in _row_tables(model):
            _carry_rows(known, parameter, fresh.get(ITEM_FIELD))


def _carry_ages(known: torch.Tensor | None, grown: torch.Tensor | None) -> None:
    """A step of age means the same in any length; in a longer history the oldest items weigh as the oldest known."""
    if known is not None and grown is not None:
        grown[:] = known[torch.arange(len(grown)).clamp(max=len(known) - 1)]


def _row_tables(model: TwoTowerModule) -> set[str]:
    return {name for name, part in model.named_modules() if isinstance(part, torch.nn.Embedding)}


def _carry_rows(known: torch.Tensor, grown: torch.Tensor, fresh: torch.Tensor | None) -> None:
    """Copy the rows that both tables have, all but the fresh ones."""
    rows = min(len(known), len(grown))
    kept = torch.ones(rows, dtype=torch.bool)
    if fresh is not None:
        kept[fresh[fresh < rows].long()] = False
    grown[:rows][kept] = known[:rows][kept]


def _carry_fields(earlier: FieldEmbeddings, grown: FieldEmbeddings, fresh: Mapping[str, torch.Tensor]) -> None:
    """Fields are matched by name; each takes up its own rows of the one table, or its own layer."""
    layers = dict(zip(earlier.vectors, earlier.layers, strict=True))
    for name, layer in zip(grown.vectors, grown.layers, strict=True):
        if name in layers and layers[name].weight.shape == layer.weight.shape:
            layer.load_state_dict(layers[name].state_dict())
    starts = earlier.starts
    for name, start in grown.starts.items():
        if name in starts and earlier.table.weight.shape[1] == grown.table.weight.shape[1]:
            theirs = earlier.table.weight[starts[name] : starts[name] + earlier.cardinality[name]]
            own = grown.table.weight[start : start + grown.cardinality[name]]
            _carry_rows(theirs, own, fresh.get(name))
