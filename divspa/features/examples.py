"""From clicks to positives with histories, and to what is known of each user."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from divspa.arrow import list_column, whole_groups
from divspa.config import Config
from divspa.encoding.timeline import Timeline, first_of_each, strongest_of
from divspa.features.settings import ClickLog, places
from divspa.features.split import HeldOutUsers
from divspa.schemas.vocabulary import FIRST_INDEX, ITEM_FIELD, UNKNOWN

# Moments whose histories are laid out at once, so that a user of a million clicks needs no gigabytes.
BLOCK = 20_000
NEVER = np.iinfo(np.int64).max
ORDER = ["user_key", "at", "tie_break"]
ASKED = "user_id string, user_key bigint, user_features array<int>, history array<int>, history_length int"
EXAMPLE = (
    f"is_test boolean, is_last boolean, item_id string, item_index int, clicked_at timestamp, seen boolean, {ASKED}"
)
# What a click counts, and the place of its kind of event in the configuration; only where clicks differ in them.
WORTH = {"weight": "float", "kind": "tinyint"}
STATE = f"as_of string, clicked array<int>, {ASKED}"


@dataclass(frozen=True)
class Shape:
    """How much of the past is kept, and the codes of every item [V, W] for each sequence field."""

    history_length: int
    width: int
    first_only: bool
    sequences: tuple[tuple[int, np.ndarray], ...]


def with_item_index(clicks: DataFrame, catalogue: DataFrame) -> DataFrame:
    """Add item_index; an item outside the catalogue, which holds training items only, gets UNKNOWN.

    The catalogue is broadcast: a popular item may have half of all clicks, and these must not meet in one task.
    """
    items = F.broadcast(catalogue.select(F.col("value").alias("item_id"), F.col("index").alias("item_index")))
    joined = clicks.join(items, "item_id", "left")
    return joined.withColumn("item_index", F.coalesce("item_index", F.lit(UNKNOWN)))


def with_worth(clicks: DataFrame, log: ClickLog) -> DataFrame:
    """Clicks with `weight` and the place of their `kind` of event, where the log has them, and else without."""
    if not log.is_weighted:
        return clicks.drop("weight", "event")
    worth = {"weight": F.coalesce("weight", F.lit(1.0)).cast("float")}
    if log.kinds:
        place = F.array_position(F.array(*map(F.lit, log.kinds)), F.col("event")) - 1
        worth["kind"] = F.coalesce(place, F.lit(-1)).cast("tinyint")
    return clicks.withColumns(worth).drop("event")


def past_shape(config: Config, items: DataFrame, history_length: int) -> Shape:
    """Gather the item codes that the sequence fields need, from the encoded catalogue: O(items) bytes."""
    wanted = {sequence.of for sequence in config.features.sequences}
    codes = {ITEM_FIELD: None} | {
        name: F.slice("item_features", 1 + place.start, len(place))
        for name, place in places(config.item_fields).items()
        if name in wanted
    }
    columns = [column.alias(name) for name, column in codes.items() if column is not None]
    matrices: dict[str, np.ndarray] = {}
    if wanted:
        rows = items.select(F.col("item_index").alias(ITEM_FIELD), *columns).toArrow()
        index = rows[ITEM_FIELD].to_numpy()
        for name in wanted:
            values = rows[name].combine_chunks()
            flat = values.to_numpy() if name == ITEM_FIELD else values.flatten().to_numpy()
            matrices[name] = np.zeros((index.max() + 1, len(flat) // len(index)), np.int32)
            matrices[name][index] = flat.reshape(len(index), -1)
    return Shape(
        history_length,
        sum(field.max_values for field in config.user_columns),
        config.features.repeats == "first",
        tuple((sequence.max_values, matrices[sequence.of]) for sequence in config.features.sequences),
    )


def user_timeline(clicks: DataFrame, users: DataFrame) -> DataFrame:
    """Versions of users and clicks in one stream, whole users in order of time.

    A version (`user_id`, `user_features`, valid from `at`) and a click (`item_id`, `item_index`, `cutoff`) are a row
    each; every user has a version from the beginning of time, so features travel once and not with every click.
    """
    versions = users.select("user_key", F.col("valid_from").alias("at"), "user_id", "user_features")
    seen = "tie_break", "item_id", "item_index", "cutoff", *(name for name in WORTH if name in clicks.columns)
    events = clicks.select("user_key", F.col("clicked_at").alias("at"), *seen)
    both = versions.unionByName(events, allowMissingColumns=True)
    return both.repartition("user_key").sortWithinPartitions(*ORDER)


def build_examples(timeline: DataFrame, shape: Shape, held_out: HeldOutUsers, kinds: tuple[str, ...] = ()) -> DataFrame:
    """One row a positive, with the user's encoded fields and history as of the click, or as of the cutoff in test.

    Histories hold clicks before the cutoff only. With `repeats: first` one row a user, item and side of the cutoff,
    which counts and is what the strongest of its clicks is. For some of the users, the clicks of the last instant
    before the cutoff are the split `valid`, which no training reads; a user of one instant stays in training.
    """
    is_valid = F.col("is_last") & held_out.chosen()
    split = F.when(F.col("is_test"), "test").when(is_valid, "valid").otherwise("train")
    key = F.xxhash64("user_id", "item_id", F.unix_micros("clicked_at"))
    worth = "".join(f", {name} {kind}" for name, kind in WORTH.items() if name in timeline.columns)
    rows = _by_user(timeline, shape, example_rows, EXAMPLE + worth)
    weight = F.col("weight") if "weight" in rows.columns else F.lit(None).cast("float")
    event = F.get(F.array(*map(F.lit, kinds)), F.col("kind").cast("int")) if kinds else F.lit(None).cast("string")
    rows = rows.withColumns({"weight": weight, "event": event, "split": split, "example_id": key})
    return rows.drop("is_test", "is_last", "kind")


def user_states(timeline: DataFrame, shape: Shape) -> DataFrame:
    """One row a user and moment: encoded fields, history and distinct items, at the cutoff and at the day's end."""
    return _by_user(timeline, shape, state_rows, STATE)


