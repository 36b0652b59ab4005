"""Places of a user's list that are kept for new items, which a list by score alone seldom shows."""

from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from divspa.lake.tables import Lake
from divspa.schemas import ITEM_FEATURES, USER_FEATURES
from divspa.serving.settings import NEW
from divspa.serving.user_lists import Published, nearest_lists, with_source


def new_items(lake: Lake, ds: date, items: DataFrame, below: int) -> DataFrame:
    """Those of `items` with fewer than so many clicks in training."""
    clicks = F.coalesce("train_clicks", "popularity")
    few = lake.read_day(ITEM_FEATURES, ds).where(clicks < below).select("item_index")
    return items.join(few, "item_index")


def with_new_items(
    lake: Lake, ds: date, published: Published, lists: DataFrame, new: DataFrame, k: int, places: int
) -> DataFrame:
    """Lists of k whose last `places` hold the new items nearest to the user; fewer where there are not so many.

    One row a user, as `user_lists` has them. The source of such an item is NEW, its score that of the tower where the
    channel is that one model, and else 0: scores do not increase.
    """
    if new.isEmpty():
        return lists
    clicked = lake.read_day(USER_FEATURES, ds, as_of="latest").select("user_key", "clicked")
    # As many as a list has, since they may hold its first places anyway.
    found, _ = nearest_lists(lake, ds, published.tower, clicked, new, k)
    alone = published.channel.models == (published.tower,)
    score = F.col("scores") if alone else F.array_repeat(F.lit(0.0).cast("float"), F.size("ids"))
    found = with_source(found.withColumn("scores", score), NEW)
    own = lists.select("id", _entries().alias("own"))
    both = own.join(found.select("id", _entries().alias("new")), "id", "left")
    first = F.slice("own", 1, k - places)
    fresh = F.slice(_without(F.col("new"), first), 1, places)
    both = both.select("id", "own", first.alias("first"), F.coalesce(fresh, F.slice("own", 1, 0)).alias("fresh"))
    left = F.slice("own", k - places + 1, places)
    filled = F.slice(_without(left, F.col("fresh")), F.lit(1), F.lit(places) - F.size("fresh"))
    whole = both.select("id", F.concat("first", filled, "fresh").alias("whole"))
    return whole.select("id", *(F.col("whole").getField(name).alias(name) for name in ("ids", "scores", "sources")))


def _entries() -> Column:
    return F.arrays_zip("ids", "scores", "sources")


def _without(entries: Column, others: Column) -> Column:
    return F.filter(entries, lambda entry: ~F.array_contains(others.getField("ids"), entry["ids"]))
