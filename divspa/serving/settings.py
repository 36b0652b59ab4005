"""What is published for serving."""

from typing import Annotated

from pydantic import Field, StringConstraints

from divspa.settings import Section, Share, Text

ListName = Annotated[str, StringConstraints(pattern="^[a-z0-9_]+$")]


class Recall(Section):
    """How long the published recall lists are, what may be in them, and how the served index is searched.

    Each of `lists` is a condition on the items table by the name that a request gives; items that `allowed` leaves out
    are in none. Users whom nobody knows have lists by the values of `segments`, fields of users, of at least
    `segment_users` each. An index of more than `exact_items` has clusters, and probes as many as `index_recall` needs.
    With `onnx` the bundle holds the user tower in that form too.
    """

    items_per_user: Annotated[int, Field(ge=1)] = 200
    items_per_item: Annotated[int, Field(ge=1)] = 100
    allowed: str | None = None
    lists: dict[ListName, Text] = Field(default_factory=dict)
    segments: tuple[Text, ...] = ()
    segment_users: Annotated[int, Field(ge=1)] = 100
    exact_items: Annotated[int, Field(ge=0)] = 100_000
    index_recall: Share = 0.98
    onnx: bool = False
