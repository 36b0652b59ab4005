"""Positive augmentation and the mix-up loss."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from divspa.settings import Section


def each_once(ways: tuple[str, ...]) -> tuple[str, ...]:
    """The same ways. Raises ValueError for none, and for one that is named twice."""
    if not ways or len(set(ways)) < len(ways):
        raise ValueError("`ways` names one or more ways, each once")
    return ways


Ways = Annotated[tuple[str, ...], AfterValidator(each_once)]
ScoredBy = Literal["base", "way", "both"]


class Gates(Section):
    """What an augmentation must reach before it is published; 0 turns a gate off."""

    filled: Annotated[float, Field(ge=0, le=1)] = 0.1
    way_filled: Annotated[float, Field(ge=0, le=1)] = 0.001
    warn_spread: Annotated[float, Field(ge=0, le=1)] = 0.05


class DivSPA(Section):
    """Positive augmentation (Section 3.2) and the mix-up loss (Section 3.3).

    With `choose: auto` the stage `tune` chooses ways, popularity_discount, scored_by and beta (divspa.tuning), as it
    does for a configuration that gives none of these four and does not say `choose`.
    """

    choose: Literal["fixed", "auto"] = "fixed"
    ways: Ways = ("u2i", "i2i", "u2u2i")
    top_k: Annotated[int, Field(ge=1)] = 20
    top_k_users: Annotated[int, Field(ge=1)] = 10
    m: Annotated[int, Field(ge=1)] = 3
    sampling: Literal["uniform", "importance", "beta"] = "importance"
    alpha: Annotated[float, Field(gt=0)] = 0.5
    popularity_discount: Annotated[float, Field(ge=0)] = 1.0
    weighting: Literal["clamp", "softmax"] = "clamp"
    scored_by: ScoredBy = "base"
    draws: Annotated[int, Field(ge=1)] = 1
    beta: Annotated[float, Field(ge=0)] = 0.3
    mixup: Literal["output", "representation"] = "output"
    weights: Literal["teacher", "student"] = "teacher"
    start: Literal["base", "scratch"] = "base"
    allowed: str | None = None
    gates: Gates = Gates()

    @model_validator(mode="after")
    def _consistent(self) -> "DivSPA":
        if self.m > self.top_k:
            raise ValueError("`m` items are sampled from the `top_k`, so m may not exceed top_k")
        return self
