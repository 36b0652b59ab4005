"""Whether a configuration fits its data: every header, and a sample of rows as the feature job will judge them."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import partial

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from divspa.config import Config
from divspa.evaluation.shown import names_of
from divspa.features.attributes import read_attributes
from divspa.features.clicks import LogCounts, gather, judge, read_clicks
from divspa.features.figures import attribute_figures
from divspa.features.settings import Attributes, ClickLog
from divspa.sources.damage import Damage, read_whole
from divspa.sources.files import Files

SAMPLED = 100_000


def check_data(spark: SparkSession, config: Config, ds: date) -> Iterator[tuple[str, str]]:
    """What the inputs hold, as (subject, text). Raises InputError and ConfigError as the feature job would."""
    log = config.clicks
    files, counts = read_whole(log, lambda damage: _sampled(spark, log, ds, damage))
    yield "clicks: files", _told(files)
    yield "clicks: sample", str(counts)
    if counts.first is not None and log.has_times:
        yield "clicks: times", f"{counts.first} to {counts.last} (UTC)"
    yield "clicks: positives", f"{1 - counts.not_positive / max(counts.read, 1):.1%} of the rows"
    for side, source in (("users", config.users), ("items", config.items)):
        if source is not None:
            files, figures = read_whole(source, partial(_counted, spark, source, side, ds))
            yield f"{side}: files", _told(files)
            yield f"{side}: rows", ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in figures.items())

    names_of(spark, config, ds, ())  # what the report calls items, at the end of a day that has taken hours


def _sampled(spark: SparkSession, log: ClickLog, ds: date, damage: Damage) -> tuple[Files | None, LogCounts]:
    table = read_clicks(spark, log, ds, damage)
    sample = judge(table.rows.limit(SAMPLED), log, ds, datetime.now(UTC))
    return table.files, LogCounts.of(gather(sample).withColumn("known", F.lit(False)))


def _counted(
    spark: SparkSession, source: Attributes, side: str, ds: date, damage: Damage
) -> tuple[Files | None, dict[str, int]]:
    table = read_attributes(spark, source, side, ds, damage)
    return table.files, {figure.figure: int(figure.value) for figure in attribute_figures({side: table})}


def _told(files: Files | None) -> str:
    """How many files there are, and the names of those that are not read."""
    if files is None:
        return "a Delta table"
    aside = {**files.left_out, **{name: f"it cannot be read: {why}" for name, why in files.damaged.items()}}
    names = "; ".join(f"{name.rpartition('/')[2]}: {why}" for name, why in list(aside.items())[:5])
    return f"{len(files.data):,} read, {len(aside):,} left out" + (f" ({names})" if names else "")
