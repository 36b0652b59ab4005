"""The optimisation that base and DivSPA share."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PlainValidator, TypeAdapter, ValidationError

from divspa.settings import Criterion, Section, Share

Rate = Annotated[float, Field(gt=0)]
USUAL_RATE = 0.001


def _rate_or_auto(given: Any) -> Any:
    """One message, where pydantic has one for each of the two that it may be."""
    if given == "auto":
        return given
    try:
        return TypeAdapter(Rate, config=ConfigDict(allow_inf_nan=False)).validate_python(given)
    except ValidationError:
        raise ValueError("is neither a number above 0 nor auto") from None


class TrainingGates(Section):
    """What ends a training, or keeps its embeddings from being published; 0 turns one off, 1 a share at most."""

    max_loss_rise: Annotated[float, Field(ge=0)] = 100.0
    min_spread: Share = 0.0001
    max_direction: Share = 0.999


class Training(Section):
    """The optimisation that base and DivSPA share (Section 4.1).

    `learning_rate: auto` is the first of `tuning.learning_rates` or, with `divspa.choose: auto`, the best of them.
    Where the catalogue has items without clicks, a share `hidden_ids` of a step's items is seen without its id.
    """

    epochs: Annotated[int, Field(ge=1)] = 20
    patience: Annotated[int, Field(ge=0)] = 2
    criterion: Criterion = "ndcg"
    batch_size: Annotated[int, Field(ge=1)] = 1024
    learning_rate: Annotated[float | Literal["auto"], PlainValidator(_rate_or_auto)] = "auto"
    schedule: Literal["constant", "linear"] = "constant"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    negatives: Annotated[int, Field(ge=1)] = 1000
    negative_sampling: Literal["uniform", "popularity", "in_batch", "mixed"] = "mixed"
    popularity_power: Annotated[float, Field(ge=0)] = 0.75
    omega: Annotated[float, Field(gt=0)] = 20.0
    history_sample: Annotated[int, Field(ge=0)] = 50
    hidden_ids: Annotated[float, Field(ge=0, lt=1)] = 0.1
    start: Literal["scratch", "previous"] = "scratch"
    processes: Annotated[int, Field(ge=1)] = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0
    checkpoint_minutes: Annotated[float, Field(ge=0)] = 10.0
    gates: TrainingGates = TrainingGates()

    @property
    def rate(self) -> float:
        """The learning rate of one training; what is to be chosen is set before it begins."""
        return USUAL_RATE if self.learning_rate == "auto" else self.learning_rate
