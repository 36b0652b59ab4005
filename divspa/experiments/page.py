"""The results of an experiment as a Markdown page, with what each difference is worth."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from pyspark.sql import DataFrame, Row

from divspa.evaluation.statistics import Comparison, compare, holm, verdict
from divspa.experiments.run import Result
from divspa.gains import gains

METRICS = (
    "hr@50",
    "hr@100",
    "hr@200",
    "ndcg@50",
    "ndcg@100",
    "ndcg@200",
    "distinct@100",
    "distinct@500",
    "distinct@1000",
)
COMPARED = ("hr@50", "ndcg@50")
SEED = 17


@dataclass(frozen=True)
class Difference:
    """A run against the base that it is over, or against an outside recommender, on one data set."""

    data_set: str
    run: str
    against: str
    metric: str
    found: Comparison
    seeds_ahead: str


def differences(results: list[Result]) -> list[Difference]:
    """Every augmented run against its base, and the best of all against the best outside, a mean over the seeds."""
    by_name = {(result.data_set, result.run.name): result for result in results}
    over_base = [
        difference(result, base, metric)
        for result in results
        if (base := by_name.get((result.data_set, result.run.over or ""))) and _same_seed(result, base)
        for metric in COMPARED
    ]
    return over_base + list(_against_outside(results))


def _against_outside(results: list[Result]) -> Iterator[Difference]:
    """The model that the validation split would choose, against the outside recommender that the test would."""
    for data_set in dict.fromkeys(result.data_set for result in results):
        here = [result for result in results if result.data_set == data_set]
        outside = [result for result in here if result.run.outside is not None]
        ours = [result for result in here if result.run.outside is None]
        if outside and ours:
            chosen = max(ours, key=lambda each: np.mean([trial["validation"] or -np.inf for trial in each.trials]))
            for metric in COMPARED:
                best = max(outside, key=lambda each: _gains(each.trials[0], metric).mean())
                yield difference(chosen, best, metric)


def difference(ours: Result, theirs: Result, metric: str) -> Difference:
    """Compare two runs over the same test events, and the seeds that both have."""
    pairs = _same_seed(ours, theirs)
    gains_ST = np.stack([_gains(trial, metric) for trial, _ in pairs])
    against_ST = np.stack([_gains(trial, metric) for _, trial in pairs])
    users_T = np.array(ours.trials[0]["user_keys"])
    found = compare(gains_ST.mean(0), against_ST.mean(0), users_T, SEED)
    ahead = int((gains_ST.mean(1) > against_ST.mean(1)).sum())
    return Difference(ours.data_set, ours.run.name, theirs.run.name, metric, found, f"{ahead} of {len(pairs)}")


def _same_seed(ours: Result, theirs: Result) -> list[tuple[Row, Row]]:
    """The trials that can be compared: an outside recommender's only one stands against every seed."""
    return [
        (mine, other)
        for mine in ours.trials
        for other in theirs.trials
        if theirs.run.outside or mine["seed"] == other["seed"]
    ]


def _gains(trial: Row, metric: str) -> np.ndarray:
    return gains(np.array(trial["ranks"]), metric)


def page(title: str, command: str, results: list[Result], metrics: DataFrame) -> str:
    """The whole page. `metrics` is the table experiment_metrics."""
    wanted = metrics.where(metrics["slice"] == "all").select("data_set", "trial", "metric", "value")
    values = {(row["data_set"], row["trial"], row["metric"]): row["value"] for row in wanted.collect()}
    results = merged(results)
    return "\n".join([f"# {title}", _intro(command, results), *_figures(results, values), *_worth(results)]) + "\n"


def merged(results: list[Result]) -> list[Result]:
    """Augmented runs that come to the same settings on a data set in one row, with all names and the most seeds."""
    rows: dict[tuple[str, str], Result] = {}
    for result in results:
        key = result.data_set, result.trials[0]["trial"] if result.run.over else result.run.name
        earlier = rows.setdefault(key, result)
        if earlier is not result:
            run = earlier.run.model_copy(update={"name": f"{earlier.run.name}, {result.run.name}"})
            rows[key] = replace(earlier, run=run, trials=max(earlier.trials, result.trials, key=len))
    return list(rows.values())


INTRO = """
Written by `{command}`: {trials} trials, {minutes:.0f} minutes of stages, seeds {seeds}. Every test event is ranked
in the whole catalogue; what a user had is left out. Figures are means over the seeds, with the standard deviation
between seeds where there are several. Searched settings were chosen on the split `valid`, which lies before the
test period, with the first seed.
"""
WORTH = """
## What augmentation is worth

Relative gain over the base that a run augments, and last of the model with the best validation score over the best
outside recommender: a 95 % interval (bootstrap over users), the paired t-test over users and the sign-flip test, and
the t-test corrected for all {rows} rows (Holm). A run is called better or
worse only where the corrected p is below .05. The tests speak of these trainings on these users; the last column
says with how many of the seeds the run was ahead.
"""


def _intro(command: str, results: list[Result]) -> str:
    seconds = {(result.data_set, trial["trial"]): trial["seconds"] for result in results for trial in result.trials}
    seeds = sorted({trial["seed"] for result in results for trial in result.trials})
    return INTRO.format(
        command=command,
        trials=len(seconds),
        minutes=sum(seconds.values()) / 60,
        seeds=", ".join(map(str, seeds)),
    )


def _figures(results: list[Result], values: dict[tuple[str, str, str], float]) -> Iterator[str]:
    for data_set in dict.fromkeys(result.data_set for result in results):
        yield f"## {data_set}"
        yield ""
        yield f"| run | settings chosen | seeds | {' | '.join(METRICS)} |"
        yield f"| --- | --- | ---: | {' | '.join('---:' for _ in METRICS)} |"
        for result in results:
            if result.data_set == data_set:
                chosen = ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in result.chosen.items())
                cells = [_cell([values[data_set, t["trial"], metric] for t in result.trials]) for metric in METRICS]
                yield f"| {result.run.name} | {chosen} | {len(result.trials)} | {' | '.join(cells)} |"
        yield ""


def _cell(values: list[float]) -> str:
    form = "{:.0f}" if np.mean(values) > 2 else "{:.4f}"
    spread = f" ± {form.format(np.std(values, ddof=1))}" if len(values) > 1 else ""
    return form.format(np.mean(values)) + spread


def _worth(results: list[Result]) -> Iterator[str]:
    found = differences(results)
    if not found:
        return
    corrected = holm([each.found.p_t for each in found])
    yield WORTH.format(rows=len(found))
    yield "| data set | run | against | metric | gain | interval | p (t) | p (flips) | p (Holm) | | ahead |"
    yield "| --- | --- | --- | --- | ---: | --- | ---: | ---: | ---: | --- | --- |"
    for each, p_holm in zip(found, corrected, strict=True):
        it = each.found
        word = verdict(it.value - it.against, p_holm)
        yield (
            f"| {each.data_set} | {each.run} | {each.against} | {each.metric} | {it.relative:+.1%} "
            f"| {it.low:+.1%} to {it.high:+.1%} | {it.p_t:.2g} | {it.p_permutation:.2g} | {p_holm:.2g} | {word} "
            f"| {each.seeds_ahead} |"
        )
