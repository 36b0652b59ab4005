"""What is measured of a day's input and features, for the gates and for whoever looks."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from divspa.errors import InputError
from divspa.features.attributes import BEGINNING, MATCHED, VALID_FROM, AttributeTable
from divspa.features.clicks import LogCounts
from divspa.features.settings import ColumnField, places
from divspa.features.split import Span
from divspa.schemas.vocabulary import UNKNOWN
from divspa.sources.files import Files

# Drift is measured over the most frequent values of the day before, and all others together.
FREQUENT = 20


@dataclass(frozen=True)
class Figure:
    """One figure of a day, of a field or ('') of the whole, and the same of the newest earlier day."""

    figure: str
    value: float
    field: str = ""
    previous: float | None = None


def log_figures(counts: LogCounts, span: Span, most_of_item: int, capped: int, compare_from: int) -> list[Figure]:
    """The figures of the day as a whole: what became of every row of the log, and who has most of the clicks."""
    clicks = span.train_clicks + span.test_clicks
    figures = {
        "rows_read": counts.read,
        "new_clicks": counts.new,
        "rows_known": counts.known,
        "rows_repeated": counts.repeated,
        "rows_refused": counts.refused,
        "rows_later": counts.later,
        "rows_not_positive": counts.not_positive,
        "rows_ignored": counts.ignored,
        "refused_share": counts.refused / max(counts.considered, 1),
        "repeated_share": counts.repeated / max(counts.considered, 1),
        "users": span.users,
        "train_clicks": span.train_clicks,
        "test_clicks": span.test_clicks,
        "capped_clicks": capped,
    }
    if clicks >= compare_from:  # of fewer clicks anybody may have many
        figures |= {"user_share": span.most_of_one / clicks, "item_share": most_of_item / max(span.train_clicks, 1)}
    return [Figure(name, value) for name, value in figures.items()]


def file_figures(inputs: Mapping[str, Files | None]) -> list[Figure]:
    """How many files lay under a path, were read, or were left out; by side, '' for the click log."""
    figures = []
    for side, files in inputs.items():
        if files is not None:
            counts = {"found": files.found, "read": len(files.data)}
            counts |= {"left_out": len(files.left_out), "damaged": len(files.damaged)}
            figures += [Figure(f"files_{name}", count, side) for name, count in counts.items()]
    return figures


def attribute_figures(tables: Mapping[str, AttributeTable | None]) -> list[Figure]:
    """The rows of each table of attributes, those refused, and the ids of which another row says something else."""
    figures = []
    for side, table in tables.items():
        if table is not None:
            copies = (
                F.sum("copies"),
                F.sum(F.when(F.col("reason").isNotNull(), F.col("copies"))),
                F.count_if("repeated"),
            )
            read, refused, repeated = table.gathered.agg(*copies).head() or (0, 0, 0)
            counts = {"attribute_rows": read, "attribute_rows_refused": refused, "attribute_ids_repeated": repeated}
            figures += [Figure(name, count or 0, side) for name, count in counts.items()]
    return figures


def most_clicked(catalogue: DataFrame) -> int:
    """The training clicks of the item that has most. Raises InputError when no item has any."""
    row = catalogue.agg(F.max("count")).head()
    if row is None or not row[0]:
        remedy = "lower `features.item_min_count`, or read more of the log"
        raise InputError("No item has clicks enough before the cutoff to be in the catalogue", remedy=remedy)
    return row[0]


def matched_shares(items: DataFrame, users: DataFrame, tables: Mapping[str, AttributeTable | None]) -> list[Figure]:
    """The share of the clicks whose user, and of the training clicks whose item, is in its table of attributes."""
    weights = {"items": (items, F.col("popularity")), "users": (users, F.col("train_clicks") + F.col("test_clicks"))}
    figures = []
    for side, (versions, clicks) in weights.items():
        if tables[side] is not None:
            dated = VALID_FROM in versions.columns
            first = F.col(VALID_FROM) == F.to_timestamp(F.lit(BEGINNING)) if dated else F.lit(True)
            hit = F.sum(F.when(F.col(f"`{MATCHED}`"), clicks).otherwise(0))
            row = versions.where(first).agg(hit, F.sum(clicks)).head()
            share = row[0] / row[1] if row is not None and row[1] else 0.0
            figures.append(Figure(f"matched_{side}", share))
    return figures


def newest_features(users: DataFrame) -> DataFrame:
    """The encoded attributes that each user has at the end of the day. One row a user."""
    return users.groupBy("user_key").agg(F.max_by("user_features", "valid_from").alias("user_features"))


def unknown_rates(encoded: DataFrame, column: str, fields: tuple[ColumnField, ...]) -> list[Figure]:
    """The share of rows in which a field is unknown: null, or a value outside the vocabulary, or a vector of zeros."""
    if not fields:
        return []
    unknown = [
        F.get(column, F.lit(at.start)) == UNKNOWN
        if field.size is None
        else F.forall(F.slice(column, at.start + 1, field.size), lambda bits: bits == 0)
        for field, at in zip(fields, places(fields).values(), strict=True)
    ]
    shares = [F.avg(each.cast("double")) for each in unknown]
    row = encoded.agg(F.count("*"), *shares).head() or ()
    return [Figure("unknown_rate", share or 0.0, f.name) for f, share in zip(fields, row[1:], strict=True)]


def vocabulary_figures(vocabulary: DataFrame, compare_from: int) -> list[Figure]:
    """Size, growth, drift and collisions of every field; `vocabulary` holds the counts of the day before too, and what
    has left it since, without an index.
    """
    by_rank = Window.partitionBy("field").orderBy(F.desc_nulls_last("previous_count"), "index", "value")
    ranked = vocabulary.withColumn("group", F.least(F.row_number().over(by_rank), F.lit(FREQUENT + 1)))
    groups = ranked.groupBy("field", "group").agg(
        F.sum("count").alias("count"),
        F.coalesce(F.sum("previous_count"), F.lit(0)).alias("previous"),
        F.count("index").alias("values"),
        F.count("previous_count").alias("old_values"),
        F.sum("distinct").alias("distinct"),
        F.sum(F.when(F.col("distinct") > 1, F.col("distinct"))).alias("collided"),
    )
    figures: list[Figure] = []
    for name, own in groups.toPandas().groupby("field"):
        field, size, old = str(name), int(own["values"].sum()), int(own["old_values"].sum())
        figures.append(Figure("vocabulary_size", size, field))
        if old >= compare_from:
            figures.append(Figure("vocabulary_growth", size / old - 1, field))
        if min(own["count"].sum(), own["previous"].sum()) >= compare_from:
            figures.append(Figure("drift", stability_index(own["count"], own["previous"]), field))
        if own["distinct"].sum():
            figures.append(Figure("collision_rate", own["collided"].sum() / own["distinct"].sum(), field))
    return figures


def stability_index(counts: ArrayLike, earlier: ArrayLike) -> float:
    """The population stability index of two distributions over the same groups; half a count stands for none."""
    now, before = (np.maximum(np.asarray(values, float), 0.5) for values in (counts, earlier))
    now, before = now / now.sum(), before / before.sum()
    return float(((now - before) * np.log(now / before)).sum())
