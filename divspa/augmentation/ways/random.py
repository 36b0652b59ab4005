"""random: items as popular as the clicked one, in no other way near it. A control: what it gains, no teacher gave."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from divspa.arrow import list_column
from divspa.augmentation.sampling import hashed_uniforms
from divspa.augmentation.ways.way import SPARE, Found, Known, Way, candidates_of
from divspa.lists import offsets_of
from divspa.schemas import ITEM_FEATURES

NUMBER = 5
FOUND = "id bigint, ids array<int>, scores array<float>"


def find(known: Known) -> Found:
    """The items next to each in the order of popularity, where those as popular stand by a hash; all score 1."""
    popularity = known.tables[ITEM_FEATURES.name].select("item_index", "popularity")
    of_known, of_addable = (
        popularity.join(rows.select("item_index"), "item_index", "left_semi") for rows in (known.items, known.addable)
    )
    rows = of_addable.toArrow()
    items_A, place_A = rows["item_index"].to_numpy(), _place(rows)
    shared = known.items.sparkSession.sparkContext.broadcast((items_A[np.argsort(place_A)], np.sort(place_A)))
    width = min(known.settings.top_k * SPARE, len(items_A))

    def beside(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        ordered_A, place_A = shared.value
        for batch in filter(len, batches):
            first_N = np.searchsorted(place_A, _place(batch)) - width // 2
            columns_NW = np.clip(first_N, 0, len(place_A) - width)[:, None] + np.arange(width)
            items_N, ids_NW = batch["item_index"].to_numpy(), ordered_A[columns_NW]
            others_NW = ids_NW != items_N[:, None]
            ids, offsets = ids_NW[others_NW], offsets_of(others_NW.sum(axis=1))
            lists = [list_column(values, offsets) for values in (ids.astype(np.int32), np.ones(len(ids), np.float32))]
            yield pa.RecordBatch.from_arrays([pa.array(items_N.astype(np.int64)), *lists], ["id", "ids", "scores"])

    return Found(candidates_of(of_known.mapInArrow(beside, FOUND), "ids", "scores"))


def _place(rows: pa.Table | pa.RecordBatch) -> NDArray[np.float64]:
    """Where items stand in the order of popularity, rarest first."""
    return rows["popularity"].to_numpy() + hashed_uniforms([NUMBER, rows["item_index"].to_numpy()])


RANDOM = Way(number=NUMBER, start="item", find=find, reads=(ITEM_FEATURES,))
