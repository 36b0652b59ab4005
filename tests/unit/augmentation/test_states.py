"""Rows about users, however they are cut into batches, become one state a user."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from world import catalogue_of, ranked, vectors_of

from divspa.augmentation.states import FOUND, NEIGHBOUR, OWN, UserStates, state_batches

VECTORS = vectors_of(20, 2)
ITEMS = list(range(2, 22))
K = 4
lists = st.lists(st.sampled_from(ITEMS), unique=True, max_size=8).map(sorted)
users = st.lists(st.tuples(lists, st.booleans(), st.lists(lists, max_size=3)), min_size=1, max_size=5)


def rows_of(world: list[tuple[list[int], bool, list[list[int]]]], vectors: np.ndarray) -> pa.RecordBatch:
    rows = []
    for key, (own, has_u2i, neighbours) in enumerate(world):
        rows.append((key * 10 - 20, OWN, vectors[key].tolist(), own, None))
        if has_u2i:
            found = ranked(vectors[key], [item for item in ITEMS if item not in own], VECTORS)[:K]
            rows.append((key * 10 - 20, FOUND, None, found, [float(VECTORS[i] @ vectors[key]) for i in found]))
        rows += [(key * 10 - 20, NEIGHBOUR, None, theirs, None) for theirs in neighbours]
    kinds = [pa.int64(), pa.int8(), pa.list_(pa.float32()), pa.list_(pa.int32()), pa.list_(pa.float32())]
    columns = [pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), kinds, strict=True)]
    return pa.RecordBatch.from_arrays(columns, ["user_key", "kind", "vector", "items", "scores"])


def cut(batch: pa.RecordBatch, rows: int) -> list[pa.RecordBatch]:
    return [batch.slice(start, rows) for start in range(0, batch.num_rows, rows)]


@settings(deadline=None)
@given(users, st.integers(1, 7), st.lists(st.sampled_from(ITEMS), unique=True, min_size=10))
def test_states_equal_brute_force(
    world: list[tuple[list[int], bool, list[list[int]]]], rows: int, addable: list[int]
) -> None:
    vectors = np.random.default_rng(3).integers(-2, 3, (len(world), VECTORS.shape[1])).astype(np.float32)
    batches = list(state_batches(cut(rows_of(world, vectors), rows), catalogue_of(VECTORS, 1, addable), K))
    assert [key for batch in batches for key in batch["user_key"].to_pylist()] == [
        k * 10 - 20 for k in range(len(world))
    ]
    parts = [UserStates.of(batch) for batch in batches]
    states = [(part, row) for part in parts for row in range(len(part.vectors_UD))]
    for key, (own, has_u2i, neighbours) in enumerate(world):
        state, row = states[key]
        assert state.vectors_UD[row].tolist() == vectors[key].tolist()
        assert state.clicked.padded(0).tolist()[row][: len(own)] == own
        pool = sorted({item for theirs in neighbours for item in theirs if item in addable})
        wanted = ranked(vectors[key], [item for item in pool if item not in own], VECTORS)[:K]
        found = state.by_way["u2u2i"]
        assert found.ids.take(np.array([row])).values_M.tolist() == wanted
        last = float(VECTORS[wanted[-1]] @ vectors[key]) if len(wanted) == K else -np.inf
        assert found.dropped_U[row] == sum(item in own and VECTORS[item] @ vectors[key] > last for item in pool)
        new = ranked(vectors[key], [item for item in ITEMS if item not in own], VECTORS)[:K] if has_u2i else []
        u2i = state.by_way["u2i"]
        assert u2i.ids.take(np.array([row])).values_M.tolist() == new
        last = float(VECTORS[new[-1]] @ vectors[key]) if len(new) == K else -np.inf
        assert u2i.dropped_U[row] == sum(VECTORS[item] @ vectors[key] > last for item in own)
