"""Commands of what came of the days and what other teams read: runs, profile, publish, rollback, published, tables."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from divspa.cli.options import AsJson, ConfigFile, Day, Overrides, day_of, lake_of
from divspa.cli.summary import show_costs, show_days
from divspa.config import load_config
from divspa.progress import console


def runs(
    config: ConfigFile,
    overrides: Overrides = None,
    days: Annotated[int, typer.Option(min=1, help="So many of the newest days.")] = 14,
    prometheus: Annotated[Path | None, typer.Option(help="Write the figures to this file for Prometheus.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the last days: what ran and for how long, which gates failed, how good it was, and what is published."""
    from divspa.evaluation.history import as_prometheus, last_days

    with lake_of(load_config(config, overrides or []), log_events=False) as (lake, settings):
        found = last_days(lake, days)
    if prometheus is not None:
        prometheus.write_text(as_prometheus(found))
    if as_json:
        typer.echo(json.dumps([asdict(day) | {"ds": str(day.ds)} for day in found]))
    elif not found:
        console.print(f"Nothing has run in {lake.root}", soft_wrap=True, highlight=False, markup=False)
    else:
        show_days(found, settings.model.name)


def profile(
    config: ConfigFile,
    ds: Day,
    overrides: Overrides = None,
    trace: Annotated[Path | None, typer.Option(help="Write stages, jobs and tasks to this file for Perfetto.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show where the time of a day went, stage by stage, from Spark's event logs and `job_runs`."""
    from divspa.profiling.profile import profile as profiled
    from divspa.profiling.trace import trace as traced

    with lake_of(load_config(config, overrides or []), log_events=False) as (lake, settings):
        found = profiled(lake, day_of(ds), settings.event_log)
    if trace is not None:
        trace.write_text(json.dumps(traced(found.runs, found.logs)))
    if as_json:
        typer.echo(json.dumps([asdict(costs) for costs in found.costs]))
    else:
        show_costs(found.costs)


def publish(config: ConfigFile, ds: Day, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Make a day, as it is, the one that other teams read; also one before that which is published."""
    from divspa.pipeline import publish_now

    with lake_of(load_config(config, overrides or []), log_events=False) as (lake, settings):
        _show_published(publish_now(lake, settings, day_of(ds)), lake.root, as_json)


def rollback(
    config: ConfigFile,
    to: Annotated[str, typer.Option(help="A published day, YYYY-MM-DD; the one before, when left out.")] = "",
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Return to a day that was published before; nothing is made anew and nothing is deleted."""
    from divspa.pipeline import roll_back

    with lake_of(load_config(config, overrides or []), log_events=False) as (lake, settings):
        _show_published(roll_back(lake, settings, day_of(to) if to else None), lake.root, as_json)


def published(config: ConfigFile, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Show the published day, and the versions of all that belongs to it."""
    from divspa.lake.published import published as current

    with lake_of(load_config(config, overrides or []), log_events=False) as (lake, _):
        _show_published(current(lake), lake.root, as_json)


def tables(
    out: Annotated[Path | None, typer.Option(help="Write tables.md and tables.json to this folder.")] = None,
) -> None:
    """Print the contracts of all tables; a change that a reader may notice is refused unless its version rises."""
    from divspa.lake.contracts import page, write
    from divspa.schemas import TABLES

    if out is None:
        typer.echo(page(TABLES.values()))
    else:
        write(TABLES.values(), out)


def _show_published(version: Any, lake: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(version and version.as_json()))
    elif version is None:
        console.print(f"Nothing is published in {lake}", soft_wrap=True, highlight=False, markup=False)
    else:
        for name, told in version.as_json().items():
            console.print(f"{name}: {told}", soft_wrap=True, highlight=False, markup=False)
