"""What a stage reads from the lake's tables and writes to them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Parts = dict[str, dict[frozenset[tuple[str, Any]], int]]


@dataclass
class Traffic:
    """Rows and versions by table: of several versions the newest, of a part read twice the rows once."""

    versions_read: dict[str, int] = field(default_factory=dict)
    versions_written: dict[str, int] = field(default_factory=dict)
    parts_read: Parts = field(default_factory=dict)
    parts_written: Parts = field(default_factory=dict)

    def saw_version(self, table: str, version: int) -> None:
        self.versions_read[table] = max(version, self.versions_read.get(table, version))

    def saw_rows(self, name: str, partition: Mapping[str, object], rows: int | None) -> None:
        """Rows of a partition of a table, or of an input; None: not known."""
        if rows is not None:
            self.parts_read.setdefault(name, {})[frozenset(partition.items())] = rows

    def wrote(self, table: str, version: int, partition: Mapping[str, object], rows: int | None) -> None:
        self.versions_written[table] = version
        if rows is not None:
            self.parts_written.setdefault(table, {})[frozenset(partition.items())] = rows

    @property
    def rows_read(self) -> dict[str, int]:
        return _totals(self.parts_read)

    @property
    def rows_written(self) -> dict[str, int]:
        return _totals(self.parts_written)


def _totals(parts: Parts) -> dict[str, int]:
    """The rows of each table; a part that lies within another one counts with that one."""
    return {
        name: sum(rows for part, rows in held.items() if not any(wider < part for wider in held))
        for name, held in parts.items()
    }
