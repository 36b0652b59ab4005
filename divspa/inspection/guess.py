"""What the columns of a log most probably mean: by their names, then by their values; every guess has its reason."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from divspa.errors import InputError
from divspa.inspection.sample import Sample

USER = "user|member|customer|client|household|visitor|reviewer|session|account|person|buyer|cookie|uid|device|profile"
ITEM = (
    "item|product|movie|video|article|song|track|artist|book|news|asin|sku|stock|listing|business|place|poi|content|"
    "photo|goods|gmap|iid|prod"
)
TIME = "time|date|when|ts$|^ts|clicked|created|_at$|epoch|day$"
ORDER = "order|position|pos$|rank|seq|step|place|index|idx|nr$|no$"
EVENT = "event|action|behaviou?r|type|kind|verb"
VALUE = "rating|stars|score|watch|play|dwell|duration|quantity|like|count"
ID_OF_NAME = re.compile(r"(^|[_.\- ])(id|key|code|no|number|uuid|hash|idx)$|(?<=[a-z])(Id|ID)$|^id$|asin|sku|uid$|iid$")
# Pandas' own types say less than they seem to.
Frame = Any
Series = Any
# Years from which numbers of each unit are plausible times: 1995 to 2045, in seconds.
EARLIEST, LATEST = 788_918_400, 2_366_841_600
UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
# Events that teams log, with what one is worth beside the others.
EVENT_WEIGHTS = {"view": 1, "click": 1, "pv": 1, "impression": 0, "cart": 3, "addtocart": 3, "add_to_cart": 3}
EVENT_WEIGHTS |= {"fav": 2, "like": 2, "purchase": 5, "buy": 5, "transaction": 5, "order": 5, "remove_from_cart": 0}


@dataclass(frozen=True)
class Guess:
    """One guess: what, and why."""

    value: Any
    why: str


@dataclass(frozen=True)
class LogGuess:
    """The columns of a click log."""

    user: Guess
    item: Guess
    time: Guess
    time_unit: Guess
    event: Guess | None
    value: Guess | None


def guess_log(sample: Sample) -> LogGuess:
    """Which columns are user, item and time. Raises InputError when there is no telling."""
    frame: Frame = sample.table.to_pandas()
    time, unit = _time_of(frame)
    left = [name for name in frame.columns if name != time.value]
    user = _id_of(frame, left, USER, "user")
    item = _id_of(frame, [name for name in left if name != user.value], ITEM, "item")
    rest = [name for name in left if name not in (user.value, item.value)]
    return LogGuess(user, item, time, unit, _event_of(frame, rest), _value_of(frame, rest))


def guess_id(sample: Sample, ids: set[str], side: str) -> Guess:
    """The column of an attribute table that holds the ids of the log. Raises InputError where none does."""
    shares = {name: _overlap(column, ids) for name, column in _texts(sample.table)}
    best = max(shares, key=lambda name: shares[name], default="")
    if not best or not shares[best]:
        raise InputError(
            f"No column of {sample.path} holds ids of the log's {side}",
            found=f"columns {', '.join(sample.table.column_names)}",
            remedy=f"check that the files belong together, or write the section `{side}` by hand",
        )
    return Guess(best, f"{shares[best]:.0%} of its values are in the log")


def guess_fields(sample: Sample, key: str) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The fields that the towers may embed, as the configuration writes them, and why other columns are none."""
    fields, skipped = [], {}
    for name, column in zip(sample.table.column_names, sample.table.columns, strict=True):
        if name == key:
            continue
        field = _field_of(name, column)
        if isinstance(field, str):
            skipped[name] = field
        else:
            fields.append(field)
    return fields, skipped


def ids_in(sample: Sample, name: str) -> set[str]:
    """The ids of a column as texts."""
    return {_plain(value) for value in sample.table[name].to_pylist() if value is not None}


def _id_of(frame: Frame, names: list[str], words: str, what: str) -> Guess:
    scores = {}
    for name in names:
        last = name.rpartition(".")[2]
        named = bool(re.search(words, last, re.I)) * 4 + bool(ID_OF_NAME.search(last)) * 2
        column = frame[name]
        hashable = column.map(lambda value: str(value) if isinstance(value, (list, np.ndarray, dict)) else value)
        distinct = hashable.nunique() / max(hashable.notna().sum(), 1)
        # An id repeats, is mostly there, and is no measure.
        shaped = (0 < distinct < 0.9) + (column.notna().mean() > 0.8) + (not _is_measure(column))
        scores[name] = named * 2 + shaped
    if not scores or max(scores.values()) < 5:
        raise InputError(
            f"No column looks like the {what} of a click",
            found=f"columns {', '.join(map(str, names))}",
            remedy="write the configuration by hand: `divspa config` prints a template",
        )
    best = max(scores, key=lambda name: (scores[name], -names.index(name)))
    return Guess(best, f"its name and {frame[best].astype(str).nunique():,} values in {len(frame):,} rows")


def _time_of(frame: Frame) -> tuple[Guess, Guess]:
    found: dict[str, tuple[int, str, str]] = {}
    for name in frame.columns:
        unit, why = _unit_of(frame[name])
        words = f"{TIME}|{ORDER}" if unit == "order" else TIME
        named = 2 * bool(re.search(words, name.rpartition(".")[2], re.I))
        if unit and (named or unit == "timestamp" or unit in UNITS):
            found[name] = (named + 3 * (unit == "timestamp") + 2 * (unit in UNITS), unit, why)
    if not found:
        raise InputError(
            "No column looks like the time of a click",
            found=f"columns {', '.join(map(str, frame.columns))}",
            remedy="a log without times needs a column of its order, such as 0, 1, 2; write the configuration by hand",
        )
    best = max(found, key=lambda name: found[name][0])
    return Guess(best, found[best][2]), Guess(found[best][1], found[best][2])


