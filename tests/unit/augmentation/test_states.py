"""Rows about users, however they are cut into batches, become one state a user."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from world import catalogue_of, ranked, vectors_of

from divspa.augmentation.states import FOUND, OWN, UserStates, state_batches

VECTORS = vectors_of(20, 2)
ITEMS = list(range(2, 22))
K = 4
WAYS = ["searched", "neighbours", "scored"]
lists = st.lists(st.sampled_from(ITEMS), unique=True, max_size=8).map(sorted)
users = st.lists(st.tuples(lists, st.booleans(), st.lists(lists, max_size=3)), min_size=1, max_size=5)


def rows_of(world: list[tuple[list[int], bool, list[list[int]]]], vectors: np.ndarray) -> pa.RecordBatch:
    rows = []
    for key, (own, has_u2i, neighbours) in enumerate(world):
        rows.append((key * 10 - 20, OWN, vectors[key].tolist(), own, None))
        if has_u2i:
            found = ranked(vectors[key], [item for item in ITEMS if item not in own], VECTORS)
            rows.append((key * 10 - 20, FOUND, None, found, [float(VECTORS[i] @ vectors[key]) for i in found]))
            rows.append((key * 10 - 20, FOUND, None, own, None))
        rows += [(key * 10 - 20, FOUND + 1, None, theirs, None) for theirs in neighbours]
        rows += [(key * 10 - 20, FOUND + 2, None, it, [own_score(i, n) for i in it]) for n, it in enumerate(neighbours)]
    kinds = [pa.int64(), pa.int8(), pa.list_(pa.float32()), pa.list_(pa.int32()), pa.list_(pa.float32())]
    columns = [pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), kinds, strict=True)]
    return pa.RecordBatch.from_arrays(columns, ["user_key", "kind", "vector", "items", "scores"])


def own_score(item: int, row: int) -> float:
    """That of a way which scores by itself, differently in each of a user's rows."""
    return float(np.float32((item * 7 + row * 11) % 5 - 2))


def cut(batch: pa.RecordBatch, rows: int) -> list[pa.RecordBatch]:
    return [batch.slice(start, rows) for start in range(0, batch.num_rows, rows)]


@given(users, st.integers(1, 7), st.lists(st.sampled_from(ITEMS), unique=True, min_size=10))
def test_states_equal_brute_force(
    world: list[tuple[list[int], bool, list[list[int]]]], rows: int, addable: list[int]
) -> None:
    vectors = np.random.default_rng(3).integers(-2, 3, (len(world), VECTORS.shape[1])).astype(np.float32)
    batches = list(state_batches(cut(rows_of(world, vectors), rows), catalogue_of(VECTORS, 1, addable), WAYS, K))
    assert [key for batch in batches for key in batch["user_key"].to_pylist()] == [
        k * 10 - 20 for k in range(len(world))
    ]
    parts = [UserStates.of(batch, WAYS) for batch in batches]
    states = [(part, row) for part in parts for row in range(len(part.vectors_UD))]
    for key, (own, has_u2i, neighbours) in enumerate(world):
        state, row = states[key]
        assert state.vectors_UD[row].tolist() == vectors[key].tolist()
        assert state.clicked.padded(0).tolist()[row][: len(own)] == own
        pool = sorted({item for theirs in neighbours for item in theirs if item in addable})
        wanted = ranked(vectors[key], [item for item in pool if item not in own], VECTORS)[:K]
        found = state.by_way["neighbours"]
        assert found.ids.take(np.array([row])).values_M.tolist() == wanted
        last = float(VECTORS[wanted[-1]] @ vectors[key]) if len(wanted) == K else -np.inf
        assert found.dropped_U[row] == sum(item in own and VECTORS[item] @ vectors[key] > last for item in pool)
        may = [item for item in addable if has_u2i]
        new = ranked(vectors[key], [item for item in may if item not in own], VECTORS)[:K]
        u2i = state.by_way["searched"]
        assert u2i.ids.take(np.array([row])).values_M.tolist() == new
        last = float(VECTORS[new[-1]] @ vectors[key]) if len(new) == K else -np.inf
        assert u2i.dropped_U[row] == sum(item in own and VECTORS[item] @ vectors[key] > last for item in may)
        best = {item: max(own_score(item, n) for n, it in enumerate(neighbours) if item in it) for item in pool}
        by_score = sorted((item for item in pool if item not in own), key=lambda item: (-best[item], item))[:K]
        scored, mine = state.by_way["scored"], np.array([row])
        assert scored.ids.take(mine).values_M.tolist() == by_score
        assert scored.scores.take(mine).values_M.tolist() == [best[item] for item in by_score]
        last = best[by_score[-1]] if len(by_score) == K else -np.inf
        assert scored.dropped_U[row] == sum(item in own and best[item] > last for item in pool)
