"""The published version: one row that names a day and all that belongs to it, and moves last; rollback is a row too."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime
from typing import Any

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from divspa.config import Config
from divspa.errors import ContractError, MissingTableError
from divspa.lake.delta_log import oldest_version
from divspa.lake.refitted import folder_of, refit_lake
from divspa.lake.tables import Lake
from divspa.schemas import ITEM_EMBEDDINGS, JOB_RUNS, PUBLISHED, RECALL_I2I, RECALL_U2I, TABLES, TRAINING_RUNS, Table
from divspa.settings import fingerprint
from divspa.storage import size_of

PUBLISH, ROLLBACK = "publish", "rollback"
# Logs, to which every run adds, belong to no version.
LOGS = (PUBLISHED, JOB_RUNS)
# What a row names, apart from when and how it came about.
OF_A_VERSION = ("version", "tables", "models", "checkpoints", "serving", "settings_hash")
# What a day must have before it can be published.
NEEDED = (RECALL_U2I, RECALL_I2I, ITEM_EMBEDDINGS)


@dataclass(frozen=True)
class Version:
    """What readers read: a day, and the Delta version of each table, models, checkpoints and bundle that are its own.

    Folders are relative to the lake. `number` counts the rows of `published`.
    """

    ds: date
    number: int
    published_at: datetime
    action: str
    version: str
    tables: Mapping[str, int]
    models: Mapping[str, str]
    checkpoints: Mapping[str, str]
    serving: str | None
    settings_hash: str

    def read(self, lake: Lake, table: Table) -> DataFrame:
        """The version's day of a table, as it was published. Raises MissingTableError for a table that it lacks."""
        if table.name not in self.tables:
            raise MissingTableError(f"The published version of {self.ds} has no table {table.name}")
        return lake.read(table, self.tables[table.name]).where(F.col("ds") == F.lit(self.ds))

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        told = asdict(self)
        return told | {"ds": str(self.ds), "published_at": self.published_at.isoformat()}


def published(lake: Lake) -> Version | None:
    """The version that counts now; None where nothing was published yet."""
    return max(versions(lake), key=_place, default=None)


def versions(lake: Lake) -> list[Version]:
    """Every row of `published`, the newest last."""
    if not lake.exists(PUBLISHED):
        return []
    names = [field.name for field in fields(Version)]
    rows = lake.read(PUBLISHED).select(names).collect()
    found = (Version(**row.asDict() | {"published_at": row["published_at"].replace(tzinfo=UTC)}) for row in rows)
    return sorted(found, key=_place)


def publish_day(lake: Lake, config: Config, ds: date, serving: str | None) -> Version:
    """Name a day, at the versions that its tables have now, the published one. `serving` is the bundle's folder.

    A day that is published already as it is stays so, without a row. Raises MissingTableError when the day lacks lists,
    and ContractError when they are of other models than the day has.
    """
    for table in NEEDED:
        lake.read_day(table, ds)
    belongs = {
        "tables": {name: lake.version(table) for name, table in TABLES.items() if _belongs(lake, table)},
        **_models(lake, ds),
        "serving": serving,
    }
    require_own_lists(lake, ds, belongs["models"])
    named = fingerprint(str(ds), json.dumps(belongs, sort_keys=True))
    current = published(lake)
    if current is not None and current.version == named:
        return current
    return _append(lake, ds, {"version": named, **belongs, "settings_hash": fingerprint(config)}, PUBLISH)


def rollback(lake: Lake, to: date | None) -> Version:
    """Return to the last published version of a day or, without one, to that published before the current one.

    Raises MissingTableError when there is none, or when tables or files that it names are gone.
    """
    known = versions(lake)
    chosen = _before(known) if to is None else [each for each in known if each.ds == to][-1:]
    if not chosen:
        raise MissingTableError(
            f"There is no published version {f'of {to}' if to else 'before the current one'} in {lake.root}",
            found=f"versions of {', '.join(sorted({str(each.ds) for each in known}))}" if known else "none at all",
        )
    (version,) = chosen
    require_whole(lake, version)
    if version.version == known[-1].version:
        return known[-1]
    kept = {name: value for name, value in asdict(version).items() if name in OF_A_VERSION}
    return _append(lake, version.ds, kept, ROLLBACK)


