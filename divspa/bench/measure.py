"""What a piece of work costs: seconds, processor seconds and peak memory of this process and all its children."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psutil

INTERVAL = 0.1


@dataclass
class Cost:
    """Filled in when the work is done; memory counts pages that processes share once for each, so it is a ceiling."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_gb: float = 0.0

    def as_json(self, amount: int) -> dict[str, float]:
        """With the rate at which this many pieces of work were done."""
        return {
            "seconds": round(self.seconds, 3),
            "rate": round(amount / self.seconds, 1),
            "peak_gb": round(self.peak_gb, 2),
            "cpu_seconds": round(self.cpu_seconds, 2),
        }


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure the work inside the `with`; processor time of children that end meanwhile counts through parents."""
    cost, done = Cost(), threading.Event()

    def watch() -> None:
        while not done.wait(INTERVAL):
            cost.peak_gb = max(cost.peak_gb, _memory_gb())

    cost.peak_gb = _memory_gb()
    watcher = threading.Thread(target=watch, daemon=True)
    cpu_before, started = _cpu_seconds(), time.perf_counter()
    watcher.start()
    try:
        yield cost
    finally:
        cost.seconds = time.perf_counter() - started
        cost.cpu_seconds = _cpu_seconds() - cpu_before
        done.set()
        watcher.join()


def heap(rows: int) -> str:
    """The memory that Spark's JVM is given for so many rows of input."""
    return "3g" if rows <= 5_000_000 else "7g"


def reference(ours: float, theirs: float, amount: int, **more: float) -> dict[str, float]:
    """A reference's line in a benchmark's JSON: `ratio` is ours over theirs in seconds, so smaller is better."""
    return {"seconds": round(theirs, 3), "rate": round(amount / theirs, 1), "ratio": round(ours / theirs, 3), **more}


def in_child(module: str, *arguments: str) -> Any:
    """What a module of divspa.bench prints as its last line of JSON, in a process of its own."""
    command = [sys.executable, "-m", f"divspa.bench.{module}", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own module
    return json.loads(done.stdout.splitlines()[-1])


def _family() -> list[psutil.Process]:
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


def _memory_gb() -> float:
    total = 0
    for process in _family():
        with suppress(psutil.Error):
            total += process.memory_info().rss
    return total / 1e9


def _cpu_seconds() -> float:
    total = 0.0
    for process in _family():
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total
