"""What is published for serving."""

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from divspa.settings import Section, Share, Text

# The source of items in the places reserved for new ones, and the bundle's list of all of them.
NEW = "new"

ListName = Annotated[str, StringConstraints(pattern="^[a-z0-9_]+$")]


class Recall(Section):
    """How long the published recall lists are, what may be in them, and how the served index is searched.

    Each of `lists` is a condition on the items table by the name that a request gives; items that `allowed` leaves out
    are in none. Users whom nobody knows have lists by the values of `segments`, fields of users, of at least
    `segment_users` each. An index of more than `exact_items` has clusters, and probes as many as `index_recall` needs.
    With `onnx` the bundle holds the user tower in that form too. The last `new_items` places of a user's list are those
    of items with fewer than `new_clicks` clicks in training, which a list by score alone seldom shows.
    """

    items_per_user: Annotated[int, Field(ge=1)] = 200
    new_items: Annotated[int, Field(ge=0)] = 0
    new_clicks: Annotated[int, Field(ge=1)] = 10
    items_per_item: Annotated[int, Field(ge=1)] = 100
    allowed: str | None = None
    lists: dict[ListName, Text] = Field(default_factory=dict)
    segments: tuple[Text, ...] = ()
    segment_users: Annotated[int, Field(ge=1)] = 100
    exact_items: Annotated[int, Field(ge=0)] = 100_000
    index_recall: Share = 0.98
    onnx: bool = False

    @model_validator(mode="after")
    def _places_fit(self) -> "Recall":
        if self.new_items > self.items_per_user:
            raise ValueError("`new_items` are places of a list, of which `items_per_user` says how many there are")
        if self.new_items and NEW in self.lists:
            raise ValueError(f"`lists` may not name one {NEW}, which `new_items` does")
        return self
