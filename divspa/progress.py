"""Progress on stderr: live bars in a terminal, plain lines elsewhere; stdout stays free for results."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(stderr=True)
POLLED = 1.0
LINE_EVERY = 30.0


def log_to_stderr() -> None:
    """Print what divspa logs, a line of JSON for each stage, on stderr. A library's caller sets up its own logging."""
    logger = logging.getLogger("divspa")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False


class StageInfo(Protocol):
    """What Spark says of a stage."""

    @property
    def numTasks(self) -> int: ...  # noqa: N802 - Spark's name

    @property
    def numCompletedTasks(self) -> int: ...  # noqa: N802 - Spark's name


class Tracker(Protocol):
    """The part of Spark's StatusTracker that is asked."""

    def getActiveStageIds(self) -> list[int]: ...  # noqa: N802 - Spark's name

    def getStageInfo(self, stageId: int) -> StageInfo | None: ...  # noqa: N802 - Spark's name


class Partitions:
    """How far Spark's running stages are: partitions done of all, how many a second, and the time that is left."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.stages: frozenset[int] = frozenset()
        self.since, self.done_then = 0.0, 0

    def now(self, seconds: float) -> str:
        """One line about this moment, a number of seconds; empty when nothing runs.

        The rate is that of the stages that run now, from the moment they were first seen.
        """
        infos = {stage: self.tracker.getStageInfo(stage) for stage in self.tracker.getActiveStageIds()}
        known = {stage: info for stage, info in infos.items() if info is not None}
        if not known:
            return ""
        done = sum(info.numCompletedTasks for info in known.values())
        total = sum(info.numTasks for info in known.values())
        if self.stages != known.keys():
            self.stages, self.since, self.done_then = frozenset(known), seconds, done
        line = f"{done}/{total} partitions"
        if done > self.done_then and seconds > self.since:
            rate = (done - self.done_then) / (seconds - self.since)
            line += f", {rate:.2g}/s, about {(total - done) / rate:.0f} s left"
        return line


@contextmanager
def step(description: str, total: int | None = None, tracker: Tracker | None = None) -> Iterator[Callable[..., None]]:
    """Show one piece of work while it runs.

    Yields `advance(amount, note)`. With a `total` the bar shows the rate and the time that is left; with Spark's
    `tracker` it shows the partitions of the stages that run. Outside a terminal both are a line now and then.
    """
    started = printed = time.perf_counter()
    done = 0
    columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn()]
    if total is not None:
        columns.append(TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(description, total=total, note="")

        def advance(amount: int = 1, note: str = "") -> None:
            nonlocal done, printed
            bar.update(task, advance=amount, note=note)
            done, now = done + amount, time.perf_counter()
            if total and not console.is_terminal and now - printed >= LINE_EVERY:
                far = how_far(done, total, now - started)
                console.print(f"{description}: {far}" + (f", {note}" if note else ""), highlight=False, soft_wrap=True)
                printed = now

        with _watched(tracker, lambda line: bar.update(task, note=line), description):
            yield advance
    console.print(f"{description}: {time.perf_counter() - started:.1f} s", highlight=False)


def how_far(done: int, total: int, seconds: float) -> str:
    """The share of work that is done, its rate, and the time that is left if all of it has to be done."""
    rate = done / seconds
    return f"{done / total:.0%}, {rate:,.0f}/s, at most {max(total - done, 0) / rate:.0f} s left"


@contextmanager
def _watched(tracker: Tracker | None, show: Callable[[str], None], description: str) -> Iterator[None]:
    """Ask the tracker now and then from a thread of its own while the work runs."""
    if tracker is None:
        yield
        return
    over, partitions = threading.Event(), Partitions(tracker)

    def watch() -> None:
        printed = time.perf_counter()
        while not over.wait(POLLED):
            now = time.perf_counter()
            line = partitions.now(now)
            show(line)
            if line and not console.is_terminal and now - printed >= LINE_EVERY:
                console.print(f"{description}: {line}", highlight=False)
                printed = now

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