def require_own_lists(lake: Lake, ds: date, models: Mapping[str, str]) -> None:
    """Raise ContractError when the lists are of other versions of the models, as after a training that came later."""
    lists = lake.read_day(RECALL_I2I, ds).select("channel", "model_version").distinct().collect()
    found = {row["channel"]: row["model_version"] for row in lists if row["channel"] is not None}
    if other := {model: version for model, version in found.items() if models.get(model) != version}:
        raise ContractError(
            f"The lists of {ds} are not of the models that the day has now",
            expected=", ".join(f"{model} {models.get(model, 'of no version')}" for model in other),
            found=", ".join(f"{model} {version}" for model, version in other.items()),
            remedy=f"run `divspa run --config FILE --ds {ds} --from evaluate`, which publishes the day, too",
        )


def require_whole(lake: Lake, version: Version) -> None:
    """Raise MissingTableError when a version's tables cannot be read at theirs any more, or its files are gone."""
    gone = [name for name, number in version.tables.items() if number < oldest_version(lake.path(TABLES[name]))]
    folders = {f"{each}/model.safetensors" for each in version.checkpoints.values()}
    folders |= {f"{version.serving}/manifest.json"} if version.serving else set()
    gone += sorted(file for file in folders if size_of(f"{lake.root}/{file}") is None)
    if gone:
        raise MissingTableError(
            f"The published version of {version.ds} cannot be read any more",
            found=f"gone: {', '.join(gone)}",
            remedy="roll back to another day, or run that day again and publish it",
        )


def kept_versions(lake: Lake, since: date) -> list[Version]:
    """The versions that stay readable: the current one, and those of the days from `since` on."""
    known = versions(lake)
    return [each for each in known if each.ds >= since or each == known[-1]]


def _before(known: list[Version]) -> list[Version]:
    """The publication before that of the current version, so that several returns go back step by step."""
    first_time = [each for each in known if each.action == PUBLISH]
    place = max((n for n, each in enumerate(first_time) if each.version == known[-1].version), default=0)
    return first_time[place - 1 : place] if place else []


def _models(lake: Lake, ds: date) -> dict[str, dict[str, str]]:
    """Versions and checkpoints of the day's models: of those that `refit` trained again, as they were then."""
    runs = {row["model"]: (row["model_version"], row["checkpoint"]) for row in _runs(lake, ds)}
    again = refit_lake(lake, ds)
    if again.exists(TRAINING_RUNS):
        for row in _runs(again, ds):
            inside = row["checkpoint"] and f"{folder_of(ds)}/{row['checkpoint']}"
            runs[row["model"]] = row["model_version"], inside
    return {
        "models": {model: version for model, (version, _) in runs.items()},
        "checkpoints": {model: checkpoint for model, (_, checkpoint) in runs.items() if checkpoint},
    }


def _runs(lake: Lake, ds: date) -> list[Row]:
    return lake.read_day(TRAINING_RUNS, ds).select("model", "model_version", "checkpoint").collect()


def _append(lake: Lake, ds: date, named: Mapping[str, Any], action: str) -> Version:
    number = max((each.number for each in versions(lake)), default=0) + 1
    version = Version(ds, number, datetime.now(UTC), action, **named)
    told = asdict(version)
    lake.append_with(PUBLISHED, [tuple(told[name] for name in PUBLISHED.names_within_day)], ds)
    return version


def _belongs(lake: Lake, table: Table) -> bool:
    return table not in LOGS and lake.exists(table)


def _place(version: Version) -> tuple[int, datetime]:
    return version.number, version.published_at
