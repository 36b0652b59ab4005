import pytest
import torch
from torch import nn

from divspa.training import optimizer as module
from divspa.training.optimizer import RowAdam, summed_rows, summed_rows_unseen


def test_dense_parameters_move_as_by_torch_adam() -> None:
    torch.manual_seed(1)
    ours = nn.Linear(5, 3)
    theirs = nn.Linear(5, 3)
    theirs.load_state_dict(ours.state_dict())
    optimizers = RowAdam(ours.parameters(), 0.01, 0.1), torch.optim.AdamW(theirs.parameters(), 0.01, weight_decay=0.1)
    for _ in range(20):
        inputs = torch.randn(8, 5)
        for layer, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            layer(inputs).square().sum().backward()
            optimizer.step()
    assert torch.allclose(ours.weight, theirs.weight, atol=1e-6)


def unseen(gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return summed_rows_unseen(gradient._indices()[0], gradient._values())


@pytest.mark.parametrize("summed", [summed_rows, unseen])
def test_rows_move_as_by_torch_sparse_adam_and_the_others_stay(summed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "summed_rows", summed)
    torch.manual_seed(1)
    ours, theirs = nn.Embedding(50, 4, sparse=True), nn.Embedding(50, 4, sparse=True)
    theirs.load_state_dict(ours.state_dict())
    before = ours.weight.detach().clone()
    optimizers = RowAdam(ours.parameters(), 0.01), torch.optim.SparseAdam(theirs.parameters(), 0.01)
    for _ in range(20):
        rows = torch.randint(0, 25, (30,))
        for table, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            table(rows).square().sum().backward()
            optimizer.step()
    assert torch.allclose(ours.weight, theirs.weight, atol=1e-6)
    assert torch.equal(ours.weight[25:], before[25:]) and not torch.equal(ours.weight[:25], before[:25])
