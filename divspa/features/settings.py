"""The click log, the attributes, and how clicks become examples."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, FiniteFloat, model_validator

from divspa.settings import Section, Share, Text
from divspa.sources.settings import Source, TimeUnit

# Columns that lie beside the fields while these are encoded; a field may have such a `column`, but not such a name.
RESERVED = {"user_id", "user_key", "item_id", "item_index", "popularity", "valid_from", "cutoff"}
RESERVED |= {"first_click", "train_clicks", "test_clicks", "train_instants", "is matched", "index of user_id"}


class Events(Section):
    """Kinds of events: where a row says which it is, and what each is worth beside the others; 0: no positive.

    Rows of another kind are quarantined, or left out with `unknown: ignore`.
    """

    column: Text
    weights: Annotated[dict[str, Annotated[float, Field(ge=0)]], Field(min_length=1)]
    unknown: Literal["quarantine", "ignore"] = "quarantine"


class ClickLog(Source):
    """The click log and what its columns mean; each is a column or a Spark SQL expression.

    What a click counts is its `weight` times that of its event; both are 1 where they are not given.

    `time_unit: order` is for logs that know what came first but not when: any numbers do. A row whose item is a list is
    a click for each of its items with `explode`, and refused without. Times outside `earliest` to `latest` (null: a
    year after the run) are refused, since they are of another unit more often than of another age.
    """

    user: Text
    item: Text
    time: Text
    time_unit: TimeUnit = "timestamp"
    positive: Text | None = None
    weight: Text | None = None
    events: Events | None = None
    explode: bool = False
    earliest: AwareDatetime = datetime(1995, 1, 1, tzinfo=UTC)
    latest: AwareDatetime | None = None

    @property
    def is_weighted(self) -> bool:
        """Whether clicks count differently."""
        return self.weight is not None or self.events is not None

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of events, in the order of the configuration."""
        return tuple(self.events.weights) if self.events else ()

    @property
    def has_times(self) -> bool:
        """Whether days and calendars mean something in this log."""
        return self.time_unit != "order"


class FeatureField(Section):
    """One sparse field, embedded by the towers: it takes `max_values` places of the encoded features."""

    name: Text
    max_values: Annotated[int, Field(ge=1)] = 1


def places(fields: Sequence[FeatureField]) -> dict[str, range]:
    """Where in the encoded features each of these fields lies, from 0, by its name."""
    ends = accumulate(field.max_values for field in fields)
    return {field.name: range(end - field.max_values, end) for field, end in zip(fields, ends, strict=True)}


