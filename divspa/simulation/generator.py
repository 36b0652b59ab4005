"""Writes a generated click log, its user and item attributes, and a configuration that reads them."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from divspa.errors import ConfigError
from divspa.simulation.attributes import item_attributes, item_columns, user_attributes, user_columns
from divspa.simulation.draws import Ints
from divspa.simulation.settings import PRESETS, GeneratorSettings
from divspa.simulation.text import numbered
from divspa.simulation.world import World

__all__ = ["PRESETS", "GeneratorSettings", "generate", "write_config"]

THREADS = 2
# A chunk stays in the processor's cache; a part is what one thread holds in memory and one file.
CHUNK = 1 << 17
PART = 1 << 20
FORMAT = {"compression": "snappy", "store_schema": False}


def generate(settings: GeneratorSettings, out: Path, progress: Callable[[int], None] | None = None) -> dict[str, Any]:
    """Write the log into an empty or new folder and return what was written, as one flat dictionary.

    Writes `clicks/part-DAY-NNN.parquet`, `users.parquet`, `items.parquet` and `divspa.yaml`. `progress` is called in
    this thread with the number of clicks just written. Raises ConfigError when the folder already holds something,
    so that two logs are never mixed.
    """
    started = time.monotonic()
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"The folder {out} is not empty", remedy="give --out a new folder, or remove this one")
    world = World(settings)
    (out / "clicks").mkdir(parents=True)
    _write_attributes(out / "items.parquet", settings.items, lambda item: item_columns(world, item))
    _write_attributes(out / "users.parquet", settings.users, lambda user: user_columns(world, user))
    for written in _in_parallel(lambda part: _write_part(world, out / "clicks", part), _parts(world)):
        if progress:
            progress(written)
    config = write_config(world, out)
    sizes = settings.model_dump(include={"users", "items", "clicks", "fields", "days", "seed"})
    return {**sizes, "config": str(config), "seconds": round(time.monotonic() - started, 3)}


def write_config(world: World, out: Path) -> Path:
    """Write `divspa.yaml`, which maps exactly the generated files; absolute paths let it be used from anywhere."""
    folder = out.resolve()
    tags = {a.name: {"name": a.name, "kind": "multi"} for a in item_attributes(world) if a.multi}
    config = {
        "lake": str(folder / "lake"),
        "seed": world.settings.seed,
        "clicks": {
            "path": str(folder / "clicks"),
            "format": "parquet",
            "user": "user_id",
            "item": "item_id",
            "time": "timestamp",
        },
        "users": {
            "path": str(folder / "users.parquet"),
            "format": "parquet",
            "id": "user_id",
            "fields": [a.name for a in user_attributes(world)],
        },
        "items": {
            "path": str(folder / "items.parquet"),
            "format": "parquet",
            "id": "item_id",
            "fields": [tags.get(a.name, a.name) for a in item_attributes(world)],
        },
    }
    file = out / "divspa.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    return file


class _Part(NamedTuple):
    """One file: the day, its number in the day, and the range of the day's clicks that it holds."""

    day: int
    number: int
    first: int
    last: int


def _parts(world: World) -> Iterator[_Part]:
    for day, size in enumerate(np.diff(world.day_clicks).tolist()):
        for number, first in enumerate(range(0, size, PART)):
            yield _Part(day, number, first, min(first + PART, size))


def _write_part(world: World, folder: Path, part: _Part) -> int:
    starts = range(part.first, part.last, CHUNK)
    table = pa.Table.from_batches([_clicks(world, part.day, s, min(s + CHUNK, part.last)) for s in starts])
    date = world.settings.start + timedelta(days=part.day)
    with pq.ParquetWriter(
        folder / f"part-{date}-{part.number:03d}.parquet",
        table.schema,
        # A dictionary of almost as many users as rows would only cost time.
        use_dictionary=["item_id", "dwell_seconds"],  # pyright: ignore[reportArgumentType]
        **FORMAT,
    ) as writer:
        writer.write_table(table)
    return table.num_rows


def _clicks(world: World, day: int, first: int, last: int) -> pa.RecordBatch:
    clicks = world.clicks(day, first, last)
    return pa.RecordBatch.from_pydict(
        {
            "user_id": numbered("u", clicks.user, world.settings.users),
            "item_id": numbered("i", clicks.item, world.settings.items),
            "timestamp": pa.array(clicks.time).cast(pa.timestamp("us", "UTC")),
            "dwell_seconds": pa.array(clicks.dwell),
        }
    )


def _write_attributes(file: Path, rows: int, columns: Callable[[Ints], dict[str, pa.Array]]) -> None:
    """Write one row an id, a chunk at a time and in the order of the ids."""
    ranges = (np.arange(first, min(first + CHUNK, rows)) for first in range(0, rows, CHUNK))
    tables = _in_parallel(lambda ids: pa.table(columns(ids)), ranges)
    first = next(tables)
    with pq.ParquetWriter(file, first.schema, **FORMAT) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


def _in_parallel(work: Callable[[Any], Any], tasks: Iterator[Any]) -> Iterator[Any]:
    """Results in the order of the tasks, with only a few tasks under way, so that memory stays bounded."""
    with ThreadPoolExecutor(THREADS) as pool:
        waiting: deque[Future[Any]] = deque()
        for task in tasks:
            waiting.append(pool.submit(work, task))
            if len(waiting) > THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
