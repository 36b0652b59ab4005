"""What a training step reads of a long history."""

import torch

from divspa.training.objective import sampled_history


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


def test_a_short_history_is_read_whole() -> None:
    history_BL = torch.tensor([[3, 4, 0]])
    items_BL, ages_BL = sampled_history(history_BL, 50, torch.Generator())
    assert items_BL is history_BL and ages_BL is None
