"""Which lists are published."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from divspa.settings import Criterion, Section

Weight = Annotated[float, Field(gt=0, lt=1)]


class Publishing(Section):
    """What may be published, by what it is chosen, when a day is held back (0: never), and what it learns from."""

    channels: Literal["auto"] | Annotated[tuple[str, ...], Field(min_length=1)] = "auto"
    fused: bool = True
    weights: Annotated[tuple[Weight, ...], Field(min_length=1)] = (0.25, 0.5, 0.75)
    depth: Annotated[int, Field(ge=1)] = 200
    criterion: Criterion = "ndcg@200"
    newest: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_drop: Annotated[float, Field(ge=0, le=1)] = 0.2
    refit: bool = False
    refit_passes: Annotated[int, Field(ge=1)] = 3

    @model_validator(mode="after")
    def _each_once(self) -> "Publishing":
        if self.channels != "auto" and len(set(self.channels)) < len(self.channels):
            raise ValueError("`channels` names each model once")
        return self
