"""Negatives that a batch shares, and the correction for how they were drawn."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from divspa.data.items import Items
from divspa.schemas.vocabulary import FIRST_INDEX
from divspa.training.settings import Training


@dataclass(frozen=True)
class Negatives:
    """One draw: N distinct items, and for each of them and of the items [B, P] log q, or None where q is flat."""

    items_N: torch.Tensor
    log_q_V: torch.Tensor | None


class NegativeSampler:
    """Draws one set of negatives for a whole batch, by `training.negative_sampling`; all on the host.

    `uniform`: each clicked item alike (Section 3.1). `popularity`: by weighted training clicks to the power
    `popularity_power`. `in_batch`: the clicked items of the batch. `mixed`: the batch's and uniform ones together (Yang
    et al. 2020). All but uniform are corrected by log q, the log of how often an item is expected in a draw, which is
    taken off a logit after omega has scaled it (Yi et al. 2019); for `mixed`, q is the mixture's.
    `gathered` brings the clicked items of all processes that train together into each.
    """

    def __init__(
        self,
        items: Items,
        settings: Training,
        generator: torch.Generator,
        gathered: Callable[[torch.Tensor], torch.Tensor] = lambda clicked_B: clicked_B,
    ) -> None:
        self.kind, self.count, self.generator = settings.negative_sampling, settings.negatives, generator
        self.gathered = gathered
        # What nobody clicked is no positive either, so that a model would learn of it that it is bad, and no more.
        self.catalogue_I = (items.listed_V & (items.clicks_V > 0)).nonzero().squeeze(1)
        self.last = len(items.listed_V) - 1
        self.column_V = torch.full((self.last + 1,), -1)
        clicks_V = items.clicks_V.double()
        powered_V = torch.where(items.listed_V, items.popularity_V.double() ** settings.popularity_power, 0.0)
        powered_V /= powered_V.sum()
        self.cumulative_V = powered_V.cumsum(0)
        self.log_q_V = self._log_q(clicks_V / clicks_V.sum(), powered_V, settings.batch_size)

    def draw(self, clicked_B: torch.Tensor) -> Negatives:
        """Draw for a batch whose clicked items are `clicked_B`; repeats of a draw are dropped."""
        parts = []
        if self.kind in ("uniform", "mixed"):
            drawn_N = torch.randint(len(self.catalogue_I), (self.count,), generator=self.generator)
            parts.append(self.catalogue_I[drawn_N])
        if self.kind == "popularity":
            chances_N = torch.rand(self.count, dtype=torch.float64, generator=self.generator)
            parts.append(torch.searchsorted(self.cumulative_V, chances_N).clamp(FIRST_INDEX, self.last))
        if self.kind in ("in_batch", "mixed"):
            parts.append(self.gathered(clicked_B.long()))
        return Negatives(torch.cat(parts).unique(), self.log_q_V)

    def hits(self, negatives_N: torch.Tensor, known_BK: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Which negatives are known positives of which row, as (rows, columns) of [B, N]; padding 0 is never a hit."""
        self.column_V[negatives_N] = torch.arange(len(negatives_N))
        column_BK = self.column_V[known_BK.long()]
        self.column_V[negatives_N] = -1
        rows, places = torch.nonzero(column_BK >= 0, as_tuple=True)
        return rows, column_BK[rows, places]

    def _log_q(self, chance_V: torch.Tensor, powered_V: torch.Tensor, batch_size: int) -> torch.Tensor | None:
        uniform = self.count / len(self.catalogue_I)
        expected_V = {
            "uniform": None,
            "popularity": self.count * powered_V,
            "in_batch": batch_size * chance_V,
            "mixed": uniform + batch_size * chance_V,
        }[self.kind]
        return None if expected_V is None else expected_V.clamp(min=1e-12).log().float()
