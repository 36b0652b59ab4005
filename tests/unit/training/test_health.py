"""A collapse is told from vectors that merely lie close together."""

import numpy as np
import pytest
import torch

from divspa.errors import GateError, TrainingError
from divspa.training.health import Shape, require_healthy_loss, require_no_collapse
from divspa.training.settings import TrainingGates

GATES = TrainingGates()
SPREAD = torch.from_numpy(np.random.default_rng(1).normal(size=(200, 8)).astype(np.float32))


def test_shape_has_the_figures_of_known_vectors() -> None:
    square = torch.tensor([[1.0, 1, 0], [1, -1, 0], [-1, 1, 0], [-1, -1, 0]])
    shape = Shape.of(square + torch.tensor([0.0, 0, 2]))
    assert (shape.length, shape.spread, shape.direction) == pytest.approx((6, 1 / 3, 1 / 2))


@pytest.mark.parametrize(
    ("vectors", "found"),
    [
        (torch.zeros(200, 8), "items differ by 0 of their mean square, 0"),
        (torch.ones(200, 8) + 1e-4 * SPREAD, "items differ by .*e-08 of their mean square"),
        (SPREAD[:, :1] * torch.ones(8), "items have 1.000000 of their variance in one direction"),
        (SPREAD[:, :1] * torch.ones(8) + 1e-3 * SPREAD + 3, "items have 0.99.* of their variance in one direction"),
    ],
    ids=["all zero", "all alike", "on a line", "near a line"],
)
def test_collapsed_embeddings_fail_the_gate(vectors: torch.Tensor, found: str) -> None:
    with pytest.raises(GateError, match=rf"embeddings of divspa collapsed.*Found: {found}.*training\.gates"):
        require_no_collapse({"users": SPREAD, "items": vectors}, "divspa", GATES)
    require_no_collapse({"items": vectors}, "divspa", TrainingGates(min_spread=0, max_direction=1))


@pytest.mark.parametrize("vectors", [SPREAD, SPREAD + 10, 1e-4 * SPREAD, torch.zeros(9, 8), torch.ones(50, 2)])
def test_vectors_that_differ_or_say_nothing_pass(vectors: torch.Tensor) -> None:
    require_no_collapse({"users": vectors, "items": vectors}, "divspa", GATES)


def test_vectors_that_are_not_finite_are_an_error() -> None:
    with pytest.raises(TrainingError, match="not finite"):
        require_no_collapse({"items": SPREAD.where(SPREAD < 2, torch.nan)}, "divspa", TrainingGates(min_spread=0))


def test_a_loss_that_explodes_is_told_from_one_that_is_high() -> None:
    require_healthy_loss(699, 7, GATES, "epoch 1", "folder")
    require_healthy_loss(99, 0.001, GATES, "epoch 1", "folder")
    require_healthy_loss(1e30, 7, TrainingGates(max_loss_rise=0), "epoch 1", "folder")
    with pytest.raises(TrainingError, match=r"explodes to 701 in epoch 1.*less than 100 times.*kept in folder"):
        require_healthy_loss(701, 7, GATES, "epoch 1", "folder")
