"""Click logs of any schema whose clicks are known before they are written: what is read is what was meant.

A log has clicks of few users and items, in files that each write ids and times in a type of their own, beside columns
that nobody asked for, with rows that are no clicks. Whatever the types, the same clicks come out, and every row is
accounted for.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from divspa.config import Config
from divspa.features.clicks import LogCounts, new_clicks, quarantine
from divspa.features.days import read_log
from divspa.lake.tables import Lake
from divspa.sources.damage import Damage, read_whole

DAY = date(2024, 1, 20)
START = datetime(2024, 1, 1, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# How an id, a whole number or nothing, is written by each type, as Parquet has them.
IDS: dict[str, Callable[[list[int | None]], pa.Array]] = {
    "int8": lambda ids: pa.array(ids, pa.int8()),
    "int32": lambda ids: pa.array(ids, pa.int32()),
    "int64": lambda ids: pa.array(ids, pa.int64()),
    "uint16": lambda ids: pa.array(ids, pa.uint16()),
    "uint64": lambda ids: pa.array(ids, pa.uint64()),
    "float": lambda ids: pa.array(ids, pa.float32()),
    "double": lambda ids: pa.array(ids, pa.float64()),
    "nan": lambda ids: pa.array([float("nan") if each is None else float(each) for each in ids]),
    "decimal": lambda ids: pa.array([None if n is None else Decimal(n) for n in ids], pa.decimal128(20, 0)),
    "cents": lambda ids: pa.array([None if n is None else Decimal(n) for n in ids], pa.decimal128(9, 2)),
    "string": lambda ids: pa.array([None if n is None else str(n) for n in ids]),
    "large_string": lambda ids: pa.array([None if n is None else str(n) for n in ids], pa.large_string()),
    "spaced": lambda ids: pa.array(["NULL" if n is None else f" {n}\t" for n in ids]),
    "category": lambda ids: pa.array([None if n is None else str(n) for n in ids], pa.string()).dictionary_encode(),
    "binary": lambda ids: pa.array([None if n is None else str(n).encode() for n in ids]),
}
TEXT_IDS = ["plain", "spaced", "null"]
TIMES: dict[str, tuple[pa.DataType, str]] = {
    "ns": (pa.timestamp("ns"), "timestamp"),
    "us": (pa.timestamp("us"), "timestamp"),
    "ms": (pa.timestamp("ms"), "timestamp"),
    "s": (pa.timestamp("s"), "timestamp"),
    "us in UTC": (pa.timestamp("us", "UTC"), "timestamp"),
    "ns in Berlin": (pa.timestamp("ns", "Europe/Berlin"), "timestamp"),
}
UNITS = {"seconds": 1_000_000, "milliseconds": 1000, "microseconds": 1}
NAMES = ["user", "a.b", "tick`s", "Weird Name", "ü", "select", "*", "USER_ID", "divspa input", "x'y", "problem", "_c0"]
EXTRAS: dict[str, Callable[[int], pa.Array]] = {
    "clock": lambda n: pa.array([0] * n, pa.time64("us")),
    "nothing": pa.nulls,
    "lists": lambda n: pa.array([[1, None]] * n),
    "deep": lambda n: pa.array([{"a": {"b": 1}}] * n),
    "clicked_at": lambda n: pa.array(["x"] * n),
    "item_id": lambda n: pa.array([b"\xff"] * n),
    "span": lambda n: pa.array([1] * n, pa.duration("s")),
}


@dataclass(frozen=True)
class Row:
    """One row as it is meant: null where it says nothing; seconds since START."""

    user: int | None
    item: int | None
    at: int | None


ROWS = st.builds(
    Row,
    st.integers(0, 99) | st.none(),
    st.integers(0, 99) | st.none(),
    st.integers(0, 30 * 86_400) | st.none(),
)


@dataclass(frozen=True)
class Part:
    """One file: its rows, and how it writes them; `damage` rows of text are no rows at all."""

    rows: list[Row]
    user: str
    item: str
    time: str
    extras: list[str]
    damage: int


PARTS = st.builds(
    Part,
    st.lists(ROWS, min_size=1, max_size=12),
    st.sampled_from(sorted(IDS)),
    st.sampled_from(sorted(IDS)),
    st.sampled_from(sorted(TIMES)),
    st.lists(st.sampled_from(sorted(EXTRAS)), unique=True, max_size=3),
    st.integers(0, 2),
)


@dataclass(frozen=True)
class WrittenLog:
    """A log: its form, the names of its columns, the unit of its times where these are numbers, and its files."""

    form: str
    names: tuple[str, str, str]
    unit: str
    parts: list[Part]


LOGS = st.builds(
    WrittenLog,
    st.sampled_from(["parquet", "csv", "jsonl"]),
    st.permutations(NAMES).map(lambda names: tuple(names[:3])),
    st.sampled_from(["timestamp", *UNITS]),
    st.lists(PARTS, min_size=1, max_size=3),
)


def try_log(lake: Lake, folder: Path, log: WrittenLog) -> None:
    """Write a log, read it as the feature job does, and compare. Raises AssertionError where they differ."""
    folder.mkdir()
    for place, part in enumerate(log.parts):
        WRITERS[log.form](folder / f"part {place}.{log.form}", log, part)
    user, item, time = log.names
    section = {"path": str(folder), "format": log.form, "user": user, "item": item, "time": time}
    config = Config.model_validate({"clicks": section | {"time_unit": log.unit}})

    def read(damage: Damage) -> tuple[LogCounts, set[tuple[str, str, datetime]], int]:
        rows = read_log(lake, config, DAY, damage).rows.persist()
        try:
            clicks = {(row.user_id, row.item_id, row.clicked_at) for row in new_clicks(rows).collect()}
            return LogCounts.of(rows), clicks, quarantine(rows).agg({"copies": "sum"}).first()[0] or 0
        finally:
            rows.unpersist()

    counts, clicks, quarantined = read_whole(config.clicks, read)
    rows = [row for part in log.parts for row in part.rows]
    damaged = sum(part.damage for part in log.parts) if log.form != "parquet" else 0
    good = [row for row in rows if None not in (row.user, row.item, row.at)]
    now = [row for row in good if START + timedelta(seconds=row.at) < datetime(2024, 1, 21, tzinfo=UTC)]
    meant = {(str(row.user), str(row.item), (START + timedelta(seconds=row.at)).replace(tzinfo=None)) for row in now}
    assert clicks == meant
    assert counts.read == len(rows) + damaged
    assert counts.refused == len(rows) - len(good) + damaged
    assert (counts.new, counts.repeated, counts.later) == (len(meant), len(now) - len(meant), len(good) - len(now))
    assert counts.read == counts.new + counts.repeated + counts.refused + counts.later
    assert quarantined == counts.refused + counts.repeated


def write_parquet(file: Path, log: WrittenLog, part: Part) -> None:
    columns = {name: EXTRAS[name](len(part.rows)) for name in part.extras if name not in log.names}
    columns[log.names[0]] = IDS[part.user]([row.user for row in part.rows])
    columns[log.names[1]] = IDS[part.item]([row.item for row in part.rows])
    if log.unit == "timestamp":
        times = [None if row.at is None else START + timedelta(seconds=row.at) for row in part.rows]
        columns[log.names[2]] = pa.array(times, pa.timestamp("us", "UTC")).cast(TIMES[part.time][0])
    else:
        columns[log.names[2]] = pa.array([numbered(row, log) for row in part.rows], pa.int64())
    pq.write_table(pa.table(columns), file)


def write_csv(file: Path, log: WrittenLog, part: Part) -> None:
    lines = pd.DataFrame(
        {
            log.names[2]: [time_text(row, log) for row in part.rows],
            log.names[0]: [id_text(row.user, part.user) for row in part.rows],
            log.names[1]: [id_text(row.item, part.item) for row in part.rows],
        }
    )
    broken = "".join("too,many,columns,here,at,all\n" for _ in range(part.damage))
    file.write_text(lines.to_csv(index=False) + broken)


def write_jsonl(file: Path, log: WrittenLog, part: Part) -> None:
    lines = []
    for row in part.rows:
        time: Any = time_text(row, log) if log.unit == "timestamp" else numbered(row, log)
        lines.append(json.dumps({log.names[0]: row.user, log.names[1]: row.item, log.names[2]: time}))
    file.write_text("\n".join([*lines, *['{"broken": '] * part.damage]))


WRITERS: dict[str, Callable[[Path, WrittenLog, Part], None]] = {
    "parquet": write_parquet,
    "csv": write_csv,
    "jsonl": write_jsonl,
}


def numbered(row: Row, log: WrittenLog) -> int | None:
    """The time of a row in the unit of its log."""
    if row.at is None:
        return None
    return (START + timedelta(seconds=row.at) - EPOCH) // timedelta(microseconds=UNITS[log.unit])


def time_text(row: Row, log: WrittenLog) -> str | None:
    if row.at is None:
        return None
    moment = START + timedelta(seconds=row.at)
    return moment.isoformat() if log.unit == "timestamp" else str(numbered(row, log))


def id_text(value: int | None, kind: str) -> str:
    if value is None:
        return "NULL" if kind in ("spaced", "string") else ""
    return f" {value} " if kind == "spaced" else str(value)
