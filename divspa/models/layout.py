"""How encoded features lie in their arrays, and how many values each field has."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from divspa.schemas.vocabulary import FIRST_INDEX


class FieldSlot(BaseModel):
    """One field: its name, how many places it takes, and the size of its vocabulary with padding and unknown.

    The places of a `vector` hold the bits of 32-bit floats.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    width: int
    cardinality: int
    vector: bool = False


class Layout(BaseModel):
    """What a model must know of the data: item count (with padding and unknown), history length and the fields."""

    model_config = ConfigDict(frozen=True)
    first_item: ClassVar[int] = FIRST_INDEX

    items: int
    history_length: int
    user: tuple[FieldSlot, ...] = ()
    item: tuple[FieldSlot, ...] = ()
