"""From each user's and item's candidates to the sampled, weighted positives of every pair, in one sorted pass."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from divspa.arrow import list_column, matrix, padded
from divspa.augmentation.sampling import hashed_uniforms, rank_weights, sample_without_replacement
from divspa.augmentation.weights import SOURCES, WAYS, Sampled, merge_and_weigh
from divspa.config import DivSPA

STATE = ["vector", "clicked", "u2i_ids", "u2i_scores", "u2u2i_ids", "u2u2i_scores"]
PAIR = ["example_id", "user_id", "item_id", "item_index", "user_features", "history", "history_length"]


@dataclass(frozen=True)
class Catalogue:
    """What every task knows of the V items: names, vectors, and each item's i2i candidates (id 0 is padding)."""

    item_ids: pa.StringArray
    vectors_VD: np.ndarray
    i2i_ids_VK: np.ndarray
    i2i_scores_VK: np.ndarray


def augment_batches(
    batches: Iterable[pa.RecordBatch], catalogue: Catalogue, settings: DivSPA, seed: int, day: int
) -> Iterator[pa.RecordBatch]:
    """Read rows sorted by user, each user's state before the user's pairs, and yield the pairs with their draws.

    A user's state is carried into the next batch, so a user may have any number of pairs.
    """
    carried: pa.RecordBatch | None = None
    for batch in batches:
        is_pair = batch.column("is_pair").to_numpy(zero_copy_only=False)
        states = batch.filter(pa.array(~is_pair)).select(STATE)
        if carried is not None:
            states = pa.Table.from_batches([carried, states]).combine_chunks().to_batches()[0]
        state_of_row = np.cumsum(~is_pair) - (carried is None)
        if states.num_rows:
            carried = states.slice(states.num_rows - 1)
        pairs = batch.filter(pa.array(is_pair)).select(PAIR)
        if pairs.num_rows:
            users = UserStates.of(states, settings.top_k, len(catalogue.vectors_VD))
            candidates = pair_candidates(users, state_of_row[is_pair], pairs, catalogue, settings)
            for draw in range(settings.draws):
                sampled = sample_pairs(candidates, catalogue, settings, (seed, day, draw))
                yield _as_rows(pairs, sampled, draw, catalogue)


@dataclass(frozen=True)
class UserStates:
    """U users: vectors, candidates of the two ways that start from a user, and what they clicked.

    `clicked_C` holds row * V + item of every click, ascending.
    """

    vectors_UD: np.ndarray
    ids: dict[str, np.ndarray]
    scores: dict[str, np.ndarray]
    clicked_C: np.ndarray

    @classmethod
    def of(cls, states: pa.RecordBatch, k: int, items: int) -> "UserStates":
        sizes = np.diff(np.asarray(states.column("clicked").offsets))
        clicked = states.column("clicked").flatten().to_numpy().astype(np.int64)
        return cls(
            matrix(states.column("vector")),
            {way: padded(states.column(f"{way}_ids"), k, 0) for way in ("u2i", "u2u2i")},
            {way: padded(states.column(f"{way}_scores"), k, 0) for way in ("u2i", "u2u2i")},
            np.repeat(np.arange(len(sizes)), sizes) * items + clicked,
        )


@dataclass(frozen=True)
class Candidates:
    """N pairs: keys for the draw, user vectors, and for each way the candidates, scores, ranks and which are usable."""

    keys_N: np.ndarray
    users_ND: np.ndarray
    by_way: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]


def pair_candidates(
    users: UserStates, state_N: np.ndarray, pairs: pa.RecordBatch, catalogue: Catalogue, settings: DivSPA
) -> Candidates:
    """Bring together what the ways found for each pair; the i2i candidates that the user has clicked are not usable."""
    items_N = pairs.column("item_index").to_numpy()
    found = {way: (users.ids[way][state_N], users.scores[way][state_N]) for way in ("u2i", "u2u2i")}
    found["i2i"] = (catalogue.i2i_ids_VK[items_N], catalogue.i2i_scores_VK[items_N])
    by_way = {}
    for way in settings.ways:
        ids_NK, scores_NK = found[way]
        usable_NK = ids_NK > 0
        if way == "i2i":
            key_NK = state_N[:, None] * len(catalogue.vectors_VD) + ids_NK
            place_NK = np.searchsorted(users.clicked_C, key_NK)
            padded_C = np.append(users.clicked_C, -1)
            usable_NK &= padded_C[place_NK] != key_NK
        ranks_NK = np.cumsum(usable_NK, axis=1) - 1
        by_way[way] = ids_NK, scores_NK, ranks_NK, usable_NK & (ranks_NK < settings.top_k)
    return Candidates(pairs.column("example_id").to_numpy(), users.vectors_UD[state_N], by_way)


def sample_pairs(
    candidates: Candidates, catalogue: Catalogue, settings: DivSPA, draw_key: tuple[int, int, int]
) -> Sampled:
    """One independent draw of m items from each way for every pair; a function of (seed, ds, pair, way, draw) alone."""
    seed, day, draw = draw_key
    columns = []
    for way in WAYS:
        if way not in candidates.by_way:
            columns.append(np.zeros((len(candidates.keys_N), settings.m), np.int64))
            continue
        ids_NK, scores_NK, ranks_NK, usable_NK = candidates.by_way[way]
        weights_NK = rank_weights(settings.sampling, ranks_NK, scores_NK, settings.top_k, settings.alpha)
        uniforms_NK = hashed_uniforms([seed, day, draw, WAYS.index(way), candidates.keys_N[:, None], ids_NK])
        chosen_NM = sample_without_replacement(weights_NK, usable_NK, uniforms_NK, settings.m)
        columns.append(np.where(chosen_NM >= 0, np.take_along_axis(ids_NK, chosen_NM, 1), 0))
    items_NS = np.hstack(columns)
    scores_NS = np.einsum("nd,nsd->ns", candidates.users_ND, catalogue.vectors_VD[items_NS])
    ways_S = np.repeat(np.arange(len(WAYS)), [column.shape[1] for column in columns])
    return merge_and_weigh(items_NS, ways_S, scores_NS, settings.weighting)


def _as_rows(pairs: pa.RecordBatch, sampled: Sampled, draw: int, catalogue: Catalogue) -> pa.RecordBatch:
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
    return pa.RecordBatch.from_arrays([*pairs.columns, *added.values()], [*PAIR, *added])
