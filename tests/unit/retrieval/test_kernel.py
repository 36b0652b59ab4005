"""The search of a shard equals brute force, ties and exclusions included, however its work is cut up."""

from dataclasses import dataclass

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import as_lists, as_pairs, brute_force

from divspa.errors import ContractError, TrainingError
from divspa.retrieval import kernel
from divspa.retrieval import shard as shard_module
from divspa.retrieval.kernel import best_of, build_shard, joined, one_thread, search


@dataclass
class Case:
    """A small search; vectors lie on a coarse grid, so that ties and equal vectors are common.

    Every sum is exact in float64, so brute force needs no tolerance.
    """

    ids: np.ndarray
    vectors: np.ndarray
    queries: np.ndarray
    exclude: list[list[int]]
    k: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows, count, dim = draw(st.integers(0, 80)), draw(st.integers(1, 12)), draw(st.integers(1, 9))
    grid = draw(st.sampled_from([1, 3, 1000]))
    scale = np.float32(draw(st.sampled_from([2.0**-100, 1.0, 2.0**40])))
    vectors = rng.integers(-grid, grid + 1, (rows, dim)).astype(np.float32) * scale
    queries = rng.integers(-grid, grid + 1, (count, dim)).astype(np.float32)
    if draw(st.booleans()):  # neighbours that differ by rounding only
        vectors[rows // 2 :] = vectors[: rows - rows // 2] * np.float32(1 + 2**-23)
    ids = rng.choice(np.arange(-(2**40), 2**40, 2**30), rows, replace=False)
    exclude = [rng.choice([*ids.tolist(), 5], rng.integers(0, rows + 1)).tolist() for _ in range(count)]
    return Case(ids, vectors, queries, exclude, draw(st.integers(1, 90)))


@settings(max_examples=120)
@given(cases())
def test_search_equals_brute_force(case: Case) -> None:
    found = search(build_shard(case.ids, case.vectors), case.queries, case.k, as_lists(case.exclude))
    assert as_pairs(found) == brute_force(case.ids, case.vectors, case.queries, case.k, case.exclude)


@settings(max_examples=60)
@given(cases(), st.integers(1, 6), st.integers(0, 2**32))
def test_merged_shards_equal_the_whole(case: Case, shards: int, seed: int) -> None:
    home = np.random.default_rng(seed).integers(0, shards, len(case.ids))
    parts = [
        search(build_shard(case.ids[home == s], case.vectors[home == s]), case.queries, case.k, as_lists(case.exclude))
        for s in range(shards)
    ]
    whole = search(build_shard(case.ids, case.vectors), case.queries, case.k, as_lists(case.exclude))
    assert as_pairs(best_of(joined(parts), case.k)) == as_pairs(whole)


@settings(max_examples=60)
@given(cases(), st.integers(1, 6), st.integers(0, 2**32))
def test_probes_limit_the_search_to_their_clusters(case: Case, clusters: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    _, same_vector = np.unique(case.vectors + np.float32(0), axis=0, return_inverse=True)
    cluster = 10 * rng.integers(0, clusters, len(case.ids) + 1)[same_vector]
    probes = [(10 * rng.permutation(clusters + 1)[: rng.integers(0, clusters + 1)]).tolist() for _ in case.queries]
    allowed = [{int(i) for i, c in zip(case.ids, cluster, strict=True) if c in p} for p in probes]
    shard = build_shard(case.ids, case.vectors, cluster)
    found = search(shard, case.queries, case.k, as_lists(case.exclude), as_lists(probes))
    assert as_pairs(found) == brute_force(case.ids, case.vectors, case.queries, case.k, case.exclude, allowed)


def unit_vectors(count: int, dim: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_results_do_not_depend_on_batches_threads_or_the_order_of_rows() -> None:
    vectors, queries = unit_vectors(3000, 32, 1), unit_vectors(500, 32, 2)
    ids = np.arange(3000)
    whole = as_pairs(search(build_shard(ids, vectors), queries, 20))
    one_thread()
    shuffled = np.random.default_rng(3).permutation(3000)
    shard = build_shard(ids[shuffled], vectors[shuffled])
    pieces = [as_pairs(search(shard, queries[start : start + 7], 20)) for start in range(0, 500, 7)]
    assert [row for piece in pieces for row in piece] == whole


def test_more_equal_vectors_than_the_margin_are_ordered_by_id() -> None:
    vectors = np.repeat(unit_vectors(3, 8, 4), 400, axis=0)
    ids = np.random.default_rng(5).permutation(1200)
    found = search(build_shard(ids, vectors), vectors[:1], 10, as_lists([[int(ids[:400].min())]]))
    assert found.ids_M.tolist() == sorted(ids[:400].tolist())[1:11]


def test_equal_vectors_are_held_once() -> None:
    shard = build_shard(np.arange(4), np.array([[0.0, 1.0], [2.0, 1.0], [-0.0, 1.0], [0.0, 1.0]], np.float32))
    assert sorted(shard.vectors_UD.tolist()) == [[0.0, 1.0], [2.0, 1.0]]


def test_vectors_whose_hashes_collide_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_module, "_hashes", lambda vectors: np.zeros(len(vectors), np.uint64))
    vectors = np.repeat(unit_vectors(3, 4, 12), 2, axis=0)
    found = search(build_shard(np.arange(6), vectors), vectors[:1], 6)
    assert as_pairs(found) == brute_force(np.arange(6), vectors, vectors[:1], 6, [[]])


def test_nearly_equal_vectors_beyond_the_margin_are_ordered_exactly() -> None:
    rng = np.random.default_rng(6)
    vectors = (np.ones((2000, 16)) + rng.integers(-2, 3, (2000, 16)) * 2.0**-22).astype(np.float32)
    queries = rng.standard_normal((5, 16)).astype(np.float32)
    found = search(build_shard(np.arange(2000), vectors), queries, 5)
    assert as_pairs(found) == brute_force(np.arange(2000), vectors, queries, 5, [[]] * 5)


def test_a_scan_stays_in_the_probed_clusters() -> None:
    rng = np.random.default_rng(6)
    vectors = (np.ones((2000, 16)) + rng.integers(-2, 3, (2000, 16)) * 2.0**-22).astype(np.float32)
    cluster, query = np.arange(2000) % 4, rng.standard_normal((1, 16)).astype(np.float32)
    found = search(build_shard(np.arange(2000), vectors, cluster), query, 5, None, as_lists([[1, 3]]))
    odd = set(range(1, 2000, 2))
    assert as_pairs(found) == brute_force(np.arange(2000), vectors, query, 5, [[]], [odd])


def test_ordinary_vectors_need_no_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_scan", lambda *_: pytest.fail("a scan"))
    vectors, queries = unit_vectors(5000, 16, 10), unit_vectors(300, 16, 11)
    exclude = as_lists([[n] * (n % 5) for n in range(300)])
    cluster = (vectors[:, 0] > 0).astype(np.int64)
    search(build_shard(np.arange(5000), vectors), queries, 10, exclude)
    search(build_shard(np.arange(5000), vectors, cluster), queries, 10, exclude, as_lists([[0, 1]] * 300))
    everything = search(build_shard(np.arange(4), vectors[:4]), queries, 10, as_lists([[1]] * 300))
    assert set(np.diff(everything.offsets_N1)) == {3}


def test_a_zero_vector_scores_zero_against_everything() -> None:
    vectors = unit_vectors(50, 4, 7)
    vectors[9] = 0
    shard = build_shard(np.arange(50), vectors)
    zero = search(shard, np.zeros((2, 4), np.float32), 3, as_lists([[1], []]))
    assert as_pairs(zero) == [[(0, 0.0), (2, 0.0), (3, 0.0)], [(0, 0.0), (1, 0.0), (2, 0.0)]]
    assert (9, 0.0) in as_pairs(search(shard, vectors[:1], 50))[0]


def test_a_heavy_user_does_not_deepen_the_search_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    depths: dict[int, int] = {}
    knn = faiss.knn

    def record(queries: np.ndarray, vectors: np.ndarray, k: int, metric: int) -> tuple[np.ndarray, np.ndarray]:
        depths[k] = depths.get(k, 0) + len(queries)
        return knn(queries, vectors, k, metric=metric)

    monkeypatch.setattr(kernel.faiss, "knn", record)
    exclude = [list(range(900)), *([[1, 2]] * 99)]
    found = search(
        build_shard(np.arange(1000), unit_vectors(1000, 8, 8)), unit_vectors(100, 8, 9), 20, as_lists(exclude)
    )
    assert np.diff(found.offsets_N1).tolist() == [20] * 100
    assert depths == {30: 99, 20 + 8 + 40: 1, 20 + 8 + 900: 1}, "over-fetched with a bound, then completed"


def test_many_excluded_rows_of_one_vector_do_not_hide_the_others() -> None:
    vectors = np.repeat(unit_vectors(3, 8, 13), 200, axis=0)
    exclude = list(range(150))
    found = search(build_shard(np.arange(600), vectors), vectors[:1], 5, as_lists([exclude]))
    assert as_pairs(found) == brute_force(np.arange(600), vectors, vectors[:1], 5, [exclude])


def test_edges() -> None:
    nothing = build_shard(np.zeros(0, np.int64), np.zeros((0, 4), np.float32))
    one = build_shard(np.array([-1]), np.ones((1, 4), np.float32))
    query = np.ones((1, 4), np.float32)
    assert as_pairs(search(nothing, query, 3)) == [[]]
    assert as_pairs(search(one, query, 3)) == [[(-1, 4.0)]]
    assert as_pairs(search(one, query, 3, as_lists([[-1]]))) == [[]]
    assert as_pairs(search(one, query[:0], 3)) == []
    clustered = build_shard(np.zeros(0, np.int64), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    assert as_pairs(search(clustered, query, 3, None, as_lists([[0]]))) == [[]]


def test_scores_that_overflow_are_an_error() -> None:
    shard = build_shard(np.arange(2), np.full((2, 4), 1e30, np.float32))
    with pytest.raises(TrainingError, match=r"not finite.*Remedy"):
        search(shard, np.full((1, 4), 1e30, np.float32), 1)


def test_a_repeated_id_is_an_error() -> None:
    with pytest.raises(ContractError, match=r"repeats an id.*id 7"):
        build_shard(np.array([7, 1, 7]), unit_vectors(3, 4, 1))