def _by_user(
    timeline: DataFrame, shape: Shape, rows_of: Callable[["Users", Shape], Iterator[pa.RecordBatch]], schema: str
) -> DataFrame:
    shared = timeline.sparkSession.sparkContext.broadcast(shape)

    def answer(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for rows in whole_groups(batches, "user_key"):
            yield from rows_of(Users(rows), shared.value)

    return timeline.mapInArrow(answer, schema)


class Users:
    """A batch of whole users as arrays: R rows, of which V are versions."""

    def __init__(self, rows: pa.RecordBatch) -> None:
        self.rows = rows
        self.key_R = rows.column("user_key").to_numpy()
        self.is_version_R = np.asarray(rows.column("user_id").is_valid())
        self.item_R = rows.column("item_index").fill_null(0).to_numpy()
        self.time = Timeline(self.key_R, _micros(rows.column("at")), self.item_R)
        self.cutoff_U = np.maximum.reduceat(_micros(rows.column("cutoff")), self.time.first_U)
        self.cutoff_cut_U = self.time.cut_at(self.cutoff_U)
        version_R = pa.array(self.is_version_R)
        self.user_id_V = rows.column("user_id").filter(version_R)
        self.features_V = rows.column("user_features").filter(version_R)

    def ends_training(self) -> np.ndarray:
        """Whether a row is of its user's last instant before the cutoff, after an earlier click [R]."""
        first_click_U = np.minimum.reduceat(np.where(self.is_version_R, NEVER, self.time.at_R), self.time.first_U)
        before_R = ~self.is_version_R & (self.time.at_R < self.cutoff_U[self.time.user_R])
        last_U = np.maximum.reduceat(np.where(before_R, self.time.at_R, -NEVER), self.time.first_U)
        user_R = self.time.user_R
        return before_R & (self.time.at_R == last_U[user_R]) & (first_click_U < last_U)[user_R]

    def asked(self, cut_M: np.ndarray, user_M: np.ndarray, shape: Shape) -> list[pa.Array]:
        """The columns of ASKED for some moments."""
        version_M = self.time.newest(self.is_version_R, cut_M)
        columns_VF = self.features_V.flatten().to_numpy().reshape(len(self.user_id_V), shape.width)
        parts = [columns_VF[version_M]]
        for length, codes_VW in shape.sequences:
            codes_ML = self.time.sequence(codes_VW, cut_M, user_M, length)
            codes_ML[codes_ML[:, 0] < FIRST_INDEX, 0] = UNKNOWN
            parts.append(codes_ML)
        history_ML, lengths_M = self.time.history(cut_M, user_M, shape.history_length)
        return [
            self.user_id_V.take(pa.array(version_M)),
            pa.array(self.key_R[self.time.first_U[user_M]]),
            list_column(np.hstack(parts)),
            list_column(history_ML),
            pa.array(lengths_M),
        ]


def example_rows(users: Users, shape: Shape) -> Iterator[pa.RecordBatch]:
    """The positives of whole users, as EXAMPLE says; a user's moments are laid out BLOCK at a time."""
    row_N = np.flatnonzero(~users.is_version_R)
    user_N = users.time.user_R[row_N]
    is_test_N = users.time.at_R[row_N] >= users.cutoff_U[user_N]
    clicks = users.rows.take(pa.array(row_N))
    # Items outside the catalogue share one index, so a pair is told by the item's own id.
    item_N = clicks.column("item_id").dictionary_encode().indices.to_numpy().astype(np.int64)
    pair_N = user_N * (item_N.max(initial=0) + 1) + item_N
    seen_N = is_test_N & np.isin(pair_N, pair_N[~is_test_N])
    kept_N = is_test_N | (users.item_R[row_N] >= FIRST_INDEX)
    if shape.first_only:
        kept_N &= first_of_each(2 * pair_N + is_test_N)
    is_last_N = ~is_test_N & users.ends_training()[row_N]
    cut_N = np.where(is_test_N, users.cutoff_cut_U[user_N], users.time.instant_R[row_N])
    worth = [name for name in WORTH if name in clicks.schema.names]
    strongest_N = np.arange(len(row_N))
    if shape.first_only and "weight" in worth:
        strongest_N = strongest_of(4 * pair_N + 2 * is_test_N + is_last_N, clicks.column("weight").to_numpy())
    schema = EXAMPLE + "".join(f", {name} {WORTH[name]}" for name in worth)
    kept = np.flatnonzero(kept_N)
    for start in range(0, len(kept), BLOCK):
        block = kept[start : start + BLOCK]
        taken = clicks.take(pa.array(block))
        columns = [taken.column(name) for name in ("item_id", "item_index", "at")]
        lead = [pa.array(is_test_N[block]), pa.array(is_last_N[block]), *columns, pa.array(seen_N[block])]
        most = clicks.take(pa.array(strongest_N[block]))
        last = [most.column(name) for name in worth]
        yield _batch(lead + users.asked(cut_N[block], user_N[block], shape) + last, schema)


def state_rows(users: Users, shape: Shape) -> Iterator[pa.RecordBatch]:
    """What is known of whole users at their cutoff and at the end, as STATE says."""
    user_U = np.arange(len(users.time.first_U))
    for as_of, cut_U in (("cutoff", users.cutoff_cut_U), ("latest", users.time.end_U)):
        clicked = list_column(*users.time.clicked(cut_U))
        lead = [pa.array([as_of] * len(user_U), pa.string()), clicked]
        yield _batch(lead + users.asked(cut_U, user_U, shape), STATE)


def _batch(columns: list[pa.Array], schema: str) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(columns, [part.split()[0] for part in schema.split(", ")])


def _micros(column: pa.Array) -> np.ndarray:
    """Times as microseconds; null lies before everything."""
    return column.cast(pa.int64()).fill_null(-NEVER).to_numpy()
