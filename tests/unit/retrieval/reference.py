"""What a search must return, in the plainest words: all scores, one sort a query."""

from collections.abc import Sequence

import numpy as np

from divspa.lists import Lists, offsets_of
from divspa.retrieval.kernel import TopK

Found = list[list[tuple[int, float]]]


def brute_force(
    ids: np.ndarray,
    vectors: np.ndarray,
    queries: np.ndarray,
    k: int,
    exclude: Sequence[Sequence[int]],
    allowed: Sequence[set[int]] | None = None,
) -> Found:
    scores = (queries.astype(np.float64) @ vectors.astype(np.float64).T).astype(np.float32) + np.float32(0)
    found = []
    for row in range(len(queries)):
        ranked = [
            (int(ids[i]), float(scores[row, i]))
            for i in np.lexsort((ids, -scores[row]))
            if ids[i] not in exclude[row] and (allowed is None or int(ids[i]) in allowed[row])
        ]
        found.append(ranked[:k])
    return found


def as_pairs(found: TopK) -> Found:
    ends = zip(found.offsets_N1, found.offsets_N1[1:], strict=False)
    return [list(zip(found.ids_M[a:b].tolist(), found.scores_M[a:b].tolist(), strict=True)) for a, b in ends]


def as_lists(values: Sequence[Sequence[int]]) -> Lists:
    lengths = np.array([len(value) for value in values], np.int64)
    return Lists(offsets_of(lengths), np.array([v for value in values for v in value], np.int64))
