"""What a training step reads of a long history."""

import pytest
import torch

from divspa.data.batches import Batch
from divspa.data.items import Items
from divspa.models.layout import Layout
from divspa.models.registry import build_model
from divspa.models.settings import Model
from divspa.training.negatives import NegativeSampler
from divspa.training.objective import Objective, sampled_history
from divspa.training.settings import Training


def test_a_sampled_history_keeps_order_shares_and_ages() -> None:
    lengths = [200, 51, 50, 7, 0]
    history_BL = torch.zeros(len(lengths), 200, dtype=torch.int32)
    for row, length in enumerate(lengths):
        history_BL[row, :length] = torch.arange(2, length + 2)
    items_BS, ages_BS = sampled_history(history_BL, 50, torch.Generator().manual_seed(4))
    assert ages_BS is not None and items_BS.shape == ages_BS.shape == (5, 50)
    for row, length in enumerate(lengths):
        real_S = items_BS[row] > 0
        assert real_S.sum() == min(length, 50)
        assert torch.equal(ages_BS[row][real_S], length + 1 - items_BS[row][real_S])
        assert (items_BS[row][real_S].diff() >= 0).all()
    assert torch.equal((items_BS[0] - 2) // 4, torch.arange(50))


def test_rows_count_by_their_importance_over_its_mean() -> None:
    model = Model(name="youtube_dnn")
    layout = Layout(items=12, history_length=3, user=(), item=())
    torch.manual_seed(0)
    towers = build_model(model, layout)
    clicks_V = torch.ones(12, dtype=torch.int64)
    items = Items(torch.zeros(12, 0, dtype=torch.int32), clicks_V, clicks_V, torch.arange(12) >= 2)
    rows = {
        "keys_B": torch.arange(2),
        "user_features_BF": torch.zeros(2, 0, dtype=torch.int32),
        "history_BL": torch.tensor([[3, 4, 0], [5, 0, 0]], dtype=torch.int32),
        "items_BP": torch.tensor([[6], [7]], dtype=torch.int32),
        "weights_BP": torch.ones(2, 1),
    }

    def loss(*importance: float) -> float:
        sampler = NegativeSampler(items, Training(), torch.Generator().manual_seed(1))
        objective = Objective(items.features_VF, sampler, Training(), None, mean_importance=2.0)
        return objective.loss(towers, Batch(**rows, importance_B=torch.tensor(importance))).item()

    assert loss(4, 0) != pytest.approx(loss(0, 4)), "two rows that differ"
    assert loss(3, 1) == pytest.approx(0.75 * loss(4, 0) + 0.25 * loss(0, 4), rel=1e-5)


def test_a_short_history_is_read_whole() -> None:
    history_BL = torch.tensor([[3, 4, 0]])
    items_BL, ages_BL = sampled_history(history_BL, 50, torch.Generator())
    assert items_BL is history_BL and ages_BL is None
