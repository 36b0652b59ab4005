"""A small catalogue with users, and in the plainest words what each way must find there."""

import numpy as np
import pyarrow as pa

from divspa.augmentation.catalogue import Catalogue, Neighbours
from divspa.augmentation.ways.i2i import complete
from divspa.lists import Lists, offsets_of
from divspa.retrieval.kernel import build_shard, search

DIM = 4


def as_lists(values: list[list[int]], dtype: type = np.int32) -> Lists:
    flat = np.array([item for value in values for item in value], dtype)
    return Lists(offsets_of(np.array([len(value) for value in values], np.int64)), flat)


def vectors_of(items: int, seed: int) -> np.ndarray:
    """Items 2 … items + 1 of unit length on a coarse grid, so that scores tie; 0 and 1 are reserved."""
    rng = np.random.default_rng(seed)
    corners = rng.choice(np.array([-0.5, 0.5], np.float32), (items + 2, DIM))
    axes = np.eye(DIM, dtype=np.float32)[rng.integers(0, DIM, items + 2)]
    vectors = np.where(rng.random((items + 2, 1)) < 0.5, corners, axes)
    vectors[:2] = 0
    return vectors


def catalogue_of(vectors: np.ndarray, width: int, addable: list[int] | None = None) -> Catalogue:
    size = len(vectors)
    chosen = np.array(sorted(range(2, size) if addable is None else addable), np.int64)
    nearest, scores = np.zeros((size, width), np.int32), np.zeros((size, width), np.float32)
    itself = Lists(np.arange(size - 1), np.arange(2, size))
    found = search(build_shard(chosen, vectors[chosen]), vectors[2:], width, itself)
    nearest[2:] = Lists(found.offsets_N1, found.ids_M).padded(0, width)
    scores[2:] = Lists(found.offsets_N1, found.scores_M).padded(0, width)
    ids = pa.array([f"item-{i}" for i in range(size)])
    return Catalogue(ids, vectors, chosen, np.ones(size, np.int64), {"i2i": Neighbours(nearest, scores, complete)})


def ranked(query: np.ndarray, items: list[int], vectors: np.ndarray) -> list[int]:
    """Items by inner product, best first, ties by item."""
    return sorted(items, key=lambda item: (-float(vectors[item] @ query), item))
