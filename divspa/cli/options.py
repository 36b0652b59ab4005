"""What the commands share: options, days, and the session or lake that they work in."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from divspa.config import Config
from divspa.errors import ConfigError
from divspa.progress import step

ConfigFile = Annotated[Path, typer.Option("--config", help="Configuration file; `divspa config` prints a template.")]
Day = Annotated[str, typer.Option("--ds", help="Logical day, YYYY-MM-DD; later clicks are not seen.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="Override a key: section.key=value. Repeatable.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")]


def day_of(text: str) -> date:
    """A day that an option gives. Raises ConfigError for what is none."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError("The option --ds is not a day", expected="YYYY-MM-DD", found=text) from None


def days_of(text: str) -> date | list[date]:
    """A day, or the days of FIRST..LAST, both included."""
    first, dots, last = text.partition("..")
    if not dots:
        return day_of(text)
    start, end = day_of(first), day_of(last)
    if end < start:
        raise ConfigError("The option --ds ends before it begins", expected="FIRST..LAST", found=text)
    return [start + timedelta(days=n) for n in range((end - start).days + 1)]


def listed(names: str) -> list[str]:
    """The names of a comma-separated option."""
    return [name for name in names.split(",") if name]


def shipped(name: str) -> Path:
    """A file of `conf/`: of the checkout, or else of the installed package."""
    checkout = Path(__file__).parents[2] / "conf" / name
    return checkout if checkout.exists() else Path(sys.prefix) / "share" / "divspa" / "conf" / name


@contextmanager
def session_for(config: Config, ds: date) -> Iterator[Any]:
    """A session that reads the inputs and writes nothing."""
    from divspa.lake.sizes import with_sizes

    config = with_sizes(config, [ds])
    with step("starting Spark"):
        from divspa.lake.session import spark_session

        spark = spark_session(config.spark, paths=config.paths)
    try:
        yield spark
    finally:
        spark.stop()


@contextmanager
def lake_of(config: Config, *, log_events: bool = True) -> Iterator[tuple[Any, Config]]:
    """The lake in a Spark session, which ends with the work unless that fails, and the settings with its whole path."""
    config = config.with_whole_lake()
    with step("starting Spark"):
        from divspa.lake.session import spark_session
        from divspa.lake.tables import Lake

        event_log = config.event_log if log_events else None
        lake = Lake(spark_session(config.spark, paths=config.paths, event_log=event_log), config.lake)
    yield lake, config
    lake.spark.stop()


@contextmanager
def results_alone_on_stdout(active: bool) -> Iterator[Any]:
    """Send whatever libraries and the JVM print on stdout to stderr, so that stdout holds the result alone."""
    if not active:
        yield typer.echo
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield lambda text: os.write(kept, (text + "\n").encode())
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
