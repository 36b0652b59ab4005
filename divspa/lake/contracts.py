"""The contracts as a page that people read, and as a record that changes are held against; no Spark."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from divspa.errors import ContractError
from divspa.schemas.contract import Column, Table

PAGE, RECORD = "tables.md", "tables.json"
HEAD = """# The tables

Made from `schemas/` by `divspa tables --out docs`; a test fails when it is stale. Every table is a Delta table in the
folder of its name in the lake, partitioned by `ds`, and asks of a reader no more than Delta's reader version 1: Spark,
DuckDB, Polars, delta-rs and pandas read it. Its property `divspa.contract` is the version of its contract, which rises
when a column goes, is renamed or changes its type or meaning; columns that may be null are added without.

Begin with `published`: it names the day that counts and the Delta version of every table (see [serving](serving.md)).
"""


def page(tables: Iterable[Table]) -> str:
    """The contracts in Markdown."""
    return "\n".join([HEAD, *map(_section, tables)])


def record(tables: Iterable[Table]) -> dict[str, Any]:
    """What of the contracts a reader depends on, by table, as plain data."""
    return {
        table.name: {
            "version": table.version,
            "key": list(table.key),
            "partitioned_by": list(table.partitioned_by),
            "columns": {column.name: _type(column) for column in table.columns},
        }
        for table in tables
    }


def broken(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What changed of each table so that a reader of it may fail, and where its version did not rise with it."""
    found = []
    for name, old in before.items():
        new = now.get(name)
        if new is None:
            found.append(f"{name}: the table is gone")
        elif new["version"] <= old["version"]:
            found += [f"{name}: {change}" for change in _changes(old, new)]
    return found


def write(tables: Iterable[Table], folder: Path) -> None:
    """Write page and record. Raises ContractError when a contract broke its promise and its version did not rise."""
    tables = list(tables)
    file, now = folder / RECORD, record(tables)
    before = json.loads(file.read_text()) if file.exists() else {}
    if changes := broken(before, now):
        raise ContractError(
            f"The contracts have changed so that a reader may fail: {'; '.join(changes)}",
            remedy="raise `version` of the tables in schemas/, or leave them readable as before",
        )
    (folder / PAGE).write_text(page(tables))
    file.write_text(json.dumps(now, indent=1) + "\n")


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    if new["version"] < old["version"]:
        return [f"version {new['version']} after {old['version']}"]
    changes = [f"{what} was {', '.join(old[what])}" for what in ("key", "partitioned_by") if old[what] != new[what]]
    for name, kind in old["columns"].items():
        if name not in new["columns"]:
            changes.append(f"{name} is gone")
        elif new["columns"][name] not in (kind, f"{kind} NOT NULL"):
            changes.append(f"{name} was {kind}, is {new['columns'][name]}")
    added = new["columns"].keys() - old["columns"].keys()
    # Days that were written before have no such column, so that nothing else could stand in it.
    hard = sorted(name for name in added if new["columns"][name].endswith("NOT NULL"))
    return changes + [f"{name} is new and may not be null" for name in hard]


def _type(column: Column) -> str:
    return column.type if column.nullable else f"{column.type} NOT NULL"


def _section(table: Table) -> str:
    facts = [
        f"Contract version {table.version}",
        f"written by `{table.written_by}`",
        f"key within a day: {', '.join(f'`{name}`' for name in table.key)}",
        f"partitioned by {', '.join(f'`{name}`' for name in table.partitioned_by)}",
        *(["with a change data feed"] if table.change_feed else []),
    ]
    rows = [
        f"| `{column.name}` | {column.type} | {'yes' if column.nullable else ''} | {_cell(column.comment)} |"
        for column in table.columns
    ]
    checks = [f"- always: `{check}`" for check in table.checks.values()]
    lines = [
        f"## {table.name}\n",
        f"{table.grain}. What for: {table.read_for}.\n",
        f"{'; '.join(facts)}.\n",
        "| column | type | may be null | |",
        "| --- | --- | --- | --- |",
        *rows,
    ]
    return "\n".join([*lines, *(["", *checks] if checks else []), ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
