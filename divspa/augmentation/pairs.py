"""From each user's and item's candidates to the sampled, weighted positives of every pair, in one sorted pass."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from divspa.arrow import joined_batch, list_column
from divspa.augmentation.catalogue import Catalogue, nearest_new
from divspa.augmentation.sampling import hashed_uniforms, rank_weights, sample_without_replacement
from divspa.augmentation.states import STATE, UserStates
from divspa.augmentation.weights import SOURCES, WAYS, Sampled, merge_and_weigh
from divspa.config import DivSPA
from divspa.errors import ContractError

PAIR = ["example_id", "user_id", "item_id", "item_index", "user_features", "history", "history_length"]


@dataclass(frozen=True)
class Draws:
    """What a draw depends on: the settings, the seed and the day (a number)."""

    settings: DivSPA
    seed: int
    day: int


@dataclass(frozen=True)
class Way:
    """For N pairs the candidates of one way, best first; item 0 pads.

    `dropped_N` counts the clicked items that outranked them.
    """

    ids_NK: NDArray[np.int32]
    scores_NK: NDArray[np.float32]
    dropped_N: NDArray[np.int64]


@dataclass(frozen=True)
class Candidates:
    """N pairs: keys for the draw, clicked items, user vectors, and the candidates of each way.

    `completed_N` marks the pairs whose i2i candidates needed a search of their own.
    """

    keys_N: NDArray[np.int64]
    items_N: NDArray[np.int32]
    users_ND: NDArray[np.float32]
    by_way: dict[str, Way]
    completed_N: NDArray[np.bool_]


def augment_batches(batches: Iterable[pa.RecordBatch], catalogue: Catalogue, draws: Draws) -> Iterator[pa.RecordBatch]:
    """The pairs with their sampled positives, one row a pair and draw, from the rows that `with_candidates` reads."""
    for pairs, candidates in with_candidates(batches, catalogue, draws.settings):
        for draw in range(draws.settings.draws):
            yield as_rows(pairs, sample_pairs(candidates, catalogue, draws, draw), draw, catalogue)


def with_candidates(
    batches: Iterable[pa.RecordBatch], catalogue: Catalogue, settings: DivSPA
) -> Iterator[tuple[pa.RecordBatch, Candidates]]:
    """Read rows sorted by user, each user's state before the user's pairs (by example_id), and yield the pairs.

    A user's state is carried into the next batch, so a user may have any number of pairs. Raises ContractError when an
    example_id repeats.
    """
    carried: pa.RecordBatch | None = None
    previous = np.zeros(0, np.int64)
    for batch in batches:
        is_pair_R = batch["is_pair"].to_numpy(zero_copy_only=False)
        states = batch.filter(pa.array(~is_pair_R)).select(STATE)
        if carried is not None:
            states = joined_batch([carried, states])
        state_R = np.cumsum(~is_pair_R) - (carried is None)
        if states.num_rows:
            carried = states.slice(states.num_rows - 1)
        pairs = batch.filter(pa.array(is_pair_R)).select([name for name in PAIR if name in batch.schema.names])
        if pairs.num_rows:
            keys_N = pairs["example_id"].to_numpy()
            _require_unique(np.concatenate([previous, keys_N]))
            previous = keys_N[-1:]
            yield pairs, pair_candidates(UserStates.of(states), state_R[is_pair_R], pairs, catalogue, settings)


def _require_unique(keys_N: NDArray[np.int64]) -> None:
    if (repeated := keys_N[1:][keys_N[1:] == keys_N[:-1]]).size:
        raise ContractError(
            "The examples to augment repeat a key", expected="one row an example_id", found=f"{repeated[0]} twice"
        )


def pair_candidates(
    users: UserStates, state_N: NDArray[np.int64], pairs: pa.RecordBatch, catalogue: Catalogue, settings: DivSPA
) -> Candidates:
    """Bring together what the ways found for each pair, without what the user has clicked."""
    items_N, k = pairs["item_index"].to_numpy(), settings.top_k
    by_way, completed_N = {}, np.zeros(len(items_N), bool)
    for way in settings.ways:
        if way == "i2i":
            near = nearest_new(catalogue, items_N, users.clicked, state_N, k)
            by_way[way], completed_N = Way(near.ids_NK, near.scores_NK, near.dropped_N), near.completed_N
        else:
            found = users.by_way[way]
            ids_UK, scores_UK = found.ids.padded(0, k), found.scores.padded(0, k)
            by_way[way] = Way(ids_UK[state_N], scores_UK[state_N], found.dropped_U[state_N])
    return Candidates(pairs["example_id"].to_numpy(), items_N, users.vectors_UD[state_N], by_way, completed_N)


def sample_pairs(candidates: Candidates, catalogue: Catalogue, draws: Draws, draw: int) -> Sampled:
    """One independent draw of m items from each way for every pair; a function of (seed, ds, pair, way, draw) alone."""
    settings, columns = draws.settings, []
    for number, way in enumerate(WAYS):
        if way not in candidates.by_way:
            columns.append(np.zeros((len(candidates.keys_N), settings.m), np.int64))
            continue
        found = candidates.by_way[way]
        weights = rank_weights(settings.sampling, found.scores_NK, settings.alpha) * catalogue.rarity[found.ids_NK]
        uniforms_NK = hashed_uniforms([draws.seed, draws.day, draw, number, candidates.keys_N[:, None], found.ids_NK])
        chosen_NM = sample_without_replacement(weights, found.ids_NK > 0, uniforms_NK, settings.m)
        columns.append(np.where(chosen_NM >= 0, np.take_along_axis(found.ids_NK, chosen_NM, 1), 0))
    items_NS = np.hstack(columns)
    scores_NS = np.einsum("nd,nsd->ns", candidates.users_ND, catalogue.vectors_VD[items_NS])
    ways_S = np.repeat(np.arange(len(WAYS)), [column.shape[1] for column in columns])
    return merge_and_weigh(items_NS, ways_S, scores_NS, settings.weighting)


def as_rows(pairs: pa.RecordBatch, sampled: Sampled, draw: int, catalogue: Catalogue) -> pa.RecordBatch:
    """The pairs of one draw in the columns of augmented_positives, without provenance."""
    rows, width = sampled.items_NS.shape
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * width)
    item_ids = catalogue.item_ids.take(pa.array(sampled.items_NS.ravel()))
    sources = pa.array(SOURCES).take(pa.array(sampled.sources_NS.ravel()))
    added = {
        "draw": pa.array(np.full(rows, draw, np.int32)),
        "sampled_item_ids": pa.ListArray.from_arrays(offsets, item_ids),
        "sampled_item_indices": list_column(sampled.items_NS),
        "sampled_scores": list_column(sampled.scores_NS),
        "sampled_weights": list_column(sampled.weights_NS),
        "sampled_sources": pa.ListArray.from_arrays(offsets, sources),
    }
    return pa.RecordBatch.from_arrays([*pairs.columns, *added.values()], [*pairs.schema.names, *added])
