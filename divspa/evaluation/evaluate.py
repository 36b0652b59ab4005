"""Stage `evaluate`: rank the whole catalogue for every test event, and write ranks, metrics, comparisons, a report."""

from collections.abc import Iterator
from datetime import date
from itertools import pairwise

import pyarrow as pa
from pyspark.sql import functions as F

from divspa.config import Config
from divspa.evaluation.facts import gather_facts
from divspa.evaluation.publication import choose_channel, decide, last_published, require_no_drop
from divspa.evaluation.report import ModelResult, Rows, write_report
from divspa.evaluation.statistics import COMPARED, compare_all, holm, verdict
from divspa.evaluation.test_set import Ranking, TestSet
from divspa.gains import gains
from divspa.lake.tables import Lake
from divspa.linear.train import LINEAR
from divspa.models.checkpoint import DIVSPA
from divspa.publishing.channels import Channel
from divspa.schemas import CHANNELS, COMPARISONS, EVENT_RANKS, METRICS, TRAINING_RUNS, Table


def evaluate(lake: Lake, config: Config, ds: date) -> None:
    """Write event_ranks, metrics and comparisons of every model of the day, and of plain popularity, with a report; and
    channels, which say what is published.

    Metrics and report have a random recommender too. Test events are held on the driver as arrays, 32 bytes each.
    Raises MissingTableError when no model or no test event is there, and, when all is written, GateError for a day
    whose lists are too much worse than those published last.
    """
    order = config.model.name, DIVSPA, LINEAR
    runs = lake.read_day(TRAINING_RUNS, ds).where(F.col("model").isin(*order)).collect()
    runs.sort(key=lambda run: order.index(run["model"]))
    versions = {run["model"]: run["model_version"] for run in runs}
    test = TestSet.of(lake, config, ds)
    before = last_published(lake, ds)
    choice = choose_channel(lake, config, ds, test, list(versions), before)
    channels = [*(Channel((model,)) for model in versions), *choice.ranked]
    versions |= {channel.name: channel.version(versions) for channel in choice.ranked}
    rankings = [test.rank_popularity(), *(test.rank(channel, config.fusion_depth) for channel in channels)]
    events = pa.concat_tables(events_of(ranking, versions.get(ranking.model, "")) for ranking in rankings)
    lake.replace_day(EVENT_RANKS, lake.spark.createDataFrame(events), ds, unique=True)
    shown = [test.rank_random(rankings[0], config.seed), *rankings]
    figures = {ranking.model: test.metrics(ranking) for ranking in shown}
    rows = [
        (model, versions.get(model, ""), part, metric, value)
        for model, found in figures.items()
        for (part, metric), value in found.items()
    ]
    lake.replace_day_with(METRICS, rows, ds)
    comparisons = list(compare_rankings(rankings, config))
    lake.replace_day_with(COMPARISONS, comparisons, ds)
    decision = decide(config, choice, rankings, versions, before)
    lake.replace_day_with(CHANNELS, decision.rows, ds)
    facts = gather_facts(config, test, rankings, [run for run in runs if run["model"] != LINEAR])
    test.close()
    results = [ModelResult(ranking.model, figures[ranking.model], test.exposures(ranking)) for ranking in shown]
    named = as_dicts(COMPARISONS, comparisons), as_dicts(CHANNELS, decision.rows)
    write_report(report_path(lake, ds), ds, results, *named, facts, test.popularity_N, config.evaluation.ks)
    require_no_drop(decision.fell, config)


def as_dicts(table: Table, rows: list[tuple]) -> Rows:
    """Rows of a day with the names of their columns."""
    return [dict(zip(table.names_within_day, row, strict=True)) for row in rows]


def report_path(lake: Lake, ds: date) -> str:
    """Where the day's report lies."""
    return f"{lake.root}/reports/ds={ds}/report.html"


def events_of(ranking: Ranking, version: str) -> pa.Table:
    """The rows of event_ranks."""
    return pa.table(
        {
            "model": [ranking.model] * len(ranking.rank_T),
            "user_key": ranking.user_key_T,
            "event": ranking.event_T,
            "item_index": ranking.item_index_T,
            "model_version": [version] * len(ranking.rank_T),
            "rank": ranking.rank_T,
            "popularity": ranking.popularity_T,
            "train_items": ranking.train_items_T,
        }
    )


def compare_rankings(rankings: list[Ranking], config: Config) -> Iterator[tuple]:
    """The rows of comparisons; p is corrected within the day.

    Each model is compared with the one before it, popularity first, and what is fused with the base.
    """
    models, together = ([each for each in rankings if ("+" in each.model) == is_fused] for is_fused in (False, True))
    metrics = [f"{kind}@{k}" for kind in COMPARED for k in config.evaluation.ks]
    asked = [
        (ours, against, metric)
        for against, ours in [*pairwise(models), *((models[1], each) for each in together)]
        for metric in metrics
    ]
    of_each = {(each.model, metric): gains(each.rank_T, metric) for each in rankings for metric in metrics}
    pairs = [(of_each[ours.model, metric], of_each[against.model, metric]) for ours, against, metric in asked]
    found = compare_all(pairs, rankings[0].user_key_T, config.seed)
    corrected = holm([comparison.p_t for comparison in found])
    for (ours, against, metric), it, p_holm in zip(asked, found, corrected, strict=True):
        figures = it.value, it.against, it.relative, it.low, it.high, it.p_t, it.p_permutation, p_holm
        yield ours.model, against.model, metric, *figures, verdict(it.value - it.against, p_holm)
