"""Counts over pairs, their candidates and what was added, from which the summary of an augmentation follows."""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import safetensors.numpy
from numpy.typing import NDArray

from divspa.augmentation.catalogue import Catalogue
from divspa.augmentation.neighbours import Offer
from divspa.augmentation.pairs import Candidates, Draws, sample_pairs, with_candidates
from divspa.augmentation.weights import Sampled


@dataclass(frozen=True)
class Tally:
    """Sums over pairs for R rows, each way and, last, all of them together, by item where an axis is V.

    `found_R`: candidates; `common_R`: of these, found by another way too; `dropped_R`: clicked items that were passed
    over; `completed_R`: pairs whose candidates needed a search of their own; `added_RV`: positives of the first draw;
    `shared_R`: of these, drawn by another way too.
    """

    pairs: int
    completed_R: NDArray[np.int64]
    found_R: NDArray[np.int64]
    common_R: NDArray[np.int64]
    dropped_R: NDArray[np.int64]
    shared_R: NDArray[np.int64]
    scores_R: NDArray[np.float64]
    added_RV: NDArray[np.int64]
    clicked_V: NDArray[np.int64]

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def to_bytes(self) -> bytes:
        arrays = {field.name: np.ascontiguousarray(getattr(self, field.name)) for field in fields(self)}
        return zlib.compress(safetensors.numpy.save(arrays), 1)

    @classmethod
    def from_bytes(cls, packed: bytes) -> "Tally":
        arrays = safetensors.numpy.load(zlib.decompress(packed))
        return cls(int(arrays.pop("pairs").item()), **arrays)


def tally_batches(batches: Iterable[pa.RecordBatch], catalogue: Catalogue, draws: Draws) -> Iterator[pa.RecordBatch]:
    """One row for all the batches, holding their Tally; none where there are no pairs."""
    total: Tally | None = None
    for _, candidates in with_candidates(batches, catalogue, draws):
        tally = count(candidates, sample_pairs(candidates, catalogue, draws, 0), catalogue.size)
        total = tally if total is None else total + tally
    if total is not None:
        yield pa.RecordBatch.from_arrays([pa.array([total.to_bytes()], pa.binary())], ["tally"])


def count(candidates: Candidates, sampled: Sampled, items: int) -> Tally:
    """The Tally of one batch of pairs."""
    offers = list(candidates.offers.values())
    found_R, common_R = _overlap(offers, items)
    real_NS = sampled.items_NS > 0
    items_P, scores_P, sources_P = sampled.items_NS[real_NS], sampled.scores_NS[real_NS], sampled.sources_NS[real_NS]
    several_P = sources_P & (sources_P - 1) > 0
    by_row = [sources_P >> way & 1 > 0 for way in range(len(offers))] + [np.ones(len(items_P), bool)]
    return Tally(
        pairs=len(candidates.keys_N),
        completed_R=_with_total([offer.completed for offer in offers]),
        found_R=found_R,
        common_R=common_R,
        dropped_R=_with_total([int(offer.dropped_N.sum()) for offer in offers]),
        shared_R=np.array([several_P[mine_P].sum() for mine_P in by_row]),
        scores_R=np.array([scores_P[mine_P].sum(dtype=np.float64) for mine_P in by_row]),
        added_RV=np.stack([np.bincount(items_P[mine_P], minlength=items) for mine_P in by_row]),
        clicked_V=np.bincount(candidates.items_N, minlength=items),
    )


def _with_total(counts: list[int]) -> NDArray[np.int64]:
    return np.array([*counts, sum(counts)])


def _overlap(offers: list[Offer], items: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Candidates of each way and those that another way of the pair found too; `all` counts an item of a pair once."""
    bits, rows = (len(offers) - 1).bit_length(), len(offers) + 1
    kind = np.int32 if items << bits < 2**31 else np.int64  # half the size sorts in half the time
    keys_NX = np.hstack([(offer.ids_NK.astype(kind) << bits) + kind(way) for way, offer in enumerate(offers)])
    keys_NX.sort(axis=1)
    ids_NX, way_NX = keys_NX >> bits, keys_NX & ((1 << bits) - 1)
    real_NX = ids_NX > 0
    again_NX = np.zeros(keys_NX.shape, bool)
    again_NX[:, 1:] = real_NX[:, 1:] & (ids_NX[:, 1:] == ids_NX[:, :-1])
    common_NX = again_NX.copy()
    common_NX[:, :-1] |= again_NX[:, 1:]
    found_R = np.bincount(way_NX[real_NX], minlength=rows)
    common_R = np.bincount(way_NX[common_NX], minlength=rows)
    found_R[-1] = (real_NX & ~again_NX).sum()
    common_R[-1] = (common_NX & ~again_NX).sum()
    return found_R, common_R
