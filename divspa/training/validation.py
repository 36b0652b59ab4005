"""Early stopping: how well a model ranks the last training click of some users, which it is not trained on."""

from dataclasses import dataclass

import numpy as np
import torch

from divspa.errors import TrainingError
from divspa.gains import gains
from divspa.models.two_tower import TwoTowerModule
from divspa.schemas.vocabulary import FIRST_INDEX

SCORES_AT_ONCE = 8_000_000


@dataclass(frozen=True)
class Validation:
    """E held-out examples: the user's encoded fields and history, the clicked item, and whose they are, if known."""

    user_features_EF: np.ndarray
    history_EL: np.ndarray
    items_E: np.ndarray
    users_E: np.ndarray | None = None

    def users_with_history(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Fields and history of the examples whose user had clicked before."""
        with_history_E = self.history_EL.any(1)
        features_EF, history_EL = self.user_features_EF[with_history_E], self.history_EL[with_history_E]
        return torch.from_numpy(features_EF), torch.from_numpy(history_EL)

    def __len__(self) -> int:
        return len(self.items_E)

    def score(self, model: TwoTowerModule, item_features_VF: torch.Tensor, criterion: str = "ndcg") -> float:
        """The mean gain of the events, past items left out of the ranking. Raises TrainingError as `ranks` does.

        Without a cut every event counts, and so the figure is steadier than a hit rate of as few events.
        """
        return float(gains(self.ranks(model, item_features_VF), criterion).mean())

    @torch.no_grad()
    def ranks(self, model: TwoTowerModule, item_features_VF: torch.Tensor) -> np.ndarray:
        """The rank of each clicked item in the whole catalogue without the history, from 0; ties count against it [E].

        Raises TrainingError when a score is not finite.
        """
        device = item_features_VF.device
        items_VD = model.encode_items(torch.arange(len(item_features_VF), device=device), item_features_VF)
        ranks = []
        for rows in torch.arange(len(self)).split(max(1, SCORES_AT_ONCE // len(items_VD))):
            features_BF, history_BL, clicked_B = (
                torch.from_numpy(part[rows.numpy()]).to(device)
                for part in (self.user_features_EF, self.history_EL, self.items_E)
            )
            scores_BV = model.encode_users(features_BF, history_BL) @ items_VD.T
            if not torch.isfinite(scores_BV).all():
                raise TrainingError("A validation score is not finite", remedy="lower training.learning_rate")
            own_B1 = scores_BV.gather(1, clicked_B.long().unsqueeze(1))
            scores_BV[:, :FIRST_INDEX] = -torch.inf
            scores_BV.scatter_(1, history_BL.long(), -torch.inf)
            ahead_B = (scores_BV >= own_B1).sum(1) - 1
            ranks.append(ahead_B.clamp(min=0).cpu())
        return torch.cat(ranks).numpy()
