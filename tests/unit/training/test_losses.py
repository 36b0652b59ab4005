import math

import pytest
import torch

from divspa.errors import ContractError
from divspa.losses import mix_up_outputs, mix_up_representations, sampled_softmax, student_weights


def test_sampled_softmax_is_equation_one() -> None:
    positives, negatives = torch.tensor([[0.5, -0.2]]), torch.tensor([[0.1, 0.3, -0.4]])
    hits = (torch.tensor([0]), torch.tensor([1]))
    losses = sampled_softmax(10 * positives, 10 * negatives, hits)
    for column, score in enumerate((0.5, -0.2)):
        below = math.exp(10 * score) + math.exp(10 * 0.1) + math.exp(10 * -0.4)
        assert losses[0, column].item() == pytest.approx(-math.log(math.exp(10 * score) / below), rel=1e-5)


def test_a_row_whose_negatives_are_all_masked_has_no_loss_and_no_nan_gradient() -> None:
    positives = torch.tensor([[0.5]], requires_grad=True)
    weights = torch.tensor([[0.1]], requires_grad=True)
    loss = sampled_softmax(positives, 1.0 * weights, (torch.tensor([0]), torch.tensor([0]))).sum()
    loss.backward()
    assert loss.item() == 0
    assert positives.grad is not None and torch.isfinite(positives.grad).all()
    assert weights.grad is not None and torch.isfinite(weights.grad).all()


def test_mix_up_is_equation_three() -> None:
    losses = torch.tensor([[1.0, 2.0, 4.0], [3.0, 1.0, 7.0]])
    weights = torch.tensor([[1.0, 0.75, 0.25], [1.0, 1.0, 0.0]])
    expected = ((1 + 0.5 * (0.75 * 2 + 0.25 * 4)) + (3 + 0.5 * 1)) / 2
    assert mix_up_outputs(losses, weights, beta=0.5).mean().item() == pytest.approx(expected)
    assert mix_up_outputs(losses[:, :1], weights[:, :1], beta=0.5).mean().item() == pytest.approx(2.0)


def test_mix_up_of_representations_is_equation_two() -> None:
    user, items = torch.tensor([0.6, 0.8]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, -0.8]])
    weights, beta, omega = torch.tensor([[1.0, 0.75, 0.25]]), 0.5, 20.0
    mixed_item = items[0] + beta * (0.75 * items[1] + 0.25 * items[2])
    logits = omega * (items @ user).unsqueeze(0)
    assert mix_up_representations(logits, weights, beta).item() == pytest.approx(omega * float(user @ mixed_item))


def test_student_weights_clamp_negative_scores_and_leave_padding_at_zero() -> None:
    scores = torch.tensor([[0.9, 0.3, -0.2, 0.8]], requires_grad=True)
    weights = student_weights(scores, torch.tensor([[1.0, 0.5, 0.5, 0.0]]))
    assert weights[0].tolist() == pytest.approx([1.0, 0.3 / 0.301, 0.001 / 0.301, 0.0])
    assert not weights.requires_grad


def test_the_callers_negatives_stay_as_they_are_and_may_be_leaves() -> None:
    negatives = torch.zeros(2, 3, requires_grad=True)
    hits = (torch.tensor([0]), torch.tensor([1]))
    sampled_softmax(torch.zeros(2, 1), negatives, hits).sum().backward()
    assert negatives.tolist() == [[0, 0, 0], [0, 0, 0]]
    assert negatives.grad is not None and (negatives.grad != 0).tolist() == [[True, False, True], [True] * 3]
    step = torch.zeros(2, 3)
    in_place = sampled_softmax(torch.zeros(2, 1), step, hits, in_place=True)
    assert torch.equal(in_place, sampled_softmax(torch.zeros(2, 1), negatives, hits)) and step[0, 1] < -1e20
    assert sampled_softmax(torch.zeros(1, 1), torch.zeros(1, 1)).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("shape", [(1, 3), (2, 2), (3,)])
def test_weights_of_another_shape_are_refused_and_not_broadcast(shape: tuple[int, ...]) -> None:
    for loss in (mix_up_outputs, mix_up_representations):
        with pytest.raises(ContractError, match=r"one shape \[B, P\]"):
            loss(torch.ones(2, 3), torch.ones(shape), 0.3)
    with pytest.raises(ContractError, match="do not fit"):
        student_weights(torch.ones(2, 3), torch.ones(shape))


def test_positives_and_negatives_of_other_rows_are_refused() -> None:
    for positives in (torch.zeros(2), torch.zeros(3, 1)):
        with pytest.raises(ContractError, match=r"positives \[B, P\] and negatives \[B, N\]"):
            sampled_softmax(positives, torch.zeros(2, 3))
