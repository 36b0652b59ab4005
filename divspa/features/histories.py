"""What each user had clicked strictly before a moment: one pass over sorted Arrow batches, in constant memory."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from divspa.arrow import list_column

ORDER = ["user_key", "at", "is_event", "tie_break"]


def with_history(moments: DataFrame, events: DataFrame, length: int) -> DataFrame:
    """Add `history` (padded with 0) and `history_length` to every moment.

    `moments` has user_key and `at`; `events` has user_key, `at`, tie_break and item_index. The history of a moment is
    the user's last `length` events strictly before it, oldest first: clicks of one instant are never each other's
    history.
    """
    payload = moments.columns
    schema = T.StructType(
        [
            *moments.schema.fields,
            T.StructField("history", T.ArrayType(T.IntegerType())),
            T.StructField("history_length", T.IntegerType()),
        ]
    )
    asked = moments.withColumn("is_event", F.lit(False)).withColumn("tie_break", F.lit(0).cast("bigint"))
    past = events.select("user_key", "at", "tie_break", F.col("item_index").alias("event_item"))
    timeline = asked.unionByName(past.withColumn("is_event", F.lit(True)), allowMissingColumns=True)

    def add_histories(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        recent = RecentEvents(length)
        for batch in batches:
            is_event = batch.column("is_event").to_numpy(zero_copy_only=False)
            items = batch.column("event_item").drop_null().to_numpy().astype(np.int32)
            history_ML, lengths_M = recent.advance(batch.column("user_key").to_numpy(), is_event, items)
            asked_rows = batch.filter(pa.array(~is_event)).select(payload)
            history = list_column(history_ML)
            yield pa.RecordBatch.from_arrays(
                [*asked_rows.columns, history, pa.array(lengths_M)], [*payload, "history", "history_length"]
            )

    return timeline.repartition("user_key").sortWithinPartitions(*ORDER).mapInArrow(add_histories, schema)


class RecentEvents:
    """The last events of the user at hand, carried from one sorted batch to the next."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.user: int | None = None
        self.items = np.zeros(0, np.int32)

    def advance(
        self, users_R: np.ndarray, is_event_R: np.ndarray, items_E: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Take the next rows, sorted by user and time, and return the moments' histories.

        `items_E` holds the items of the E rows that are events. Returns [M, length] int32, left-aligned, and [M] int32.
        """
        if not len(users_R):
            return np.zeros((0, self.length), np.int32), np.zeros(0, np.int32)
        carried = self.items if users_R[0] == self.user else self.items[:0]
        items = np.concatenate([carried, items_E])
        seen_R = len(carried) + np.cumsum(is_event_R) - is_event_R
        new_user_R = np.r_[False, users_R[1:] != users_R[:-1]]
        first_R = np.maximum.accumulate(np.where(new_user_R, seen_R, 0))
        end_M = seen_R[~is_event_R]
        start_M = np.maximum(first_R[~is_event_R], end_M - self.length)
        last_start = max(int(first_R[-1]), len(items) - self.length)
        self.user, self.items = int(users_R[-1]), items[last_start:]
        return _slices(items, start_M, end_M, self.length), (end_M - start_M).astype(np.int32)


def _slices(items: np.ndarray, start_M: np.ndarray, end_M: np.ndarray, width: int) -> np.ndarray:
    out_ML = np.zeros((len(start_M), width), np.int32)
    taken_ML = np.arange(width) < (end_M - start_M)[:, None]
    out_ML[taken_ML] = items[(start_M[:, None] + np.arange(width))[taken_ML]]
    return out_ML
