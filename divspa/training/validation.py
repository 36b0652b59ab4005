"""Early stopping: how well a model ranks the last training click of some users, which it is not trained on."""

from dataclasses import dataclass

import numpy as np
import torch

from divspa.models.two_tower import TwoTowerModule
from schemas.vocabulary import FIRST_INDEX

SCORES_AT_ONCE = 8_000_000


@dataclass(frozen=True)
class Validation:
    """E held-out examples: the user's encoded fields and history, and the clicked item."""

    user_features_EF: np.ndarray
    history_EL: np.ndarray
    items_E: np.ndarray

    def __len__(self) -> int:
        return len(self.items_E)

    @torch.no_grad()
    def score(self, model: TwoTowerModule, item_features_VF: torch.Tensor) -> float:
        """NDCG over the whole catalogue without a cut, mean of 1 / log2(rank + 2), past items left out of the ranking.

        Without a cut every event counts, and so the figure is much steadier than a hit rate of as few events.
        """
        device = item_features_VF.device
        items_VD = model.encode_items(torch.arange(len(item_features_VF), device=device), item_features_VF)
        gains = []
        for rows in torch.arange(len(self)).split(max(1, SCORES_AT_ONCE // len(items_VD))):
            features_BF, history_BL, clicked_B = (
                torch.from_numpy(part[rows.numpy()]).to(device)
                for part in (self.user_features_EF, self.history_EL, self.items_E)
            )
            scores_BV = model.encode_users(features_BF, history_BL) @ items_VD.T
            own_B1 = scores_BV.gather(1, clicked_B.long().unsqueeze(1))
            scores_BV[:, :FIRST_INDEX] = -torch.inf
            scores_BV.scatter_(1, history_BL.long(), -torch.inf)
            ahead_B = (scores_BV >= own_B1).sum(1) - 1
            gains.append(1 / torch.log2(ahead_B.clamp(min=0) + 2.0))
        return float(torch.cat(gains).mean())
