"""Every pair gets its user's and item's candidates, however the rows are cut, and the summary counts them by hand."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from world import as_lists, catalogue_of, ranked, vectors_of

from divspa.arrow import list_column
from divspa.augmentation.neighbours import Offer
from divspa.augmentation.pairs import PAIR, Candidates, Draws, augment_batches, sample_pairs, with_candidates
from divspa.augmentation.settings import DivSPA
from divspa.augmentation.states import Found, UserStates
from divspa.augmentation.summary import check_gates, summarise
from divspa.augmentation.tally import Tally, tally_batches
from divspa.augmentation.ways.registry import WAYS, chosen_ways
from divspa.errors import ContractError, GateError
from divspa.retrieval.settings import SearchReport

VECTORS = vectors_of(12, 4)
CATALOGUE = catalogue_of(VECTORS, 6)
USERS = VECTORS[[3, 4, 5]]
CLICKED = [[2, 3, 4], [5], [2, 6]]
U2I = [[7, 8, 9], [], [7]]
U2U2I = [[8], [7, 9], []]
SETTINGS = DivSPA(top_k=3, m=2, draws=2)


def draws_of(settings: DivSPA) -> Draws:
    return Draws(settings, {name: way.number for name, way in chosen_ways(settings).items()}, seed=1, day=2)


DRAWS = draws_of(SETTINGS)


def scores(items: list[list[int]]) -> list[list[float]]:
    return [[float(VECTORS[item] @ user) for item in own] for user, own in zip(USERS, items, strict=True)]


def stream(pairs: list[tuple[int, int]], rows: int, keys: list[int] | None = None) -> Iterator[pa.RecordBatch]:
    """Each user's state, then the user's pairs (user, item), in batches of so many rows."""
    found = {
        way: Found(as_lists(ids), as_lists(scores(ids), np.float32), np.array(dropped))
        for way, ids, dropped in (("u2i", U2I, [1, 0, 0]), ("u2u2i", U2U2I, [2, 0, 0]))
    }
    states = pa.Table.from_batches([UserStates(USERS, as_lists(CLICKED), found).as_batch(np.arange(3))])
    states = states.append_column("is_pair", pa.array([False] * 3))
    order = sorted(range(len(pairs)), key=lambda i: pairs[i][0])
    columns = {
        "user_key": pa.array([pairs[i][0] for i in order], pa.int64()),
        "example_id": pa.array(np.arange(len(pairs)) + 100 if keys is None else np.array(keys)),
        "user_id": pa.array([f"user-{pairs[i][0]}" for i in order]),
        "item_id": pa.array([f"item-{pairs[i][1]}" for i in order]),
        "item_index": pa.array([pairs[i][1] for i in order], pa.int32()),
        "user_features": list_column(np.zeros((len(pairs), 1), np.int32)),
        "history": list_column(np.zeros((len(pairs), 2), np.int32)),
        "history_length": pa.array(np.zeros(len(pairs), np.int32)),
        "weight": pa.array(np.ones(len(pairs), np.float32)),
        "is_pair": pa.array([True] * len(pairs)),
    }
    whole = pa.concat_tables([states, pa.table(columns)], promote=True)
    whole = whole.sort_by([("user_key", "ascending"), ("is_pair", "ascending"), ("example_id", "ascending")])
    return iter(whole.combine_chunks().to_batches(rows))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(2, 13)), min_size=1, max_size=12), st.integers(1, 9))
def test_candidates_do_not_depend_on_how_the_rows_are_cut(pairs: list[tuple[int, int]], rows: int) -> None:
    seen = []
    for batch, found in with_candidates(stream(pairs, rows), CATALOGUE, DRAWS):
        for row, name in enumerate(batch["user_id"].to_pylist()):
            user, item = int(name.removeprefix("user-")), batch["item_index"][row].as_py()
            near = ranked(VECTORS[item], [i for i in range(2, 14) if i != item and i not in CLICKED[user]], VECTORS)
            wanted = {"u2i": U2I[user], "i2i": near[:3], "u2u2i": U2U2I[user]}
            actual = {way: [i for i in found.offers[way].ids_NK[row].tolist() if i] for way in wanted}
            assert actual == wanted
            seen.append((user, item))
    assert sorted(seen) == sorted(pairs)
    whole = [row for batch in augment_batches(stream(pairs, 100), CATALOGUE, DRAWS) for row in batch.to_pylist()]
    parts = [row for batch in augment_batches(stream(pairs, rows), CATALOGUE, DRAWS) for row in batch.to_pylist()]
    key = lambda row: (row["draw"], row["example_id"])  # noqa: E731
    assert sorted(whole, key=key) == sorted(parts, key=key)
    assert list(whole[0]) == [*PAIR, "draw", *(f"sampled_{n}" for n in ("item_ids", "item_indices"))] + [
        f"sampled_{n}" for n in ("scores", "weights", "sources")
    ]


@pytest.mark.parametrize("rows", [2, 100])
def test_a_repeated_example_is_an_error(rows: int) -> None:
    with pytest.raises(ContractError, match="100 twice"):
        list(with_candidates(stream([(0, 5), (0, 6)], rows, keys=[100, 100]), CATALOGUE, DRAWS))


def test_every_way_draws_by_a_number_of_its_own() -> None:
    numbers = {name: way.number for name, way in WAYS.items()}
    assert len(set(numbers.values())) == len(numbers)
    assert numbers.items() >= {"u2i": 0, "i2i": 1, "u2u2i": 2}.items(), "tables would come out anew"


def tally(pairs: list[tuple[int, int]], rows: int, draws: Draws = DRAWS) -> Tally:
    (batch,) = tally_batches(stream(pairs, rows), CATALOGUE, draws)
    return Tally.from_bytes(batch["tally"][0].as_py())


def test_the_summary_counts_what_was_found_dropped_and_added() -> None:
    searches = {"u2i": SearchReport("broadcast", 3, 12), "u2u2i": SearchReport("routed", 3, 3, recall=0.99, nprobe=2)}
    popularity = np.arange(14) * 10
    everything = draws_of(SETTINGS.model_copy(update={"m": 3}))  # m = top_k: every candidate is added
    counted = tally([(0, 2), (1, 5)], 2, everything)
    rows = {row["way"]: row for row in summarise(counted, popularity, chosen_ways(SETTINGS), searches)}
    near = [
        ranked(VECTORS[i], [j for j in range(2, 14) if j not in own], VECTORS)[:3]
        for i, own in ((2, {2, 3, 4}), (5, {5}))
    ]
    pooled = [[*U2I[0], *near[0], *U2U2I[0]], [*near[1], *U2U2I[1]]]
    assert (rows["u2i"]["candidates_per_pair"], rows["u2u2i"]["candidates_per_pair"]) == (1.5, 1.5)
    assert rows["u2i"]["new"] == 3 / 4 and rows["u2u2i"]["new"] == 3 / 5
    assert rows["all"]["candidates_per_pair"] == sum(len(set(pool)) for pool in pooled) / 2
    common = sum(pool.count(item) > 1 for pool, own in zip(pooled, (U2I[0], []), strict=True) for item in own)
    assert rows["u2i"]["overlap"] == common / 3
    assert rows["all"]["sampled"] == sum(len(set(pool)) for pool in pooled)
    assert rows["u2i"]["sampled"] == 3 and rows["u2i"]["shared"] == rows["u2i"]["overlap"]
    assert rows["u2i"]["mean_popularity"] == 80 and rows["u2i"]["mean_popularity_clicked"] == 35
    assert rows["u2i"]["mean_score"] == pytest.approx(np.mean(scores(U2I)[0]))
    assert (rows["u2i"]["distinct_items"], rows["u2i"]["distinct_items_clicked"]) == (3, 2)
    assert (rows["u2u2i"]["search_recall"], rows["u2u2i"]["search_nprobe"], rows["all"]["search_plan"]) == (
        0.99,
        2,
        None,
    )


def test_tallies_add_up_however_the_rows_are_cut() -> None:
    pairs = [(user, item) for user in range(3) for item in range(2, 14)]
    whole, cut = tally(pairs, 1000), tally(pairs, 5)
    for name in ("pairs", "completed_R", "found_R", "common_R", "dropped_R", "shared_R", "added_RV", "clicked_V"):
        assert np.array_equal(getattr(whole, name), getattr(cut, name)), name
    assert whole.scores_R == pytest.approx(cut.scores_R)


def gated(gates: dict[str, float], ways: tuple[str, ...] = ("u2i", "i2i", "u2u2i"), user: int = 1) -> list[str]:
    chosen = DivSPA.model_validate({"top_k": 3, "m": 2, "ways": ways, "gates": gates})
    counted = tally([(user, 5), (user, 6)], 100, draws_of(chosen))
    return check_gates(summarise(counted, np.zeros(14, np.int64), chosen_ways(chosen), {}), chosen)


def test_an_empty_way_fails_its_gate_by_name() -> None:
    with pytest.raises(GateError, match=r"u2i added 0 a pair where 0\.002 is the least"):
        gated({})
    assert gated({"way_filled": 0}) == []
    assert gated({}, ("i2i", "u2u2i")) == []


def test_too_few_positives_fail_and_the_message_says_by_how_much() -> None:
    with pytest.raises(GateError, match=r"all added 2 a pair where 3 is the least"):
        gated({"way_filled": 0, "filled": 0.75}, ("i2i", "u2i"))


def test_a_popular_item_is_drawn_less_often_by_its_clicks_to_a_power() -> None:
    clicks_V, pairs = np.arange(14), 20_000
    clicks_V[[7, 8, 9]] = 1, 4, 16
    ids_NK = np.tile(np.array([7, 8, 9], np.int32), (pairs, 1))
    candidates = Candidates(
        np.arange(pairs),
        np.full(pairs, 2, np.int32),
        np.tile(USERS[0], (pairs, 1)),
        {"u2i": Offer(ids_NK, np.ones(ids_NK.shape, np.float32), np.zeros(pairs, np.int64))},
    )
    catalogue = replace(CATALOGUE, popularity_V=clicks_V)
    for power, chances in ((0.0, [1, 1, 1]), (0.5, [4, 2, 1]), (1.0, [16, 4, 1])):
        drawn = draws_of(SETTINGS.model_copy(update={"m": 1, "ways": ("u2i",), "popularity_discount": power}))
        found = np.bincount(sample_pairs(candidates, catalogue, drawn, 0).items_NS[:, 0], minlength=14)[7:10]
        assert stats.chisquare(found, np.array(chances) / sum(chances) * pairs).pvalue > 1e-3, power


def test_few_distinct_items_are_a_warning() -> None:
    warning, _ = gated({"warn_spread": 1, "way_filled": 0}, ("u2i",), user=2)
    assert "u2i added 1 distinct items, 50.00% as many" in warning
