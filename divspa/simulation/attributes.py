"""User and item attributes: fields that tell of interests, more or less reliably, and some that tell nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pyarrow as pa

from divspa.simulation.draws import Ints, halves
from divspa.simulation.settings import NAMED_FIELDS, GeneratorSettings
from divspa.simulation.text import numbered
from divspa.simulation.world import SEGMENTS, STYLES, World

SMALL_FIELD = 1000
MAX_TAGS = 3


@dataclass(frozen=True)
class Attribute:
    """One column: `fidelity` is the share of rows whose value lies in the range that its signal points at."""

    name: str
    values: int
    signal: str
    fidelity: float
    multi: bool = False


def user_attributes(world: World) -> list[Attribute]:
    """The users' columns, in order."""
    named = [
        Attribute("age_band", 8, "segment", 0.8),
        Attribute("region", 40, "segment", 0.6),
        Attribute("device", 6, "segment", 0.0),
    ]
    return named + _further(world, "user", ("interest", "segment"))


def item_attributes(world: World) -> list[Attribute]:
    """The items' columns, in order."""
    named = [
        Attribute("category", world.categories, "category", 1.0),
        Attribute("format", STYLES, "style", 0.95),
        Attribute("publisher", max(STYLES, world.settings.items // 50), "category", 0.7),
        Attribute("tags", 4 * world.categories, "category", 0.85, multi=True),
    ]
    return named + _further(world, "item", ("category", "style"))


def user_columns(world: World, user: Ints) -> dict[str, pa.Array]:
    """Columns for these users, `user_id` first. A user's `interest` is the main one's category on the first day."""
    signals = {"segment": lambda: (world.segment(user), SEGMENTS), "interest": lambda: _main_interest(world, user)}
    columns = {"user_id": numbered("u", user, world.settings.users)}
    return columns | {a.name: _column(world, "user", a, user, signals) for a in user_attributes(world)}


def item_columns(world: World, item: Ints) -> dict[str, pa.Array]:
    """Columns for these items, `item_id` first; `published` is the day from which an item can be clicked."""
    signals = {
        "category": lambda: (world.item_category[item], world.categories),
        "style": lambda: (world.item_style[item], STYLES),
    }
    columns = {"item_id": numbered("i", item, world.settings.items)}
    columns |= {a.name: _column(world, "item", a, item, signals) for a in item_attributes(world)}
    first = np.datetime64(world.settings.start, "D") + world.item_first_day[item]
    return columns | {"published": pa.array(first, pa.date32())}


def _main_interest(world: World, user: Ints) -> tuple[Ints, int]:
    return world.interest(user, np.zeros_like(user), 0) // STYLES, world.categories


def _column(
    world: World, side: str, attribute: Attribute, ids: Ints, signals: dict[str, Callable[[], tuple[Ints, int]]]
) -> pa.Array:
    codes = _codes(world, side, attribute, ids, signals)
    letter = attribute.name[0]
    if not attribute.multi:
        return numbered(letter, codes, attribute.values)
    counts = 1 + world.draws.below(MAX_TAGS, "tag count", ids)
    # Neighbouring values, so that items of one category share tags; each once in a list.
    owner = np.repeat(np.arange(len(ids)), counts)
    offsets = np.append(0, counts.cumsum())
    values = (codes[owner] + np.arange(len(owner)) - offsets[owner]) % attribute.values
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), numbered(letter, values, attribute.values))


def _codes(
    world: World, side: str, attribute: Attribute, ids: Ints, signals: dict[str, Callable[[], tuple[Ints, int]]]
) -> Ints:
    """The signal picks a part of the value range and a draw the value in it; else the draw has the whole range."""
    part, noise = halves(world.draws.bits(f"{side} {attribute.name}", ids))
    signal, kinds = signals[attribute.signal]()
    place = np.where(noise < attribute.fidelity, (signal + part) / kinds, part)
    return np.minimum((place * attribute.values).astype(np.int64), attribute.values - 1)


def _further(world: World, side: str, signals: tuple[str, str]) -> list[Attribute]:
    """Unnamed fields, shared out between users and items, from two values to many and from telling to mute."""
    sizes = further_sizes(world.settings)
    own = list(islice(sizes, 0 if side == "user" else 1, None, 2))
    return [
        Attribute(f"{side}_{number:02d}", size, signals[number % 2], 0.9 - 0.8 * number / (len(own) + 1))
        for number, size in enumerate(own, start=1)
    ]


def further_sizes(settings: GeneratorSettings) -> list[int]:
    """How many values each unnamed field has, users' and items' in turn: a geometric series.

    When `features` is set, the series ends where the values expected to occur, over all fields, add up to it.
    """
    count = settings.fields - NAMED_FIELDS
    steps = np.arange(1, count + 1) / max(count, 1)

    def series(top: float) -> np.ndarray:
        return np.maximum(2, 2 * (top / 2) ** steps).astype(np.int64)

    if settings.features is None or not count:
        return series(SMALL_FIELD).tolist()
    rows = np.where(np.arange(count) % 2 == 0, settings.users, settings.items)
    low, high = 2.0, 1e11
    for _ in range(80):
        middle = (low * high) ** 0.5
        sizes = series(middle)
        occurring = -(sizes * np.expm1(-rows / sizes)).sum() + settings.users + settings.items
        low, high = (middle, high) if occurring < settings.features else (low, middle)
    return series(low).tolist()
