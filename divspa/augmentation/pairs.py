"""From each user's and item's candidates to the sampled, weighted positives of every pair, in one sorted pass."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from divspa.arrow import joined_batch, list_column
from divspa.augmentation.catalogue import Catalogue
from divspa.augmentation.neighbours import Offer, nearest_new
from divspa.augmentation.sampling import hashed_uniforms, rank_weights, sample_without_replacement
from divspa.augmentation.settings import DivSPA
from divspa.augmentation.states import UserStates, state_columns
from divspa.augmentation.weights import Sampled, merge_and_weigh, source_names
from divspa.errors import ContractError

# How much of the weights follows the ways' own scores.
OWN_PART = {"way": 1.0, "both": 0.5}
PAIR = ["example_id", "user_id", "item_id", "item_index", "user_features", "history", "history_length", "weight"]


@dataclass(frozen=True)
class Draws:
    """What a draw depends on: the settings, the seed, the day (a number), and each way's own number, by name.

    The ways stand in one order, that of the registry.
    """

    settings: DivSPA
    ways: dict[str, int]
    seed: int
    day: int


@dataclass(frozen=True)
class Candidates:
    """N pairs: keys for the draw, clicked items, user vectors, and what each way offers."""

    keys_N: NDArray[np.int64]
    items_N: NDArray[np.int32]
    users_ND: NDArray[np.float32]
    offers: dict[str, Offer]


def augment_batches(batches: Iterable[pa.RecordBatch], catalogue: Catalogue, draws: Draws) -> Iterator[pa.RecordBatch]:
    """The pairs with their sampled positives, one row a pair and draw, from the rows that `with_candidates` reads."""
    for pairs, candidates in with_candidates(batches, catalogue, draws):
        for draw in range(draws.settings.draws):
            yield as_rows(pairs, sample_pairs(candidates, catalogue, draws, draw), draw, catalogue, draws)


def with_candidates(
    batches: Iterable[pa.RecordBatch], catalogue: Catalogue, draws: Draws
) -> Iterator[tuple[pa.RecordBatch, Candidates]]:
    """Read rows sorted by user, each user's state before the user's pairs (by example_id), and yield the pairs.

    A user's state is carried into the next batch, so a user may have any number of pairs. Raises ContractError when an
    example_id repeats.
    """
    of_users = [way for way in draws.ways if way not in catalogue.neighbours]
    carried: pa.RecordBatch | None = None
    previous = np.zeros(0, np.int64)
    for batch in batches:
        is_pair_R = batch["is_pair"].to_numpy(zero_copy_only=False)
        states = batch.filter(pa.array(~is_pair_R)).select(state_columns(of_users))
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
            users = UserStates.of(states, of_users)
            yield pairs, pair_candidates(users, state_R[is_pair_R], pairs, catalogue, draws)


def _require_unique(keys_N: NDArray[np.int64]) -> None:
    if (repeated := keys_N[1:][keys_N[1:] == keys_N[:-1]]).size:
        raise ContractError(
            "The examples to augment repeat a key", expected="one row an example_id", found=f"{repeated[0]} twice"
        )


def pair_candidates(
    users: UserStates, state_N: NDArray[np.int64], pairs: pa.RecordBatch, catalogue: Catalogue, draws: Draws
) -> Candidates:
    """Bring together what the ways found for each pair, without what the user has clicked."""
    items_N, k, offers = pairs["item_index"].to_numpy(), draws.settings.top_k, {}
    for way in draws.ways:
        if way in catalogue.neighbours:
            near = catalogue.neighbours[way]
            offers[way] = nearest_new(near, items_N, users.clicked, state_N, catalogue, k)
        else:
            found = users.by_way[way]
            ids_UK, scores_UK = found.ids.padded(0, k), found.scores.padded(0, k)
            offers[way] = Offer(ids_UK[state_N], scores_UK[state_N], found.dropped_U[state_N])
    return Candidates(pairs["example_id"].to_numpy(), items_N, users.vectors_UD[state_N], offers)


def sample_pairs(candidates: Candidates, catalogue: Catalogue, draws: Draws, draw: int) -> Sampled:
    """One independent draw of m items from each way for every pair; a function of (seed, ds, pair, way, draw) alone."""
    settings, columns, own = draws.settings, [], []
    rarity_V = catalogue.rarity(settings.popularity_discount)
    for way, number in draws.ways.items():
        found = candidates.offers[way]
        weights = rank_weights(settings.sampling, found.scores_NK, settings.alpha) * rarity_V[found.ids_NK]
        uniforms_NK = hashed_uniforms([draws.seed, draws.day, draw, number, candidates.keys_N[:, None], found.ids_NK])
        chosen_NM = sample_without_replacement(weights, found.ids_NK > 0, uniforms_NK, settings.m)
        columns.append(np.where(chosen_NM >= 0, np.take_along_axis(found.ids_NK, chosen_NM, 1), 0))
        own.append(np.take_along_axis(found.scores_NK, chosen_NM, 1))
    items_NS = np.hstack(columns)
    scores_NS = np.einsum("nd,nsd->ns", candidates.users_ND, catalogue.vectors_VD[items_NS])
    ways_S = np.repeat(np.arange(len(columns)), [column.shape[1] for column in columns])
    if settings.scored_by == "base":
        return merge_and_weigh(items_NS, ways_S, scores_NS, settings.weighting)
    part = OWN_PART[settings.scored_by]
    return merge_and_weigh(items_NS, ways_S, scores_NS, settings.weighting, np.hstack(own), part)


def as_rows(pairs: pa.RecordBatch, sampled: Sampled, draw: int, catalogue: Catalogue, draws: Draws) -> pa.RecordBatch:
    """The pairs of one draw in the columns of augmented_positives, without provenance."""
    rows, width = sampled.items_NS.shape
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * width)
    item_ids = catalogue.item_ids.take(pa.array(sampled.items_NS.ravel()))
    sources = source_names(sampled.sources_NS.ravel(), list(draws.ways))
    added = {
        "draw": pa.array(np.full(rows, draw, np.int32)),
        "sampled_item_ids": pa.ListArray.from_arrays(offsets, item_ids),
        "sampled_item_indices": list_column(sampled.items_NS),
        "sampled_scores": list_column(sampled.scores_NS),
        "sampled_weights": list_column(sampled.weights_NS),
        "sampled_sources": pa.ListArray.from_arrays(offsets, sources),
    }
    return pa.RecordBatch.from_arrays([*pairs.columns, *added.values()], [*pairs.schema.names, *added])
