"""The linear item-item model."""

from typing import Annotated

from pydantic import Field, model_validator

from divspa.settings import Section


class Linear(Section):
    """The linear item-item model, EASE (Steck 2019), and its sparse form beyond `max_dense_items`.

    The closed form takes 4 * max_dense_items^2 bytes on the driver and time by its third power.
    """

    max_dense_items: Annotated[int, Field(ge=1, le=45_000)] = 10_000
    regularisations: tuple[Annotated[float, Field(gt=0)], ...] = (300.0, 1000.0, 3000.0, 10000.0)
    support: Annotated[int, Field(ge=1)] = 50
    neighbours: Annotated[int, Field(ge=1)] = 200
    max_user_items: Annotated[int, Field(ge=2)] = 1000

    @model_validator(mode="after")
    def _something_to_choose_from(self) -> "Linear":
        if not self.regularisations:
            raise ValueError("`regularisations` names one or more")
        return self
