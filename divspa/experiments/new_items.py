"""What places for new items would do to a model's lists: `python -m divspa.experiments.new_items CONFIG DAY MODEL`.

`recall.new_items` takes the last places of each list for the new items nearest to the user. This looks at lists as of
the cutoff, on the test events of a day that is evaluated, for several numbers of places. Overrides such as `lake=PATH`
may follow.
"""

import sys
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from divspa.arrow import lists_of, matrix
from divspa.config import Config, load_config
from divspa.evaluation.test_set import row_of_index
from divspa.lake.session import spark_session
from divspa.lake.tables import Lake
from divspa.schemas import EVENT_RANKS, ITEM_EMBEDDINGS, USER_EMBEDDINGS, USER_FEATURES
from divspa.serving.new_items import new_items

PLACES = (0, 5, 10, 20, 50)
AT_ONCE = 256


@dataclass(frozen=True)
class Events:
    """T test events of a model: the item's rank in the whole catalogue, whether it is new, and how many new items of
    those beyond each number of places' first part stand before it [places, T].
    """

    rank_T: NDArray[np.int64]
    is_new_T: NDArray[np.bool_]
    before_PT: NDArray[np.int64]

    def hits(self, k: int, place: int) -> NDArray[np.bool_]:
        """Which events are in lists of k whose last PLACES[place] are for new items."""
        places = PLACES[place]
        return (self.rank_T < k - places) | (self.is_new_T & (self.before_PT[place] < places))


def main(path: str, ds: str, model: str, *overrides: str) -> None:
    """Print hr@k, k being `recall.items_per_user`, of all events and of those on new items, by places for these."""
    config, day = load_config(path, overrides), date.fromisoformat(ds)
    lake = Lake(spark_session(config.spark), config.lake)
    k, events = config.recall.items_per_user, read_events(lake, config, day, model)
    share, few = events.is_new_T.mean(), config.recall.new_clicks
    print(f"{len(events.rank_T)} test events, {share:.2%} of them on items with fewer than {few} clicks\n")
    print(f"| places | hr@{k} | of new items | of the others |\n| --- | --- | --- | --- |")
    for place in range(sum(places <= k for places in PLACES)):
        hits_T = events.hits(k, place)
        parts = hits_T.mean(), hits_T[events.is_new_T].mean(), hits_T[~events.is_new_T].mean()
        print(f"| {PLACES[place]} | {' | '.join(f'{part:.4f}' for part in parts)} |")
    lake.spark.stop()


def read_events(lake: Lake, config: Config, ds: date, model: str) -> Events:
    """The events of a model, and for those on new items what stands before them, of vectors as of the cutoff."""
    items = lake.read_day(ITEM_EMBEDDINGS, ds, model=model).select("item_index", "vector")
    new = new_items(lake, ds, items, config.recall.new_clicks).select("item_index").toArrow()
    catalogue = items.orderBy("item_index").toArrow()
    index_N, vectors_ND = catalogue["item_index"].to_numpy(), matrix(catalogue["vector"].combine_chunks())
    row_of, is_new_N = row_of_index(index_N), np.isin(index_N, new["item_index"].to_numpy())
    asked = lake.read_day(EVENT_RANKS, ds, model=model).select("user_key", "item_index", "rank")
    users = lake.read_day(USER_EMBEDDINGS, ds, model=model, as_of="cutoff").select("user_key", "vector")
    had = lake.read_day(USER_FEATURES, ds, as_of="cutoff").select("user_key", "clicked")
    rows = asked.join(users, "user_key").join(had, "user_key").toArrow().combine_chunks()
    rank_T, asked_T = rows["rank"].to_numpy().astype(np.int64), rows["item_index"].to_numpy()
    row_T = row_of[asked_T]
    is_new_T = (row_T >= 0) & is_new_N[row_T]
    before_PT = np.full((len(PLACES), len(asked_T)), len(index_N))
    k, new_E = config.recall.items_per_user, np.flatnonzero(is_new_T)
    for part in np.split(new_E, range(AT_ONCE, len(new_E), AT_ONCE)):
        scores_EN = _scores(rows, part, vectors_ND, row_of)
        own_E1 = scores_EN[np.arange(len(part)), row_T[part]][:, None]
        ordered_EN = -np.sort(-scores_EN, axis=1)
        for place, places in enumerate(PLACES):
            # What the first part of the list holds anyway takes none of the places.
            first = min(k - places, len(index_N))
            last_E1 = ordered_EN[:, [first - 1]] if first > 0 else np.inf
            ahead_EN = (scores_EN >= own_E1) & (scores_EN < last_E1) & is_new_N
            before_PT[place, part] = np.maximum(ahead_EN.sum(1) - 1, 0)
    return Events(rank_T, is_new_T, before_PT)


def _scores(
    rows: pa.Table, part: NDArray[np.int64], vectors_ND: NDArray[np.float32], row_of: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The scores of some events' users, without what they had."""
    events = rows.take(pa.array(part)).combine_chunks()
    scores_EN = matrix(events["vector"].combine_chunks()) @ vectors_ND.T
    had = lists_of(events["clicked"].combine_chunks())
    row_M = row_of[had.values_M]
    known_M = row_M >= 0
    scores_EN[had.owners[known_M], row_M[known_M]] = -np.inf
    return scores_EN


if __name__ == "__main__":
    main(*sys.argv[1:])
