"""What may be chosen, by which score, and at what cost."""

from typing import Annotated

from pydantic import Field

from divspa.augmentation.settings import DivSPA, ScoredBy, Ways
from divspa.settings import Criterion, Section
from divspa.training.settings import USUAL_RATE, Rate

SELF, LINEAR = ("u2i", "i2i", "u2u2i"), ("linear_u2i", "linear_i2i")


class Candidate(Section):
    """Settings of `divspa` to try; what is not given is as the section `divspa` has it."""

    ways: Ways | None = None
    popularity_discount: Annotated[float, Field(ge=0)] | None = None
    scored_by: ScoredBy | None = None
    beta: Annotated[float, Field(ge=0)] | None = None

    def over(self, given: DivSPA) -> DivSPA:
        """The given settings with these in their place."""
        return given.model_copy(update=self.model_dump(exclude_none=True))


# What of `divspa` the stage `tune` chooses.
CHOSEN = tuple(Candidate.model_fields)


class Tuning(Section):
    """How `divspa.choose: auto` chooses: by trials on a share of the pairs, those ahead on more of them.

    One teacher at a time: mixed ones are known to lose. `budget` counts the examples of all trials, as a share of
    those that the base's training saw, and not seconds, so that the same inputs choose the same.
    """

    budget: Annotated[float, Field(gt=0)] = 0.75
    days: Annotated[int, Field(ge=1)] = 7
    criterion: Criterion = "ndcg@200"
    newest: Annotated[float, Field(gt=0, le=1)] = 1.0
    learning_rates: Annotated[tuple[Rate, ...], Field(min_length=1)] = (USUAL_RATE, 0.003)
    candidates: tuple[Candidate, ...] = (
        Candidate(ways=SELF, popularity_discount=1.0, beta=0.3),
        Candidate(ways=SELF, popularity_discount=1.0, beta=0.2),
        Candidate(ways=SELF, popularity_discount=1.0, beta=0.5),
        Candidate(ways=("i2i",), popularity_discount=0.0, beta=0.3),
        Candidate(ways=("i2i",), popularity_discount=0.0, beta=0.5),
        Candidate(ways=LINEAR, popularity_discount=1.0, beta=0.3),
        Candidate(ways=LINEAR, popularity_discount=0.0, beta=0.3),
        Candidate(ways=LINEAR, popularity_discount=0.0, beta=0.5),
    )
