"""The merged plans, with the shuffles done here: a search keeps its promises, however its work is divided and cut."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import Found, brute_force
from test_placement import clustered, vectors_of

from divspa.arrow import list_column, lists_of
from divspa.retrieval import scatter
from divspa.retrieval.placement import EvenPlacement, Placement
from divspa.retrieval.scatter import Division

DIM = 5


def batch_of(ids: np.ndarray, vectors: np.ndarray, exclude: list[list[int]]) -> pa.RecordBatch:
    columns = [pa.array(ids), list_column(vectors), pa.array(exclude, pa.list_(pa.int64()))]
    return pa.RecordBatch.from_arrays(columns, ["id", "vector", "exclude"])


def shuffled(batches: list[pa.RecordBatch], column: str, order: str, cut: int, seed: int) -> list[list[pa.RecordBatch]]:
    """Two tasks, each with all rows of its values of the column, sorted by `order` and else in no order."""
    table = pa.Table.from_batches(batches)
    table = table.take(pa.array(np.random.default_rng(seed).permutation(table.num_rows)))
    task = table[column].to_numpy() % 2
    parts = [table.filter(pa.array(task == number)).sort_by(order) for number in range(2)]
    return [part.combine_chunks().to_batches(cut) for part in parts]


def searched(whole: pa.RecordBatch, division: Division, cut: int, seed: int) -> dict[int, Found]:
    """A batch searched in itself: what Spark does, in this process."""
    pieces = [whole.slice(start, cut) for start in range(0, len(whole), cut)]
    sent = [*scatter._send_rows(pieces, division), *scatter._send_queries(pieces, division)]
    slots = shuffled(sent, "key", "step", cut, seed)
    partials = [part for slot in slots for part in scatter._search_slots(slot, division)]
    gathered = shuffled(partials, "id", "id", cut, seed + 1)
    rows = [batch for task in gathered for batch in scatter._merge(task, division)]
    found: dict[int, Found] = {}
    for batch in rows:
        ids, scores = lists_of(batch["ids"]), lists_of(batch["scores"])
        for row, query in enumerate(batch["id"].to_pylist()):
            assert query not in found, "one row a query"
            mine = slice(ids.offsets_N1[row], ids.offsets_N1[row + 1])
            found[query] = list(zip(ids.values_M[mine].tolist(), scores.values_M[mine].tolist(), strict=True))
    return found


def divisions(rows: np.ndarray, kind: str, slots: int, nprobe: int) -> Placement:
    return EvenPlacement(slots, nprobe) if kind == "even" else clustered(rows, 9, slots, nprobe)


@settings(max_examples=20)
@given(
    kind=st.sampled_from(["even", "clustered"]),
    slots=st.integers(1, 5),
    nprobe=st.integers(1, 4),
    cut=st.integers(3, 60),
    k=st.integers(1, 50),
    exclude_self=st.booleans(),
    seed=st.integers(0, 2**32 - 2),
)
def test_every_promise_of_a_search_holds(
    kind: str, slots: int, nprobe: int, cut: int, k: int, exclude_self: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    vectors = vectors_of(40, DIM, seed % 7)
    vectors[5:12] = vectors[5]
    ids = rng.choice(np.arange(-100, 100), 40, replace=False)
    exclude = [rng.choice(ids, rng.integers(0, 41), replace=False).tolist() for _ in ids]
    division = Division(divisions(vectors, kind, slots, nprobe), np.arange(slots * nprobe), DIM, k, exclude_self)
    whole = batch_of(ids, vectors, exclude)
    found = searched(whole, division, cut, seed)
    assert found.keys() == set(ids.tolist())
    banned = [[*own, *([int(i)] if exclude_self else [])] for own, i in zip(exclude, ids, strict=True)]
    exact = brute_force(ids, vectors, vectors, 40, banned)
    for query, own, best in zip(ids.tolist(), banned, exact, strict=True):
        result = found[query]
        assert len(result) == min(k, 40 - len(set(own)))
        assert set(result) <= set(best), "real rows with their own scores, none of them excluded"
        assert result == sorted(result, key=lambda pair: (-pair[1], pair[0]))
        assert kind == "clustered" or result == best[:k]


def test_probing_every_cluster_is_exact() -> None:
    vectors, ids = vectors_of(60, DIM, 3), np.arange(60)
    placement = clustered(vectors, 9, 3, 9)
    whole = batch_of(ids, vectors, [[] for _ in ids])
    found = searched(whole, Division(placement, np.arange(3), DIM, 7, True), 17, 1)
    exact = brute_force(ids, vectors, vectors, 7, [[int(i)] for i in ids])
    assert [found[i] for i in range(60)] == exact