class ColumnField(FeatureField):
    """A field read from a column of an attribute table.

    One of `kind: vector` is a list of `size` floats, such as the embedding of a text, and takes as many places.
    """

    kind: Literal["categorical", "multi", "numeric", "vector"] = "categorical"
    column: str = ""
    delimiter: str | None = None
    min_count: Annotated[int, Field(ge=1)] = 1
    hash_buckets: Annotated[int, Field(ge=1)] | None = None
    quantiles: Annotated[int, Field(ge=2)] | None = None
    bounds: tuple[FiniteFloat, ...] | None = None
    size: Annotated[int, Field(ge=1, le=1 << 14)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        """A bare name is a categorical field; the column is named like the field unless said otherwise."""
        if not isinstance(data, str | dict):
            raise ValueError("a field is a name or a mapping with `name`")
        data = {"name": data} if isinstance(data, str) else dict(data)
        data.setdefault("column", data.get("name"))
        if data.get("kind") == "multi":
            data.setdefault("max_values", 5)
        if data.get("kind") == "numeric" and data.get("bounds") is None:
            data.setdefault("quantiles", 10)
        if data.get("kind") == "vector" and "size" in data:
            data.setdefault("max_values", data["size"])
        return data

    @property
    def has_vocabulary(self) -> bool:
        """Whether each value has an index of its own."""
        return self.kind in ("categorical", "multi") and self.hash_buckets is None

    @model_validator(mode="after")
    def _kind_fits(self) -> "ColumnField":
        numeric = self.kind == "numeric"
        if numeric != (self.quantiles is not None or self.bounds is not None):
            raise ValueError("`quantiles` or `bounds` are given with `kind: numeric`, and only then")
        if self.quantiles is not None and self.bounds is not None:
            raise ValueError("either `quantiles` or `bounds`, not both")
        if numeric and (self.max_values, self.hash_buckets, self.min_count) != (1, None, 1):
            raise ValueError("a numeric field has one value, and neither `hash_buckets` nor `min_count`")
        if (self.kind == "vector") != (self.size is not None):
            raise ValueError("`size` is given with `kind: vector`, and only then")
        of_texts = (self.max_values, self.hash_buckets, self.min_count, self.delimiter)
        if self.size is not None and of_texts != (self.size, None, 1, None):
            raise ValueError(
                "a vector has a `size`, and none of `max_values`, `hash_buckets`, `min_count`, `delimiter`"
            )
        if self.bounds is not None and (not self.bounds or list(self.bounds) != sorted(set(self.bounds))):
            raise ValueError("`bounds` are one or more numbers in ascending order")
        if self.hash_buckets is not None and self.min_count > 1:
            raise ValueError("a hashed field keeps every value, so it has no `min_count`")
        return self


class SequenceField(FeatureField):
    """The values of an item field over a user's past items, oldest first: the last `max_values` of them."""

    of: str
    max_values: Annotated[int, Field(ge=1)] = 10


class Attributes(Source):
    """A table of user or item attributes: one row an id or, with `valid_from`, one row an id and version."""

    id: Text
    valid_from: Text | None = None
    time_unit: TimeUnit = "timestamp"
    fields: tuple[ColumnField, ...] = ()


class Split(Section):
    """Where training ends: at a time, after a share of the clicks, before each user's last events, or never."""

    by: Literal["time", "share", "last", "none"] = "share"
    at: datetime | None = None
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    last_events: Annotated[int, Field(ge=1)] = 1
    discard_last: Annotated[int, Field(ge=0)] = 0
    validation_events: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _cutoff_given(self) -> "Split":
        if (self.by == "time") != (self.at is not None):
            raise ValueError("`at` is given with `by: time`, and only then")
        return self


class FeatureGates(Section):
    """What stops a day before anything of it is published; null turns a gate off.

    Gates on a change hold only where the previous day had at least `compare_from` clicks, users, items or values.
    """

    min_new_clicks: Annotated[int, Field(ge=1)] = 1
    max_refused_share: Share | None = 0.2
    max_user_share: Share | None = 0.1
    max_item_share: Share | None = 0.3
    min_matched_users: Share | None = 0.1
    min_matched_items: Share | None = 0.5
    max_unknown_rate: Share | None = None
    max_unknown_rise: Share | None = 0.2
    max_vocabulary_growth: Annotated[float, Field(ge=0)] | None = 2.0
    max_drift: Annotated[float, Field(ge=0)] | None = 0.25
    compare_from: Annotated[int, Field(ge=1)] = 1000


class Features(Section):
    """How clicks become examples.

    With `window_days` nothing is learned from older clicks than those of so many days, the day itself among them, and
    what nobody has clicked or had since then leaves the vocabulary; its places are given to new values. With an
    `item_min_count` of 0 the catalogue has what the items table holds and nobody clicked, too.
    """

    window_days: Annotated[int, Field(ge=1, le=36_500)] | None = None
    history_length: Annotated[int, Field(ge=1)] | None = None
    item_min_count: Annotated[int, Field(ge=0)] = 1
    repeats: Literal["first", "all"] = "first"
    embed_user_id: bool = False
    sequences: tuple[SequenceField, ...] = ()
    late_days: Annotated[int, Field(ge=0)] = 0
    max_user_clicks: Annotated[int, Field(ge=1)] | None = None
    gates: FeatureGates = FeatureGates()