def _unit_of(column: Series) -> tuple[str, str]:
    """The unit of a column of times, and why; '' where it holds none."""
    known = column.dropna()
    if not len(known) or isinstance(known.iloc[0], (list, np.ndarray, dict, bool, np.bool_)):
        return "", ""
    if pd.api.types.is_datetime64_any_dtype(column) or hasattr(known.iloc[0], "year"):
        return "timestamp", f"timestamps from {known.min()} to {known.max()}"
    numbers: Series = pd.to_numeric(known, errors="coerce")
    if numbers.notna().mean() > 0.95:
        low, high = float(numbers.quantile(0.01)), float(numbers.quantile(0.99))
        for unit, scale in UNITS.items():
            if EARLIEST * scale <= low and high <= LATEST * scale:
                first, last = (pd.Timestamp(value / scale, unit="s").date() for value in (low, high))
                return unit, f"{unit} since 1970, from {first} to {last}"
        whole = bool((numbers == numbers.round()).all())
        return ("order", f"whole numbers from {low:.0f} to {high:.0f}, which are no times") if whole else ("", "")
    dated = known.astype(str).str.match(r"^\s*\d{4}-\d{2}-\d{2}")
    if dated.mean() > 0.95:
        return "timestamp", f"texts such as {known.iloc[0]}"
    return "", ""


def _event_of(frame: Frame, names: list[str]) -> Guess | None:
    for name in names:
        values = sorted(frame[name].dropna().astype(str).unique())
        known = [value for value in values if value.lower() in EVENT_WEIGHTS]
        if 1 < len(values) <= 20 and len(known) * 2 >= len(values) and re.search(EVENT, name, re.I):
            weights = {value: EVENT_WEIGHTS.get(value.lower(), 0) for value in values}
            why = "what one of each kind is worth beside the others, 0: no positive; yours to say"
            return Guess({"column": name, "weights": weights}, why)
    return None


def _value_of(frame: Frame, names: list[str]) -> Guess | None:
    for name in names:
        numbers: Series = pd.to_numeric(frame[name], errors="coerce")
        if frame[name].dtype != bool and numbers.notna().mean() > 0.8 and re.search(VALUE, name, re.I):
            told = f"{name} holds numbers from {numbers.min():g} to {numbers.max():g}"
            # Returns, skips and the like are no positives; from which rating on one is, only its owner knows.
            counted = not re.search("rating|stars|score", name, re.I) and numbers.min() <= 0 < numbers.max()
            quoted = name if name.isidentifier() else f"`{name}`"
            return Guess(f"{quoted} > 0" if counted else None, told if counted else f"every row; {told}")
    return None


def _field_of(name: str, column: pa.ChunkedArray) -> dict[str, Any] | str:
    """A field, or why the column is none."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    values = [value for value in column.to_pylist() if value not in (None, "")]
    if pa.types.is_struct(kind) or pa.types.is_map(kind) or pa.types.is_binary(kind) or pa.types.is_null(kind):
        return f"of type {column.type}"
    if len(values) < len(column) / 50:
        return "nearly always empty"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        if pa.types.is_floating(kind.value_type):
            return _vector(name, {len(value) for value in values})
        return {"name": name, "kind": "multi"}
    texts: Series = pd.Series(values).astype(str)
    return _text_field(name, texts, texts.nunique())


def _text_field(name: str, texts: Series, distinct: int) -> dict[str, Any] | str:
    if distinct == 1:
        return "always the same"
    numbers: Series = pd.to_numeric(texts, errors="coerce")
    if numbers.notna().mean() > 0.98 and distinct > 50 and not ID_OF_NAME.search(name):
        return {"name": name, "kind": "numeric"}
    for mark in ("|", ";"):
        parts = texts.str.split(mark, regex=False)
        if (parts.map(len) > 1).mean() > 0.2 and parts.explode().nunique() < 0.5 * len(texts):
            return {"name": name, "kind": "multi", "delimiter": mark}
    if distinct > 0.8 * len(texts) and distinct > 20:
        return "nearly every row has its own value"
    return {"name": name}


def _vector(name: str, sizes: set[int]) -> dict[str, Any] | str:
    if len(sizes) > 1 or sizes == {0}:
        return "lists of numbers, of several lengths"
    return {"name": name, "kind": "vector", "size": sizes.pop()}


def _is_measure(column: Series) -> bool:
    return pd.api.types.is_float_dtype(column) and bool((column.dropna() != column.dropna().round()).any())


def _texts(table: pa.Table) -> list[tuple[str, set[str]]]:
    flat = [name for name in table.column_names if not pa.types.is_nested(table.schema.field(name).type)]
    return [(name, {_plain(value) for value in table[name].to_pylist() if value is not None}) for name in flat]


def _overlap(values: set[str], ids: set[str]) -> float:
    return len(values & ids) / max(min(len(values), len(ids)), 1) if values else 0.0


def _plain(value: object) -> str:
    """As an id is written, whatever type carries it."""
    if isinstance(value, float) and value == round(value):
        return str(int(value))
    return str(value).strip()
