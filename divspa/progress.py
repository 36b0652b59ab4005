"""Progress on stderr: live bars in a terminal, plain lines elsewhere; stdout stays free for results."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(stderr=True)


@contextmanager
def step(description: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Show one piece of work while it runs.

    Yields `advance(amount, note)`. With a `total` the bar shows the rate and the time that is left.
    """
    started = time.perf_counter()
    columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn()]
    if total is not None:
        columns.append(TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(description, total=total, note="")

        def advance(amount: int = 1, note: str = "") -> None:
            bar.update(task, advance=amount, note=note)

        yield advance
    console.print(f"{description}: {time.perf_counter() - started:.1f} s", highlight=False)
