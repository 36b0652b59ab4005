"""Differences between runs, from ranks that are known by hand."""

import numpy as np
import pytest
from pyspark.sql import Row

from divspa.experiments.keep import FURTHEST_RANK
from divspa.experiments.page import COMPARED, difference, differences, merged
from divspa.experiments.run import Result
from divspa.experiments.suite import Run


def result(run: Run, *ranks: list[int], validation: float | None = None) -> Result:
    users = list(range(len(ranks[0])))
    trials = [Row(seed=seed, user_keys=users, ranks=list(of), validation=validation) for seed, of in enumerate(ranks)]
    return Result("log", run, {}, trials)


def test_seeds_are_averaged_and_counted() -> None:
    base = result(Run(name="base"), [0, 60, 60, 60], [0, 0, 60, 60])
    ours = result(Run(name="ours", over="base"), [0, 0, 60, 60], [0, 60, 60, 60])
    found = difference(ours, base, "hr@50")
    assert (found.found.value, found.found.against, found.found.p_t) == (0.375, 0.375, 1.0)
    assert found.seeds_ahead == "1 of 2"


def test_only_seeds_that_both_runs_have_are_compared() -> None:
    base = result(Run(name="base"), [60, 60, 0, 0])
    ours = result(Run(name="ours", over="base"), [0, 60, 0, 0], [60, 60, 60, 60])
    found = difference(ours, base, "hr@50")
    assert (found.found.value, found.found.against, found.seeds_ahead) == (0.75, 0.5, "1 of 1")
    assert differences([ours]) == []


def test_what_validation_chose_meets_the_best_outside_recommender() -> None:
    weak = result(Run(name="weak", outside="popularity"), [60, 60, 60, 0])
    strong = result(Run(name="strong", outside="ease"), [60, 60, 0, 0])
    lucky = result(Run(name="lucky"), [0, 0, 0, 0], validation=0.1)
    chosen = result(Run(name="chosen"), [60, 0, 0, 0], [60, 60, 60, 0], validation=0.2)
    hits, _ = differences([weak, strong, lucky, chosen])
    assert (hits.run, hits.against, hits.metric, hits.seeds_ahead) == ("chosen", "strong", "hr@50", "1 of 2")
    assert (hits.found.value, hits.found.against) == (0.5, 0.5)


def test_a_difference_that_all_seeds_agree_on_is_found() -> None:
    rng = np.random.default_rng(0)
    worse = rng.integers(0, 100, (2, 400))
    better = np.maximum(worse - 20, 0)
    found = difference(
        result(Run(name="ours", over="base"), *better.tolist()), result(Run(name="base"), *worse.tolist()), "hr@50"
    )
    assert found.found.relative == pytest.approx((better < 50).mean() / (worse < 50).mean() - 1)
    assert found.found.p_t < 1e-6 and found.seeds_ahead == "2 of 2"


def test_runs_that_come_to_the_same_settings_share_a_row() -> None:
    def trained(name: str, *keys: str, over: str | None = "base") -> Result:
        return Result("log", Run(name=name, over=over), {}, [Row(trial=key) for key in keys])

    rows = merged(
        [
            trained("base", "a", over=None),
            trained("one", "b"),
            trained("all", "b", "c"),
            trained("x", "b", "c"),
            trained("other", "d"),
        ]
    )
    assert [row.run.name for row in rows] == ["base", "one, all, x", "other"]
    assert rows[1].run.over == "base" and len(rows[1].trials) == 2


def test_kept_ranks_reach_as_far_as_what_is_compared() -> None:
    assert max(int(metric.partition("@")[2]) for metric in COMPARED) <= FURTHEST_RANK
