"""Negatives that a batch shares."""

import torch


class UniformNegatives:
    """Draws n negatives from the catalogue, each item alike, one draw for the whole batch (Section 3.1)."""

    def __init__(self, first_item: int, items: int, count: int, generator: torch.Generator) -> None:
        self.first_item, self.items, self.count = first_item, items, count
        self.generator = generator
        self.column = torch.full((items,), -1, dtype=torch.int64)

    def draw(self) -> torch.Tensor:
        """Return up to `count` distinct item indices [N]; repeats of a draw are dropped."""
        drawn = torch.randint(self.first_item, self.items, (self.count,), generator=self.generator)
        return drawn.unique()

    def accidental_hits(self, negatives_N: torch.Tensor, items_BP: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Which negatives are a positive of which row, as (rows, columns) of [B, N]; padding 0 is never a hit."""
        self.column[negatives_N] = torch.arange(len(negatives_N))
        column_BP = self.column[items_BP.long()]
        self.column[negatives_N] = -1
        rows, places = torch.nonzero(column_BP >= 0, as_tuple=True)
        return rows, column_BP[rows, places]
