"""Which day holds which click: each is in one day alone, whatever order the days are run in."""

from datetime import UTC, date, datetime, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from divspa.config import Config
from divspa.errors import InputError
from divspa.features.clicks import gather, judge, read_clicks
from divspa.lake.tables import Lake
from divspa.schemas import CLICKS
from divspa.sources.damage import Damage
from divspa.sources.table import InputTable


def read_log(lake: Lake, config: Config, ds: date, damage: Damage | None = None) -> InputTable:
    """The rows of the log, judged. One row a distinct row (see `gather`), and whether it is `known`.

    Files in `damage` are left out. Raises InputError when a log of order only would be continued from another day.
    """
    log = config.clicks
    table = read_clicks(lake.spark, log, ds, damage)
    rows = gather(judge(table.rows, log, ds, datetime.now(UTC)))
    if not lake.exists(CLICKS):
        return InputTable(rows.withColumn("known", F.lit(False)), table.files)
    if not log.has_times:
        require_no_other_day(lake, ds)
    earlier = lake.read(CLICKS).where(F.col("ds") < F.lit(ds))
    return InputTable(mark_known(rows, earlier, ds, config.features.late_days), table.files)


def require_no_other_day(lake: Lake, ds: date) -> None:
    """Raise InputError unless the clicks of the lake are all of this day."""
    other = lake.read(CLICKS).where(F.col("ds") != F.lit(ds)).select("ds").first()
    if other is not None:
        raise InputError(
            "A log of order only (`clicks.time_unit: order`) is read as a whole, and cannot be continued day by day",
            expected=f"a lake with no other day than {ds}",
            found=f"clicks of {other[0]} in {lake.path(CLICKS)}",
            remedy="give another `lake` or the same --ds, or a column of times",
        )


def mark_known(rows: DataFrame, earlier: DataFrame, ds: date, late_days: int) -> DataFrame:
    """Mark the clicks that an earlier day holds (`known`), and refuse those that are new but too old.

    `earlier` is compared by a hash of the click and its time, so that no ids travel. Clicks are too old when they
    happened more than `late_days` before the end of the newest earlier day.
    """
    newest = earlier.agg(F.max("ds")).head()[0]  # pyright: ignore[reportOptionalSubscript]
    if newest is None:
        return rows.withColumn("known", F.lit(False))
    held = earlier.select("tie_break", "clicked_at", F.lit(True).alias("known"))
    marked = rows.join(held, ["tie_break", "clicked_at"], "left").withColumn("known", F.col("known").isNotNull())
    usable = F.col("left_out").isNull() & F.col("reason").isNull() & ~F.col("known")
    too_old = usable & (F.col("clicked_at") < F.date_add(F.lit(newest), 1 - late_days))
    reason = f"more than {late_days} days late" if late_days else "of a day that was closed already"
    return marked.withColumns(
        {
            "reason": F.when(too_old, reason).otherwise(F.col("reason")),
            "row": F.when(too_old, F.to_json(F.struct("user_id", "item_id", "clicked_at"))).otherwise(F.col("row")),
        }
    )


def all_clicks(lake: Lake, fresh: DataFrame, ds: date, window_days: int | None = None) -> DataFrame:
    """The clicks of this and all earlier days, or of the last `window_days`. One row a user, item and instant."""
    begin = None if window_days is None else ds - timedelta(days=window_days - 1)
    if lake.exists(CLICKS):
        earlier = lake.read(CLICKS).where(F.col("ds") < F.lit(ds))
        if begin is not None:  # no click lies in a day before its own
            earlier = earlier.where(F.col("ds") >= F.lit(begin))
        fresh = earlier.select(fresh.columns).union(fresh)
    return fresh if begin is None else fresh.where(F.col("clicked_at") >= F.lit(begin))


def publish_clicks(lake: Lake, fresh: DataFrame, ds: date) -> None:
    """Write the day's clicks; a click that a later day holds moves here, so that every click is in one day alone.

    So days that are run out of order end as those run in order.
    """
    later = lake.days_after(CLICKS, ds)
    key = ["tie_break", "clicked_at", "user_id", "item_id"]
    held = lake.read(CLICKS).where(F.col("ds").isin(later)) if later else None
    moving = [] if held is None else held.join(fresh, key, "left_semi").select("ds").distinct().collect()
    if held is None or not moving:
        lake.replace_day(CLICKS, fresh, ds, unique=True)
        return
    touched = [day for (day,) in moving]
    stay = held.where(F.col("ds").isin(touched)).join(fresh, key, "left_anti")
    moved = fresh.withColumn("ds", F.lit(ds)).unionByName(stay)
    lake.replace_days(CLICKS, moved, [ds, *touched])
