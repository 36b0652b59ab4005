"""How each channel ranks the held-out clicks, by which the published one is chosen; thousands, on the driver."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import torch
from numpy.typing import NDArray

from divspa.arrow import lists_of, matrix
from divspa.config import Config
from divspa.data.items import read_items
from divspa.errors import TrainingError
from divspa.lake.tables import Lake
from divspa.lake.training_split import held_out_clicks, newest_of, trained_clicks
from divspa.linear.recommend import Weights
from divspa.linear.train import LINEAR
from divspa.lists import Lists
from divspa.models.checkpoint import Checkpoint, checkpoint_folder
from divspa.models.two_tower import TwoTowerModule
from divspa.publishing.channels import Channel
from divspa.publishing.fusion import fused_ranks, reciprocal_ranks, top_items
from divspa.schemas import EXAMPLES, ITEM_FEATURES, ITEM_NEIGHBOURS, USER_FEATURES

SCORES_AT_ONCE = 8_000_000


@dataclass(frozen=True)
class HeldOut:
    """E clicks of the split `valid`: the user's fields and history then, what the training split knows of the user, and
    the clicked item. `listed_V` says which item indices are in the catalogue.
    """

    user_features_EF: NDArray[np.int32]
    history_EL: NDArray[np.int32]
    clicked: Lists
    items_E: NDArray[np.int32]
    listed_V: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.items_E)

    @classmethod
    def of(cls, lake: Lake, config: Config, ds: date, listed_V: NDArray[np.bool_]) -> "HeldOut":
        """Read the newest share of a day's."""
        examples = lake.read_day(EXAMPLES, ds).where("split = 'valid'")
        trained = trained_clicks(lake.read_day(USER_FEATURES, ds, as_of="cutoff"), examples)
        rows = held_out_clicks(examples, config.evaluation.events).join(trained, "user_key")
        wanted = "user_features", "history", "clicked", "item_index", "clicked_at"
        found = rows.orderBy("example_id").select(*wanted).toArrow()
        found = newest_of(found, config.publishing.newest, config.clicks).combine_chunks()
        if not len(found):
            nothing = np.zeros((0, 1), np.int32)
            return cls(nothing, nothing, Lists(np.zeros(1, np.int64), nothing[:, 0]), nothing[:, 0], listed_V)
        features, history, clicked, items = (found.column(place).chunk(0) for place in range(4))
        every = cls(matrix(features), matrix(history), lists_of(clicked), items.to_numpy(), listed_V)
        return every.take(np.flatnonzero(np.isin(every.items_E, np.flatnonzero(listed_V))))

    def take(self, rows_B: NDArray[np.int64]) -> "HeldOut":
        """These of the events."""
        fields, history, items = self.user_features_EF[rows_B], self.history_EL[rows_B], self.items_E[rows_B]
        return HeldOut(fields, history, self.clicked.take(rows_B), items, self.listed_V)

    def blocks(self) -> Iterator["HeldOut"]:
        """The events in parts whose scores of the whole catalogue fit the memory."""
        if not len(self):
            return
        for rows_B in np.array_split(np.arange(len(self)), -(-len(self) * len(self.listed_V) // SCORES_AT_ONCE)):
            yield self.take(rows_B)


Scorer = Callable[[HeldOut], np.ndarray]


def ranks_of_channels(
    channels: Sequence[Channel], scorers: Mapping[str, Scorer], events: HeldOut, depth: int
) -> dict[Channel, NDArray[np.int64]]:
    """The rank of each held-out click in each channel's lists, from 0; ties count against it [E].

    What the training split knows of a user is not in the lists. Two channels are fused of their best `depth` items.
    """
    fused = {model for channel in channels if channel.is_fused for model in channel.models}
    found: dict[Channel, list[np.ndarray]] = {channel: [] for channel in channels}
    for block in events.blocks():
        hidden = block.clicked.owners, block.clicked.values_M
        scores = {model: score(block) for model, score in scorers.items()}
        tops, gains = {}, {}
        for model, scores_BV in scores.items():
            require_finite(scores_BV, model)
            worst = scores_BV.min() - 1
            unlisted_BV = np.broadcast_to(~events.listed_V, scores_BV.shape).copy()
            unlisted_BV[hidden] = True
            if model in fused:
                tops[model] = top_items(np.where(unlisted_BV, -np.inf, scores_BV), depth)
                gains[model] = reciprocal_ranks(tops[model], scores_BV.shape[1])
            scores_BV[unlisted_BV] = worst
        for channel in channels:
            first, *others = channel.models
            scores_BV = scores[first]
            if others:
                parts = (tops[first], tops[others[0]]), (gains[first], gains[others[0]])
                found[channel].append(fused_ranks(*parts, channel.weights, scores_BV, block.items_E))
            else:
                own_B1 = scores_BV[np.arange(len(block)), block.items_E][:, None]
                found[channel].append((scores_BV >= own_B1).sum(axis=1) - 1)
    return {channel: np.concatenate([np.zeros(0, np.int64), *ranks]) for channel, ranks in found.items()}


def require_finite(scores_BV: NDArray[np.floating], model: str) -> None:
    """Raise TrainingError for a score that is not: its rank would mean nothing."""
    if not np.isfinite(scores_BV).all():
        raise TrainingError(f"A held-out score of {model} is not finite", remedy="lower training.learning_rate")


def scorers_of(lake: Lake, ds: date, models: Sequence[str], popularity_V: NDArray[np.int64]) -> dict[str, Scorer]:
    """How each of the day's models scores the item indices [E, V]."""
    towers = {m: Checkpoint.load(checkpoint_folder(lake.root, ds, m)).restore() for m in models if m != LINEAR}
    scorers = {LINEAR: linear_scorer(lake, ds, popularity_V)} if LINEAR in models else {}
    if towers:
        files = lake.files(ITEM_FEATURES, ds, lake.version(ITEM_FEATURES))
        features_VF = read_items(files, max(tower.layout.items for tower in towers.values())).features_VF
        scorers |= {model: tower_scorer(tower, features_VF) for model, tower in towers.items()}
    return scorers


def tower_scorer(module: TwoTowerModule, features_VF: torch.Tensor) -> Scorer:
    """By a model's towers, over items of these encoded fields."""
    with torch.no_grad():
        items_VD = module.encode_items(torch.arange(len(features_VF)), features_VF)

    @torch.no_grad()
    def score(events: HeldOut) -> np.ndarray:
        users = torch.from_numpy(events.user_features_EF), torch.from_numpy(events.history_EL)
        return (module.encode_users(*users) @ items_VD.T).numpy()[:, : len(events.listed_V)]

    return score


def linear_scorer(lake: Lake, ds: date, popularity_V: NDArray[np.int64]) -> Scorer:
    """By the linear model's weights; what it says nothing of follows by its clicks."""
    weights = Weights.read(lake.read_day(ITEM_NEIGHBOURS, ds), size=len(popularity_V))

    def score(events: HeldOut) -> np.ndarray:
        return weights.filled_up(events.clicked, popularity_V)

    return score
