"""How ids, texts, numbers and times of one request are written: as `divspa.sources.values` writes a log's, in Python.

A test holds the two against each other, value by value.
"""

import json
import math
from collections.abc import Collection
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import numpy as np

from divspa.errors import InputError

# White space, and the byte order mark that some programs leave at the start of a text.
SPACES = " \t\r\n\f\v\ufeff"
# From here on a double no longer tells whole numbers apart.
EXACT = 1 << 53
MICROS = {"seconds": 1_000_000, "milliseconds": 1_000, "microseconds": 1}
# Doubles within these bounds Java writes without an exponent.
PLAIN_FROM, PLAIN_BELOW = 1e-3, 1e7
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def plain_text(value: object, null_values: Collection[str], name: str) -> str | None:
    """A value as a text without spaces around it, None where it says nothing. Raises InputError for lists and the like.

    `null_values` are lower case. A whole number has no fraction: 53, 53.0 and Decimal("53.00") are one id; the text
    "53.0" stays as it is.
    """
    value = value.item() if isinstance(value, np.generic) else value
    if value is None:
        return None
    if isinstance(value, str | bytes):
        text = (value if isinstance(value, str) else value.decode(errors="replace")).strip(SPACES)
        return None if not text or text.lower() in null_values else text
    if isinstance(value, int):  # bool among them
        return str(value).lower()
    if isinstance(value, float):
        return _double(value)
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, date):
        return _dated(value)
    raise InputError(f"The value of {name} is not one value", found=type(value).__name__)


def plain_texts(value: object, delimiter: str | None, null_values: Collection[str], name: str) -> list[str]:
    """The distinct texts of a list, in order, those that say nothing left out.

    A text is parted by the delimiter or else, where it is a JSON array, by that; anything else is a list of one.
    """
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, str):
        value = _parted(value, delimiter)
    several = value if isinstance(value, list | tuple) else [value]
    texts = (plain_text(each, null_values, name) for each in several)
    return list(dict.fromkeys(text for text in texts if text is not None))


def plain_number(value: object, decimal: str, name: str) -> float | None:
    """A number, None where there is none. Raises InputError for what can be no number."""
    value = value.item() if isinstance(value, np.generic) else value
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip(SPACES)
        value = text if decimal == "." else text.replace(decimal, ".")
        if "_" in value:  # a separator in Python alone
            return None
    elif not isinstance(value, int | float | Decimal):
        raise InputError(f"The value of {name} is no number", found=type(value).__name__)
    try:
        wide = float(value)
    except ValueError:
        return None
    return None if math.isnan(wide) else wide


def plain_numbers(value: object, size: int, null_values: Collection[str], name: str) -> list[float] | None:
    """A list of `size` finite numbers, None where there is none; a text is one as JSON.

    Raises InputError for anything else.
    """
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if value is None or (isinstance(value, str) and plain_text(value, null_values, name) is None):
        return None
    several: Any = value
    try:
        numbers = [float(each) for each in (json.loads(several) if isinstance(several, str) else several)]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != size or not np.isfinite(np.asarray(numbers, np.float32)).all():
        raise InputError(f"The value of {name} is no vector", expected=f"a list of {size} finite numbers")
    return numbers


def plain_micros(value: object, unit: str, name: str) -> int:
    """A time as microseconds since 1970; one without a zone is UTC. Raises InputError for what is no time.

    Numbers are of the log's unit; with `order` they are a place in an order, and no time.
    """
    value = value.item() if isinstance(value, np.generic) else value
    try:
        if isinstance(value, str) and unit in ("timestamp", "order"):
            value = datetime.fromisoformat(value.strip(SPACES))
        if isinstance(value, date):
            moment = value if isinstance(value, datetime) else datetime.combine(value, time())
            return (moment.replace(tzinfo=moment.tzinfo or UTC) - EPOCH) // (datetime.resolution)
        if unit == "nanoseconds" and isinstance(value, int):
            return value // 1000
        if isinstance(value, int | float | Decimal | str) and unit != "timestamp":
            return math.floor(Decimal(str(value)) * MICROS.get(unit, 1))
    except (ValueError, ArithmeticError):
        pass
    raise InputError(f"A time of {name} is none", expected=f"a time of the unit {unit}", found=repr(value))


def _double(value: float) -> str | None:
    """As Java writes a double, but for whole ones."""
    if math.isnan(value) or math.isinf(value):
        return None
    if value == math.floor(value) and abs(value) < EXACT:
        return str(int(value))
    if PLAIN_FROM <= abs(value) < PLAIN_BELOW:
        return repr(value)
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    written = "".join(map(str, digits))
    return f"{'-' * sign}{written[0]}.{written[1:] or '0'}E{int(exponent) + len(digits) - 1}"


def _decimal(value: Decimal) -> str:
    if value == value.to_integral_value():
        return str(int(value))
    written = str(value)
    return written if "E" in written else written.rstrip("0")


def _dated(value: date) -> str:
    if not isinstance(value, datetime):
        return value.isoformat()
    moment = value.astimezone(UTC) if value.tzinfo else value
    fraction = f".{moment.microsecond:06d}".rstrip("0") if moment.microsecond else ""
    return f"{moment:%Y-%m-%d %H:%M:%S}{fraction}"


def _parted(text: str, delimiter: str | None) -> list[object]:
    if delimiter:
        return list(text.split(delimiter))
    trimmed = text.strip(SPACES)
    if not (trimmed.startswith("[") and trimmed.endswith("]")):
        return [text]
    try:
        # A number within JSON is the text that it was written as.
        return list(json.loads(trimmed, parse_float=str, parse_int=str))
    except ValueError:
        return []
