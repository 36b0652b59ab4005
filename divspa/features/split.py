"""Where training ends, for a log with times or for one with order only."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from divspa.errors import InputError
from divspa.features.settings import Split
from divspa.lake.training_split import drawn_users

TRAINED_FOR_EACH_HELD_OUT = 20
# Where nobody says how many: one of 100 training clicks, but no fewer and no more than these. A choice between models
# that differ by a few hundredths needs some thousand users, each with a basket.
TRAINED_FOR_EACH_OF_MANY, FEW_HELD_OUT, MANY_HELD_OUT = 100, 5_000, 20_000
# Of the users who came last, and never of less than their newest half, at most this share is held out.
MOST_HELD_OUT = 0.5
FOREVER = datetime(9999, 1, 1, tzinfo=UTC)


def with_split(clicks: DataFrame, split: Split) -> DataFrame:
    """Add `cutoff` and `split` (train strictly before the cutoff, test from it on) to clicks of any grain.

    `last` gives every user a cutoff of their own; a user with nothing before it stays in training as a whole, as all
    do with `none`.
    """
    if split.by == "none":
        return clicks.withColumns({"cutoff": F.lit(FOREVER), "split": F.lit("train")})
    if split.by == "last":
        clicks = _with_user_cutoff(clicks, split)
    else:
        cutoff = split.at if split.at is not None else _share_cutoff(clicks, split.test_share)
        clicks = clicks.withColumn("cutoff", F.lit(cutoff))
    return clicks.withColumn("split", F.when(F.col("clicked_at") < F.col("cutoff"), "train").otherwise("test"))


def clicked_by(clicks: DataFrame) -> DataFrame:
    """Everyone who clicked. One row a user: cutoff, first click, clicks before the cutoff and later, about how many
    instants before it and the last of these.
    """
    trained = F.col("split") == "train"
    return clicks.groupBy("user_id", "user_key").agg(
        F.max("cutoff").alias("cutoff"),
        F.min("clicked_at").alias("first_click"),
        F.count(F.when(trained, True)).alias("train_clicks"),
        F.count(F.when(~trained, True)).alias("test_clicks"),
        F.approx_count_distinct(F.when(trained, F.col("clicked_at"))).alias("train_instants"),
        F.max(F.when(trained, F.col("clicked_at"))).alias("last_trained"),
    )


@dataclass(frozen=True)
class Span:
    """How many users and clicks lie on either side of the cutoff; the newest cutoff, where users differ in theirs."""

    users: int
    trained_users: int
    most_of_one: int
    train_clicks: int
    test_clicks: int
    train_instants: int
    cutoff: datetime

    @classmethod
    def of(cls, people: DataFrame, ds: date) -> "Span":
        """Raises InputError when no click lies before the cutoff."""
        own = F.when(F.col("cutoff") < F.lit(FOREVER), F.col("cutoff"))
        ends = F.unix_micros(F.max(own)), F.min("first_click").cast("string")
        sums = F.sum("train_clicks"), F.sum("test_clicks"), F.sum("train_instants"), *ends
        own_clicks = F.col("train_clicks") + F.col("test_clicks")
        counts = F.count("*"), F.count_if(F.col("train_clicks") > 0), F.max(own_clicks)
        users, trained, most, train, test, instants, cutoff, first = people.agg(*counts, *sums).head()  # pyright: ignore[reportGeneralTypeIssues]
        if not train:
            raise InputError(
                "No click lies before the cutoff, so there is nothing to learn from",
                found=f"the first click at {first}",
                remedy="mend `split` in the configuration, or choose a later day",
            )
        day_end = datetime.combine(ds + timedelta(days=1), datetime.min.time(), UTC)
        newest = day_end if cutoff is None else datetime.fromtimestamp(0, UTC) + timedelta(microseconds=cutoff)
        return cls(users, trained, most, train, test, instants, newest)

    def validation_share(self, events: int | None) -> float:
        """The share of the users to hold out for about so many validation events: one of 20 training clicks at most.

        A user's last instant is taken to hold as many clicks as instants do on average: baskets hold many.
        """
        if events is None:
            events = max(FEW_HELD_OUT, min(MANY_HELD_OUT, self.train_clicks // TRAINED_FOR_EACH_OF_MANY))
        held_out_each = self.train_clicks / self.train_instants
        return min(events, self.train_clicks / TRAINED_FOR_EACH_HELD_OUT) / held_out_each / self.trained_users


@dataclass(frozen=True)
class HeldOutUsers:
    """Whose last clicks before the cutoff are held out: of a share of the users who came at `since` or later.

    Those of the test period came lately too: what somebody did long ago says less of what is asked of a model.
    """

    share: float
    since: datetime | None = None

    @classmethod
    def of(cls, people: DataFrame, span: Span, events: int | None, *, by_time: bool) -> "HeldOutUsers":
        """For about so many events, None for the usual; of all users alike where each has a cutoff of their own."""
        share = span.validation_share(events)
        if not share:
            return cls(share)
        newest = max(1 - MOST_HELD_OUT, share / MOST_HELD_OUT)
        if not by_time or newest >= 1:
            return cls(share)
        trained = people.where("last_trained IS NOT NULL")
        since = _first_after(trained, F.date_trunc("hour", "last_trained"), span.trained_users * (1 - newest))
        return cls(share / newest, since)

    def chosen(self) -> Column:
        """Whether the rows of a user's last instant, at `clicked_at`, are held out: by a hash of user_key."""
        chosen = drawn_users("valid", self.share)
        return chosen if self.since is None else chosen & (F.col("clicked_at") >= F.lit(self.since))


def _with_user_cutoff(clicks: DataFrame, split: Split) -> DataFrame:
    by_user = Window.partitionBy("user_id")
    newest_first = by_user.orderBy(F.desc("clicked_at"), "tie_break")
    clicks = clicks.withColumn("place", F.row_number().over(newest_first)).where(F.col("place") > split.discard_last)
    held_out = F.col("place") <= split.discard_last + split.last_events
    first_held_out = F.min(F.when(held_out, F.col("clicked_at"))).over(by_user)
    has_earlier = F.min("clicked_at").over(by_user) < first_held_out
    return clicks.withColumn("cutoff", F.when(has_earlier, first_held_out).otherwise(F.lit(FOREVER))).drop("place")


def _share_cutoff(clicks: DataFrame, test_share: float) -> datetime:
    """The first whole hour, or second in a short log, before which at least 1 - test_share of the clicks lie."""
    bounds = clicks.agg(F.min("clicked_at"), F.max("clicked_at"), F.count("*")).head()
    if bounds is None or bounds[2] == 0:
        raise InputError(
            "There are no clicks to split", remedy="check the click log, the day and `features.window_days`"
        )
    first, last, total = bounds
    grain = "hour" if (last - first).total_seconds() > 100 * 3600 else "second"
    return _first_after(clicks, F.date_trunc(grain, "clicked_at"), total * (1 - test_share))


def _first_after(rows: DataFrame, bucket: Column, wanted: float) -> datetime:
    """The first bucket of time before which at least the wanted number of rows lies; the last if there is none."""
    counts = rows.groupBy(bucket.alias("bucket")).count().toPandas().sort_values("bucket")
    before = counts["count"].cumsum() - counts["count"]
    enough = counts.loc[before >= wanted, "bucket"]
    cutoff = enough.iloc[0] if len(enough) else counts["bucket"].iloc[-1]
    return cutoff.to_pydatetime().replace(tzinfo=UTC)
