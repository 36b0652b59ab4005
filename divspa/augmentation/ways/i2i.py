"""i2i: the items nearest to the clicked item, by s(v, v') (Section 3.2)."""

import numpy as np
from numpy.typing import NDArray

from divspa.augmentation.catalogue import Catalogue
from divspa.augmentation.ways.way import SPARE, Found, Known, Way, candidates_of, directions, ids_of
from divspa.lists import Lists
from divspa.retrieval import kernel, search


def find(known: Known) -> Found:
    """The addable items nearest to each item."""
    items, index = (
        directions(rows.select(ids_of("item_index"), "vector"), known) for rows in (known.items, known.addable)
    )
    found, report = search(items, index, known.settings.top_k * SPARE, exclude_self=True)
    return Found(candidates_of(found, "ids", "scores"), report)


def complete(catalogue: Catalogue, items_N: NDArray[np.integer], clicked: Lists, k: int) -> tuple[Lists, Lists]:
    """The same by a search of all addable items for each pair, without what its user clicked."""
    found = kernel.search(catalogue.shard, catalogue.directions[items_N], k, clicked.append(items_N))
    return Lists(found.offsets_N1, found.ids_M), Lists(found.offsets_N1, found.scores_M)


I2I = Way(number=1, start="item", find=find, complete=complete)
