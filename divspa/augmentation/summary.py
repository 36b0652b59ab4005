"""Whether an augmentation is healthy, by way."""

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

EVERY = "all"


def summarise(augmented: DataFrame, popularity: DataFrame, ways: Sequence[str]) -> DataFrame:
    """One row a way, and one `all`, over the first draw: how much each way added, how new and how popular it is."""
    first = augmented.where("draw = 0")
    clicked = first.join(F.broadcast(popularity), "item_index", "left")
    totals = clicked.agg(
        F.count("*").alias("pairs"), F.avg(F.coalesce("popularity", F.lit(0))).alias("mean_popularity_clicked")
    )
    entries = F.arrays_zip("sampled_item_indices", "sampled_scores", "sampled_sources")
    added = first.select(F.explode(entries).alias("entry")).select(
        F.col("entry.sampled_item_indices").alias("item_index"),
        F.col("entry.sampled_scores").alias("score"),
        F.split("entry.sampled_sources", "\\+").alias("found_by"),
    )
    real = added.where("item_index > 0").join(F.broadcast(popularity), "item_index")
    by_way = real.withColumn("way", F.explode(F.concat("found_by", F.array(F.lit(EVERY)))))
    figures = by_way.groupBy("way").agg(
        F.count("*").alias("sampled"),
        F.avg((F.size("found_by") > 1).cast("double")).alias("shared"),
        F.count_distinct("item_index").alias("distinct_items"),
        F.avg("score").alias("mean_score"),
        F.avg("popularity").alias("mean_popularity"),
    )
    listed = augmented.sparkSession.createDataFrame([(way,) for way in (*ways, EVERY)], "way string")
    filled = listed.join(figures, "way", "left").fillna(0, ["sampled", "shared", "distinct_items"])
    return filled.crossJoin(totals).withColumn("sampled_per_pair", F.col("sampled") / F.col("pairs"))
