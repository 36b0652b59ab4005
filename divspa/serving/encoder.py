"""A user's raw fields and clicks to what the user tower reads, by the rules and vocabularies of the features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from divspa.encoding.codes import Codes, encode_field, encode_values, encode_vectors
from divspa.encoding.hashing import xxhash64
from divspa.encoding.texts import plain_micros, plain_number, plain_numbers, plain_text, plain_texts
from divspa.encoding.timeline import Timeline
from divspa.errors import InputError
from divspa.schemas.vocabulary import FIRST_INDEX, ITEM_FIELD, UNKNOWN

USER_ID = "user_id"
# An item as the log names it or, with the time of the click, a pair.
Click = Any


@dataclass(frozen=True)
class FieldRule:
    """How the raw values of one field are read: `width` places, known values from a file, buckets or bounds."""

    name: str
    kind: str
    width: int
    column: str
    delimiter: str | None
    null_values: tuple[str, ...]
    decimal: str
    buckets: int | None = None
    bounds: tuple[float, ...] | None = None
    file: str | None = None

    @property
    def several(self) -> bool:
        return self.kind == "multi" or self.delimiter is not None


@dataclass(frozen=True)
class SequenceRule:
    """The last `width` values of an item field over a user's past items; `file` has those of every item."""

    name: str
    width: int
    of: str
    file: str | None = None


@dataclass(frozen=True)
class Rules:
    """How a request is read: fields and sequences in the order of `user_features`, history, and ids of the log."""

    fields: tuple[FieldRule, ...]
    sequences: tuple[SequenceRule, ...]
    history_length: int
    null_values: tuple[str, ...]
    time_unit: str

    @classmethod
    def of_json(cls, said: dict[str, Any]) -> "Rules":
        def tuples(each: dict[str, Any]) -> dict[str, Any]:
            return {name: tuple(value) if isinstance(value, list) else value for name, value in each.items()}

        fields = tuple(FieldRule(**tuples(each)) for each in said["fields"])
        sequences = tuple(SequenceRule(**each) for each in said["sequences"])
        return cls(**tuples(said) | {"fields": fields, "sequences": sequences})


@dataclass(frozen=True)
class Request:
    """A user: raw values by the names of the fields, and past clicks.

    Clicks are items as the log names them, oldest first, or pairs of item and time in any order, which divspa then
    orders as it orders a log: those of one instant by a hash that needs the field `user_id`, embedded or not. A value
    that is not given is unknown.
    """

    fields: Mapping[str, object] = field(default_factory=dict)
    clicks: Sequence[Click] = ()


class Encoder:
    """Requests to `user_features` and `history` of the user tower, as the batch job has them."""

    def __init__(
        self,
        rules: Rules,
        codes: Mapping[str, Codes],
        items: Mapping[str, int],
        item_codes: Mapping[str, np.ndarray],
    ) -> None:
        """Take the rules, the vocabulary of each field, indices of items, and [V, W] codes of them by sequence."""
        self.rules = rules
        self.codes = codes
        self.items = items
        self.item_codes = item_codes
        self.known = {USER_ID, *(rule.name for rule in rules.fields)}

    def encode(
        self, requests: Sequence[Request], clicked: Sequence[list[int]] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Encoded fields [B, F] and histories [B, L], both int32; `clicked` where it is known already.

        Raises InputError for what no log could hold.
        """
        for request in requests:
            if strange := sorted(request.fields.keys() - self.known):
                raise InputError(
                    f"The request has unknown fields: {', '.join(strange)}",
                    expected=f"some of {', '.join(sorted(self.known))}",
                )
        if clicked is None:
            clicked = [self.clicked(request) for request in requests]
        parts = [
            self._encoded(rule, [request.fields.get(rule.name) for request in requests]) for rule in self.rules.fields
        ]
        # Each user's first row stands for the beginning of time, so that one without clicks has a row too.
        items_R = np.concatenate([np.asarray([0, *items], np.int32) for items in clicked])
        user_R = np.repeat(np.arange(len(clicked)), [1 + len(items) for items in clicked])
        time = Timeline(user_R, np.arange(len(items_R)), items_R)
        user_B = np.arange(len(clicked))
        for sequence in self.rules.sequences:
            codes_BL = time.sequence(self.item_codes[sequence.name], time.end_U, user_B, sequence.width)
            codes_BL[codes_BL[:, 0] < FIRST_INDEX, 0] = UNKNOWN
            parts.append(codes_BL)
        history_BL, _ = time.history(time.end_U, user_B, self.rules.history_length)
        return np.hstack([np.zeros((len(requests), 0), np.int32), *parts]), history_BL

    def clicked(self, request: Request) -> list[int]:
        """The indices of a request's clicks, oldest first; an item that the catalogue lacks is UNKNOWN."""
        return [self.items.get(item, UNKNOWN) for item in self._in_order(request) if item is not None]

    def indices_of(self, items: Sequence[object]) -> list[int]:
        """The indices of the items that the catalogue has."""
        named = (plain_text(item, self.rules.null_values, ITEM_FIELD) for item in items)
        return [self.items[item] for item in named if item is not None and item in self.items]

    def _in_order(self, request: Request) -> list[str | None]:
        nulls, unit = self.rules.null_values, self.rules.time_unit
        dated = [isinstance(click, tuple | list) for click in request.clicks]
        if not any(dated):
            return [plain_text(click, nulls, ITEM_FIELD) for click in request.clicks]
        if not all(dated) or any(len(click) != 2 for click in request.clicks):
            raise InputError("Some clicks have a time and others none", expected="items alone, or (item, time) pairs")
        pairs = {
            (plain_micros(time, unit, "clicks"), plain_text(item, nulls, ITEM_FIELD)) for item, time in request.clicks
        }
        user = plain_text(request.fields.get(USER_ID), nulls, USER_ID)
        after = () if user is None else (user,)
        return [item for _, item in sorted(pairs, key=lambda pair: (pair[0], xxhash64(pair[1] or "", pair[0], *after)))]

    def _encoded(self, rule: FieldRule, values: Sequence[object]) -> np.ndarray:
        if rule.bounds is not None:
            numbers = [plain_number(value, rule.decimal, rule.name) for value in values]
            return encode_field(pa.array(numbers, pa.float64()), rule.width, None, rule.bounds)
        if rule.kind == "vector":
            lists = [plain_numbers(value, rule.width, rule.null_values, rule.name) for value in values]
            return encode_vectors(pa.array(lists, pa.list_(pa.float32())), rule.width)

        def code(text: str) -> int:
            return xxhash64(text) if rule.buckets is None else xxhash64(text) % rule.buckets + FIRST_INDEX

        pairs: list[tuple[int, int]] = []
        for row, value in enumerate(values):
            if rule.several and value is not None:
                texts = plain_texts(value, rule.delimiter, rule.null_values, rule.name)
                pairs += ((row, code(text)) for text in texts)
            elif (text := plain_text(value, rule.null_values, rule.name)) is not None:
                pairs.append((row, code(text)))
        row_R, value_R = np.asarray(pairs, np.int64).reshape(-1, 2).T
        return encode_values(row_R, value_R, len(values), rule.width, self.codes.get(rule.name))
