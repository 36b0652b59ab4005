"""The sampled softmax (Eq. 1) and the two mix-up losses (Eq. 2 and 3)."""

from typing import Any

import torch
from torch.nn.functional import softplus

from schemas.augmented_positives import SCORE_FLOOR

# The logit of a masked negative: finite, so that a row of nothing else has a softmax; exp of it is 0.
NOTHING = -1e30


def sampled_softmax(
    positives_BP: torch.Tensor, negatives_BN: torch.Tensor, hits: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """Eq. 1 for each of P positives against the negatives of its row. Returns losses [B, P].

    Both hold logits, omega * s(u, v); `negatives_BN` is overwritten. `hits` names the (row, column) of negatives that
    are positives of the row: they count for nothing. With the negatives' log-sum-exp z, Eq. 1 is
    log(1 + exp(z - logit)), so P positives share one z.
    """
    z_B1 = LogSumExp.apply(negatives_BN.index_put_(hits, negatives_BN.new_tensor(NOTHING)))
    return softplus(z_B1 - positives_BP)


class LogSumExp(torch.autograd.Function):
    """log(sum(exp(x))) of each row of x [B, N] as [B, 1], in fewer passes over the largest tensor than torch's.

    The gradient is the softmax itself, so that is all that is computed and kept: its largest entry is exp(max - z).
    """

    @staticmethod
    def forward(ctx: Any, logits_BN: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        shares_BN = torch.softmax(logits_BN, 1)
        ctx.save_for_backward(shares_BN)
        return logits_BN.amax(1, keepdim=True) - shares_BN.amax(1, keepdim=True).log()

    @staticmethod
    def backward(ctx: Any, slope_B1: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (shares_BN,) = ctx.saved_tensors
        return slope_B1 * shares_BN


def mix_up_outputs(losses_BP: torch.Tensor, weights_BP: torch.Tensor, beta: float) -> torch.Tensor:
    """Eq. 3 for each row [B]: the clicked item's loss plus beta times the weighted losses of the added positives.

    The clicked item is in column 0. Without added positives this is Eq. 1.
    """
    return losses_BP[:, 0] + beta * (weights_BP[:, 1:] * losses_BP[:, 1:]).sum(1)


def mix_up_representations(logits_BP: torch.Tensor, weights_BP: torch.Tensor, beta: float) -> torch.Tensor:
    """Eq. 2: the logits [B, 1] of v + beta * sum_i w_i v_i, which is linear in the logits of the clicked item v and of
    the added v_i.
    """
    return (logits_BP[:, :1] + beta * (weights_BP[:, 1:] * logits_BP[:, 1:]).sum(1, keepdim=True)).contiguous()


def student_weights(scores_BP: torch.Tensor, weights_BP: torch.Tensor) -> torch.Tensor:
    """The weights of Eq. 3 from the model in training itself [B, P]; padding keeps 0, and no gradient flows.

    Scores are raised to at least SCORE_FLOOR, as the teacher's are (`weighting: clamp`).
    """
    real_BP = weights_BP[:, 1:] > 0
    raised_BP = scores_BP.detach()[:, 1:].clamp(min=SCORE_FLOOR) * real_BP
    share_BP = raised_BP / raised_BP.sum(1, keepdim=True).clamp(min=SCORE_FLOOR)
    return torch.cat([weights_BP[:, :1], share_BP], 1)
