"""What a training step draws and reads, and that it leaves a GPU alone."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode

from divspa.augmentation.settings import DivSPA
from divspa.data.batches import Batch
from divspa.data.items import Items
from divspa.models.layout import FieldSlot, Layout
from divspa.models.registry import build_model
from divspa.models.settings import Model
from divspa.training.negatives import NegativeSampler
from divspa.training.objective import Objective, sampled_history
from divspa.training.optimizer import summed_rows_unseen
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
        batch = Batch(**rows, importance_B=torch.tensor(importance))
        return objective.loss(towers, batch, objective.draw(batch)).item()

    assert loss(4, 0) != pytest.approx(loss(0, 4)), "two rows that differ"
    assert loss(3, 1) == pytest.approx(0.75 * loss(4, 0) + 0.25 * loss(0, 4), rel=1e-5)


def test_a_short_history_is_read_whole() -> None:
    history_BL = torch.tensor([[3, 4, 0]])
    items_BL, ages_BL = sampled_history(history_BL, 50, torch.Generator())
    assert items_BL is history_BL and ages_BL is None


@pytest.mark.parametrize("sampling", ["uniform", "popularity", "in_batch", "mixed"])
@pytest.mark.parametrize("name", ["youtube_dnn", "fm", "deepfm", "autoint"])
def test_on_a_gpu_nothing_of_a_loss_waits_for_a_size_or_a_value(name: str, sampling: str) -> None:
    """Tensors of a GPU that is only thought of refuse whatever the host would have to know of them."""
    slots = (FieldSlot(name="a", width=1, cardinality=9), FieldSlot(name="b", width=3, cardinality=9))
    layout, settings = Layout(items=40, history_length=6, user=slots, item=slots), Training(negative_sampling=sampling)
    towers, fields_VF = build_model(Model(name=name), layout), torch.randint(2, 9, (40, 4), dtype=torch.int32)
    items = Items(fields_VF, torch.ones(40, dtype=torch.int64), torch.ones(40, dtype=torch.int64), torch.arange(40) > 1)
    sampler = NegativeSampler(items, settings, torch.Generator().manual_seed(1))
    objective = Objective(fields_VF, sampler, settings, DivSPA(), hidden_ids=0.1)
    ids_BP = torch.randint(2, 40, (8, 3), dtype=torch.int32)
    histories_BL = torch.randint(2, 40, (8, 6), dtype=torch.int32)
    batch = Batch(torch.arange(8), fields_VF[:8], histories_BL, ids_BP, torch.ones(8, 3), torch.ones(8))
    draw = objective.draw(batch)
    gpu = FakeTensorMode(allow_non_fake_inputs=True)

    def there(parts: Any) -> Any:
        moved = {name: gpu.from_tensor(part) for name, part in vars(parts).items() if part is not None}
        return replace(parts, **{name: part.to("cuda") for name, part in moved.items()})

    with gpu:
        for module in towers.modules():
            for held in (module._parameters, module._buffers):
                held |= {name: gpu.from_tensor(part).to("cuda") for name, part in held.items() if part is not None}
        loss = replace(objective, item_features_VF=gpu.from_tensor(fields_VF).to("cuda")).loss
        assert loss(towers, there(batch), there(draw)).device.type == "cuda"
        rows_M, values_MD = (gpu.from_tensor(part).to("cuda") for part in (ids_BP.flatten(), torch.ones(24, 2)))
        assert summed_rows_unseen(rows_M, values_MD)[1].shape == (24, 2)
        with pytest.raises(DynamicOutputShapeException):
            torch.unique(rows_M)
