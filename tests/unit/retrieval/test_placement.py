"""Whatever the division of an index, a query meets each row that concerns it exactly once."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import as_lists

from divspa.retrieval.clusters import ClusterPlacement, only, probed, probes_needed, recall_by_nprobe, train
from divspa.retrieval.layout import divide
from divspa.retrieval.placement import EvenPlacement, Placement, spread


def vectors_of(count: int, dim: int, seed: int, spread_of_lengths: float = 0.0) -> np.ndarray:
    """Clustered vectors of length 1, or of lengths that differ by this factor's exponent."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((20, dim))
    vectors = centres[rng.integers(0, 20, count)] + 0.3 * rng.standard_normal((count, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors * np.exp(spread_of_lengths * rng.standard_normal((count, 1)))).astype(np.float32)


def meetings(placement: Placement, rows: np.ndarray, queries: np.ndarray, wanted: int = 1) -> Counter:
    """How often each query meets each row: in a shared slot, and there in a cluster that the query names."""
    ids, query_ids = np.arange(len(rows)), np.arange(len(queries)) + 10**6
    placed = placement.place(ids, rows)
    routed = placement.route(query_ids, queries, np.full(len(queries), wanted))
    assert placed.slots_M.max(initial=0) < placement.slots and routed.slots_M.max(initial=0) < placement.slots
    met: Counter = Counter()
    for i, query in enumerate(routed.rows_M):
        here = np.flatnonzero(placed.slots_M == routed.slots_M[i])
        if placement.clustered:
            named = routed.clusters.take(np.array([i])).values_M
            assert len(np.unique(named)) == len(named)
            here = here[np.isin(placed.clusters.values_M[here], named)]
        met.update((int(query), int(row)) for row in placed.rows_M[here])
    return met


@settings(max_examples=30)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 40), st.integers(0, 15))
def test_even_placement_brings_every_pair_together_once(shards: int, copies: int, rows: int, queries: int) -> None:
    placement = EvenPlacement(shards, copies)
    met = meetings(placement, vectors_of(rows, 4, 1), vectors_of(queries, 4, 2))
    assert met == Counter({(q, r): 1 for q in range(queries) for r in range(rows)})


def clustered(rows: np.ndarray, count: int, slots: int, nprobe: int) -> ClusterPlacement:
    longest = float(np.linalg.norm(rows, axis=1).max())
    trained = train(rows, count, longest, seed=3)
    sizes = np.bincount(trained.nearest(rows), minlength=trained.count)
    clusters, sizes = only(trained, np.flatnonzero(sizes)), sizes[sizes > 0]
    return ClusterPlacement(clusters, sizes, divide(clusters.centroids.vectors_UD, sizes, slots), nprobe, slots)


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(1, 6), st.integers(1, 30), st.sampled_from([0.0, 0.9]))
def test_cluster_placement_brings_a_query_to_all_rows_of_its_clusters_once(
    slots: int, nprobe: int, wanted: int, share_in_one_cluster: float
) -> None:
    rows, queries = vectors_of(200, 6, 4), vectors_of(10, 6, 5)
    rows[: int(200 * share_in_one_cluster)] = rows[0]
    placement = clustered(rows, 12, slots, nprobe)
    cluster = placement.clusters.nearest(rows)
    probes = probed(placement.clusters, placement.sizes_C, queries, np.full(10, wanted), nprobe)
    expected = Counter(
        {
            (q, int(r)): 1
            for q in range(10)
            for c in probes.take(np.array([q])).values_M
            for r in np.flatnonzero(cluster == c)
        }
    )
    assert meetings(placement, rows, queries, wanted) == expected
    assert min(Counter(q for q, _ in expected).values()) >= wanted


def test_queries_probe_more_clusters_until_they_hold_enough_rows() -> None:
    clusters = train(np.eye(4, 3, dtype=np.float32), 4, longest=1.0, seed=0)
    sizes = np.array([3, 3, 3, 3])
    queries = np.tile(np.array([[1.0, 0.5, 0.2]], np.float32), (4, 1))
    probes = probed(clusters, sizes, queries, np.array([1, 4, 7, 99]), nprobe=1)
    assert probes.lengths.tolist() == [1, 2, 3, 4]
    everything = clusters.order(queries, 4)
    assert all((probes.take(np.array([q])).values_M == everything[q, : q + 1]).all() for q in range(4))


@pytest.mark.parametrize("lengths", [0.0, 0.5])
def test_few_clusters_hold_most_of_the_largest_inner_products(lengths: float) -> None:
    rows, queries = vectors_of(4000, 8, 6, lengths), vectors_of(200, 8, 7)
    placement = clustered(rows, 60, 4, 1)
    best = np.argsort(-(queries @ rows.T), axis=1)[:, :10]
    found = as_lists(placement.clusters.nearest(rows)[best].tolist())
    order = placement.clusters.order(queries, placement.clusters.count)
    recall = recall_by_nprobe(order, found)
    assert recall[11] > 0.95
    assert (np.diff(recall) >= 0).all() and recall[-1] == pytest.approx(1)


def test_nprobe_is_the_smallest_that_reaches_the_floor() -> None:
    order = np.array([[0, 1, 2, 3], [3, 2, 1, 0]])
    found = as_lists([[0, 0, 1, 2], [3, 3, 3, 0]])
    assert recall_by_nprobe(order, found).tolist() == [5 / 8, 6 / 8, 7 / 8, 1]
    assert [probes_needed(order, found, floor) for floor in (0.5, 0.625, 0.63, 0.8, 0.9, 1.0)] == [1, 1, 2, 3, 4, 4]


def test_recall_of_queries_without_any_result_is_left_out() -> None:
    assert recall_by_nprobe(np.array([[0, 1], [1, 0]]), as_lists([[], [0]])).tolist() == [0, 1]
    assert recall_by_nprobe(np.array([[0, 1]]), as_lists([[]])).tolist() == [1, 1]


@pytest.mark.parametrize("skew", [0.0, 1.5])
@pytest.mark.parametrize("slots", [1, 3, 8])
def test_slots_hold_similar_numbers_of_rows_even_when_clusters_are_skewed(slots: int, skew: float) -> None:
    rng = np.random.default_rng(8)
    sizes = np.maximum(100_000 / np.arange(1, 201) ** skew, 1).astype(np.int64)
    pieces = divide(rng.standard_normal((200, 6)).astype(np.float32), sizes, slots)
    load = np.bincount(pieces.values_M, (sizes / pieces.lengths)[pieces.owners], minlength=slots)
    assert load.max() <= 1.6 * sizes.sum() / slots


def test_neighbouring_clusters_share_a_slot() -> None:
    line = np.linspace(0, 1, 64)[:, None].astype(np.float32) * np.ones((1, 3), np.float32)
    slots = divide(line, np.full(64, 10), 4).values_M
    assert (np.diff(slots) != 0).sum() == 3


def test_clusters_do_not_depend_on_the_number_of_threads() -> None:
    import faiss

    rows = vectors_of(5000, 16, 9)
    threads = faiss.omp_get_max_threads()
    results = []
    for count in (1, 2, 4):
        faiss.omp_set_num_threads(count)
        results.append(train(rows, 128, 1.0, seed=1).centroids.vectors_UD)
    faiss.omp_set_num_threads(threads)
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[0], results[2])


def test_ids_are_spread_evenly() -> None:
    for ids in (np.arange(10_000), np.arange(10_000) * 1024, -np.arange(10_000)):
        assert np.bincount(spread(ids, 7), minlength=7).min() > 0.9 * 10_000 / 7
