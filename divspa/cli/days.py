"""Commands that run the stages of days: demo, run, report, maintain, forget."""

import json
import signal
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from divspa.cli.data import check_inputs, generated_log
from divspa.cli.options import (
    AsJson,
    ConfigFile,
    Day,
    Overrides,
    day_of,
    days_of,
    lake_of,
    results_alone_on_stdout,
    shipped,
)
from divspa.cli.summary import channels_of, comparisons_of, models_of, published_of, show_summary
from divspa.config import Config, load_config
from divspa.progress import console, log_to_stderr


def demo(
    lake: Annotated[str, typer.Option(help="Where the Delta tables go.")] = "lake",
    clicks: Annotated[int | None, typer.Option(min=1000, help="Use about this many clicks, of whole users.")] = None,
    synthetic: Annotated[bool, typer.Option("--synthetic", help="Generate the clicks.")] = False,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Run every stage on a year of real purchases (Complete Journey) and compare the base model with DivSPA."""
    with tempfile.TemporaryDirectory() as folder:
        if synthetic:
            path, ds, chosen = _synthetic_log(Path(folder), clicks)
        else:
            path, ds, chosen = _complete_journey(clicks)
        config = load_config(path, [*chosen, f"lake={lake}", *(overrides or [])])
        run_days(config, ds, None, None, as_json)


def run(
    config: ConfigFile,
    ds: Annotated[str, typer.Option("--ds", help="Logical day, YYYY-MM-DD, or days as FIRST..LAST.")],
    overrides: Overrides = None,
    first: Annotated[str | None, typer.Option("--from", help="First stage to run.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last stage to run.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Say what would go wrong, and run nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the stages of one day on any click log, or of several days, which go on where they were cut short."""
    if check:
        check_before(load_config(config, overrides or []), days_of(ds), first, last)
        return
    run_days(load_config(config, overrides or []), days_of(ds), first, last, as_json)


def report(config: ConfigFile, ds: Day, overrides: Overrides = None) -> None:
    """Rank the day's models on its test events again, and write metrics, comparisons and the HTML report anew."""
    run_days(load_config(config, overrides or []), day_of(ds), "evaluate", "evaluate", as_json=False)


def maintain(
    config: ConfigFile,
    ds: Day,
    overrides: Overrides = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be deleted, and delete nothing.")
    ] = False,
) -> None:
    """Join small files, delete days past their time, and remove files that nobody can need."""
    if not dry_run:
        run_days(load_config(config, overrides or []), day_of(ds), "maintain", "maintain", as_json=False)
        return
    from divspa.lake.maintain import maintain_dry_run

    with lake_of(load_config(config, overrides or []), log_events=False) as (lake, settings):
        maintain_dry_run(lake, settings, day_of(ds))


def forget(
    config: ConfigFile,
    user: Annotated[str, typer.Option(help="The user's id, as the click log names it.")],
    overrides: Overrides = None,
    vacuum: Annotated[bool, typer.Option("--vacuum", help="Also remove every older version of the tables.")] = False,
) -> None:
    """Take a person out of every table, report and event log of the lake; out of the click log, do that before."""
    from divspa.pipeline import forget_user

    with lake_of(load_config(config, overrides or []), log_events=False) as (lake, settings):
        done = forget_user(lake, settings, user, vacuum_now=vacuum)
    for name, count in done.rows.items():
        console.print(f"{name}: {count} rows", highlight=False)
    for path in done.reports + done.event_logs:
        console.print(f"removed: {path}", highlight=False, soft_wrap=True, markup=False)
    for model in done.models:
        console.print(f"has learned from the rows: {model}", highlight=False, soft_wrap=True)
    if not vacuum:
        console.print("Older versions of the tables still hold the rows; --vacuum removes these", highlight=False)


def check_before(config: Config, days: date | list[date], first: str | None, last: str | None) -> None:
    """All that can be known before the first job: settings, stages, columns, types, expressions, disk and memory."""
    from divspa.lake.sizes import require_room
    from divspa.pipeline import chosen_stages, require_known_names

    chosen_stages(first, last)
    require_known_names(config)
    days = days if isinstance(days, list) else [days]
    typer.echo(f"room: {require_room(config, days)}")
    check_inputs(config, days[-1])
    typer.echo("no problem found")


def run_days(config: Config, days: date | list[date], first: str | None, last: str | None, as_json: bool) -> None:
    """Run stages of a day, or of several that go on where they were cut short, and print what came out."""
    log_to_stderr()
    # Asked to end, as by Airflow or a container's host, a run gives its lease back, as with Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    several = isinstance(days, list)
    ds = days[-1] if several else days
    with results_alone_on_stdout(as_json) as write:
        started = time.perf_counter()
        from divspa.evaluation.evaluate import report_path
        from divspa.lake.sizes import with_sizes
        from divspa.pipeline import chosen_stages, run_named, stages_left
        from divspa.tuning.choice import with_choice
        from divspa.tuning.settings import CHOSEN

        chosen = chosen_stages(first, last)
        with lake_of(with_sizes(config, days if several else [ds])) as (lake, settings):
            seconds = dict.fromkeys(chosen, 0.0)
            for day in days if several else [ds]:
                names = chosen
                if several:
                    names = stages_left(lake, settings, day, chosen)
                    console.print(f"{day}: {', '.join(names) or 'done already'}", highlight=False)
                for name, took in run_named(lake, settings, day, names).items():
                    seconds[name] = round(seconds[name] + took, 2)
            summary: dict[str, Any] = {"seconds": 0.0, "lake": lake.root, "report": None, "stages": seconds}
            summary |= {"models": {}, "published": None}
            if settings.divspa.choose == "auto" and "tune" in chosen:
                summary["chosen"] = with_choice(lake, settings, ds).divspa.model_dump(include=set(CHOSEN))
            if {"evaluate", "publish"} & {*chosen}:
                judged = {"comparisons": comparisons_of(lake, ds), "channels": channels_of(lake, ds)}
                summary |= {"published": published_of(lake, ds, **judged), **judged}
                if "evaluate" in chosen:
                    summary |= {"report": report_path(lake, ds), "models": models_of(lake, ds)}
        summary["seconds"] = round(time.perf_counter() - started, 2)
        if as_json:
            write(json.dumps(summary))
        else:
            show_summary(summary, config)


def _complete_journey(clicks: int | None) -> tuple[Path, date, list[str]]:
    """The demo's configuration, its day and its overrides; a smaller run keeps a hashed share of the users, whole."""
    path = shipped("complete_journey.yaml")
    if clicks is None:
        return path, date(2018, 1, 1), []
    share = min(1.0, clicks / 1_469_307)
    chosen = f"quantity > 0 AND pmod(xxhash64(household_id), 1000000) < {share * 1_000_000:.0f}"
    return path, date(2018, 1, 1), [f"clicks.positive={chosen}"]


def _synthetic_log(folder: Path, clicks: int | None) -> tuple[Path, date, list[str]]:
    written = generated_log(folder / "log", None, {"clicks": clicks} if clicks else {})
    config = load_config(written["config"])
    return Path(written["config"]), _last_day(config, written["days"]), []


def _last_day(config: Config, days: int) -> date:
    from divspa.simulation.settings import GeneratorSettings

    return GeneratorSettings().start + timedelta(days=days - 1)
