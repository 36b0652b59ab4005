"""What a training must not become: a loss that explodes, weights that are not finite, embeddings that collapse."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from divspa.errors import GateError, TrainingError
from divspa.training.settings import TrainingGates

# So few vectors say nothing of a collapse, and a mean square below this is zero.
FEWEST, NOTHING = 10, 1e-12
REMEDY = "lower training.learning_rate or training.omega, or look at these examples"


def require_healthy_loss(loss: float, first: float, gates: TrainingGates, where: str, kept: str) -> None:
    """Raise TrainingError when a loss is not finite, or so many times the first one, or 1, as `max_loss_rise` says.

    `where` names the batch, `kept` the folder of the last good weights.
    """
    if not math.isfinite(loss):
        problem, expected = f"The loss is {loss} in {where}", "a finite one"
    elif gates.max_loss_rise and loss > gates.max_loss_rise * max(first, 1.0):
        problem, expected = f"The loss explodes to {loss:.4g} in {where}", f"less than {gates.max_loss_rise:g} times"
        expected += f" that of the first step, {first:.4g}"
    else:
        return
    raise TrainingError(problem, expected=expected, remedy=f"{REMEDY}; the last good weights are kept in {kept}")


def all_finite(tensors: Iterable[torch.Tensor]) -> bool:
    """Whether no tensor holds NaN or infinity."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


@dataclass(frozen=True)
class Shape:
    """How R vectors lie: their mean squared length, the share of it that is not common to all, and of that share the
    part along the one direction that has most."""

    length: float
    spread: float
    direction: float

    @classmethod
    def of(cls, vectors_RD: torch.Tensor) -> "Shape":
        """Raises TrainingError when a vector is not finite."""
        if not all_finite([vectors_RD]):
            raise TrainingError("A vector is not finite", remedy="look at the training's losses; lower the rate")
        vectors_RD = vectors_RD.double()
        length = float(vectors_RD.square().sum(1).mean())
        centred_RD = vectors_RD - vectors_RD.mean(0)
        variances = torch.linalg.eigvalsh(centred_RD.T @ centred_RD / len(vectors_RD)).clamp(min=0)
        total = float(variances.sum())
        return cls(length, total / max(length, NOTHING), float(variances[-1]) / max(total, NOTHING))


def require_no_collapse(vectors: dict[str, torch.Tensor], model: str, gates: TrainingGates) -> None:
    """Raise GateError, naming every figure, when vectors [R, D] of users or items are all zero, all alike or on a line.

    Fewer than ten vectors, and those of fewer than three dimensions, pass.
    """
    found = []
    for name, vectors_RD in vectors.items():
        if len(vectors_RD) < FEWEST or vectors_RD.shape[1] < 3:
            continue
        shape = Shape.of(vectors_RD)
        if gates.min_spread and (shape.length <= NOTHING or shape.spread < gates.min_spread):
            found.append(f"{name} differ by {shape.spread:.3g} of their mean square, {shape.length:.3g}")
        elif shape.direction > gates.max_direction:
            found.append(f"{name} have {shape.direction:.6f} of their variance in one direction")
    if found:
        raise GateError(
            f"The embeddings of {model} collapsed and are not published",
            expected=f"a difference of {gates.min_spread:g} or more, at most {gates.max_direction:g} in one direction",
            found="; ".join(found),
            remedy="look at the training's losses and lower training.learning_rate; or, if that is right, set "
            "`training.gates`",
        )
