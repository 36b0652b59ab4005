"""A configuration written from guesses, with the reason beside each, which `divspa run` takes as it is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from divspa.inspection.guess import UNITS, Guess, LogGuess, guess_fields, guess_id, guess_log, ids_in
from divspa.inspection.sample import Sample, last_times, take_sample

HEAD = """# Written by `divspa init` from {rows:,} rows of {path}. Every guess has its reason: change what is wrong.
#   divspa config --check {name} --data    reads the data as this file says, in seconds
#   divspa run --config {name} --ds {ds}
"""


@dataclass(frozen=True)
class Written:
    """A configuration as YAML, the guesses it is made of as (key, value, reason), and the last day of the log."""

    yaml: str
    guesses: list[tuple[str, str, str]]
    ds: str


def configure(log: str, items: str | None, users: str | None, lake: str, name: str) -> Written:
    """Look at the files and describe them. Raises InputError when there is no telling what they hold."""
    sample = take_sample(log)
    found = guess_log(sample)
    ds, split, why = _day_and_split(sample, found)
    lines: list[tuple[int, str, Any, str]] = [(0, "lake", lake, ""), (0, "clicks", None, "")]
    lines += _source_lines(sample)
    for key in ("user", "item", "time", "time_unit"):
        guess: Guess = getattr(found, key)
        lines.append((1, key, guess.value, guess.why))
    if found.event is not None:
        lines.append((1, "events", found.event.value, found.event.why))
    if found.value is not None:
        lines.append((1, "positive", found.value.value, found.value.why))
    for side, path in (("items", items), ("users", users)):
        if path is not None:
            lines += _attribute_lines(side, path, ids_in(sample, (found.item if side == "items" else found.user).value))
    lines += [(0, "split", None, ""), (1, "by", split, why)]
    lines += [
        (0, "spark", None, "sizes follow from the inputs at every run, which says them; numbers here would be kept")
    ]
    lines += [(1, size, None, "") for size in ("driver_memory", "partitions")]
    text = HEAD.format(rows=len(sample.table), path=log, name=name, ds=ds) + _as_yaml(lines)
    told = [(key, _shown(value), reason) for _, key, value, reason in lines if reason]
    return Written(text, told, ds)


def _source_lines(sample: Sample) -> list[tuple[int, str, Any, str]]:
    path = sample.path if "://" in sample.path else str(Path(sample.path).expanduser().absolute())
    size = f"{sample.bytes / 1e6:,.1f} MB, about {sample.rows:,} rows"
    left_out = f"; left out: {', '.join(Path(name).name for name in sample.left_out)}" if sample.left_out else ""
    lines: list[tuple[int, str, Any, str]] = [(1, "path", path, size + left_out), (1, "format", sample.format, "")]
    if sample.options:
        lines.append((1, "options", dict(sample.options), "as the file is written"))
    return lines


def _attribute_lines(side: str, path: str, ids: set[str]) -> list[tuple[int, str, Any, str]]:
    sample = take_sample(path)
    key = guess_id(sample, ids, side)
    fields, skipped = guess_fields(sample, key.value)
    lines: list[tuple[int, str, Any, str]] = [(0, side, None, ""), *_source_lines(sample)]
    lines.append((1, "id", key.value, key.why))
    left = ", ".join(f"{name} ({why})" for name, why in skipped.items())
    lines.append((1, "fields", fields, f"left out: {left}" if left else ""))
    return lines


def _day_and_split(sample: Sample, found: LogGuess) -> tuple[str, str, str]:
    """The last day that is seen, and how to hold out test clicks."""
    if found.time_unit.value == "order":
        return (
            "2024-01-01",
            "last",
            "the log knows an order only, so each user's last click is held out; --ds is a label",
        )
    last = max(map(str, last_times(sample, found.time.value)), default="")
    unit = UNITS.get(found.time_unit.value)
    moment: Any = pd.Timestamp(float(last) / unit, unit="s") if unit and last else pd.Timestamp(last or "now")
    return str(moment.date()), "share", "the newest tenth of the clicks is the test period"


def _as_yaml(lines: list[tuple[int, str, Any, str]]) -> str:
    out = []
    for depth, key, value, reason in lines:
        indent = "  " * depth
        text = "" if value is None and key in ("clicks", "items", "users", "split", "spark") else f" {_flow(value)}"
        comment = f"  # {reason}" if reason else ""
        if key == "fields" and value:
            out.append(f"{indent}fields:{comment}")
            out += [f"{indent}  - {_flow(field['name'] if list(field) == ['name'] else field)}" for field in value]
        else:
            out.append(f"{indent}{key}:{text}{comment}")
    return "\n".join(out) + "\n"


def _flow(value: Any) -> str:
    """A value on one line, quoted where YAML would read it as another."""
    return (
        yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False)
        .removesuffix("\n...\n")
        .strip()
    )


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(field.get("name", field)) if isinstance(field, dict) else str(field) for field in value)
    return str(value)
