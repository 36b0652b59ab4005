"""Spark's running stages as one line: partitions done, rate and time left."""

import io
import re
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from divspa import progress
from divspa.progress import Partitions, step


class Tracker:
    """Stages by number: (partitions done, all)."""

    def __init__(self, **stages: tuple[int, int]) -> None:
        self.stages = {int(name[1:]): stage for name, stage in stages.items()}

    def getActiveStageIds(self) -> list[int]:  # noqa: N802
        return [*self.stages, 99]  # a stage that has just ended has no info any more

    def getStageInfo(self, stageId: int) -> SimpleNamespace | None:  # noqa: N802
        if stageId not in self.stages:
            return None
        done, total = self.stages[stageId]
        return SimpleNamespace(numTasks=total, numCompletedTasks=done)


def test_rate_and_time_left_are_of_the_stages_that_run_now() -> None:
    tracker = Tracker(s1=(2, 12))
    partitions = Partitions(tracker)
    assert partitions.now(100) == "2/12 partitions"
    tracker.stages = {1: (6, 12)}
    assert partitions.now(108) == "6/12 partitions, 0.5/s, about 12 s left"
    tracker.stages = {2: (10, 40), 3: (0, 10)}
    assert partitions.now(110) == "10/50 partitions"
    tracker.stages = {2: (20, 40), 3: (10, 10)}
    assert partitions.now(112) == "30/50 partitions, 10/s, about 2 s left"
    tracker.stages = {}
    assert partitions.now(113) == ""


def test_a_step_prints_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=out, width=200))
    monkeypatch.setattr(progress, "POLLED", 0.01)
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    with step("augment", tracker=Tracker(s7=(3, 9))):
        time.sleep(0.2)
    lines = out.getvalue().splitlines()
    assert set(lines[:-1]) == {"augment: 3/9 partitions"}
    assert lines[-1].startswith("augment: 0.")


def test_work_of_a_known_size_says_how_far_it_is_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=out, width=20))
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    with step("training divspa", total=2000) as advance:
        time.sleep(0.01)
        advance(500, "epoch 1, loss 2.000")
    line = out.getvalue().splitlines()[0]
    assert re.fullmatch(r"training divspa: 25%, [\d,]+/s, at most \d+ s left, epoch 1, loss 2\.000", line), line
