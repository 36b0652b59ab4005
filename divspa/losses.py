"""The sampled softmax (Eq. 1) and the two mix-up losses (Eq. 2 and 3), on plain tensors.

B rows, P positives of each, the clicked one in column 0, and N negatives. Logits are omega * s(u, v), omega an inverse
temperature: s is 1 at most where vectors have unit length, so without it the softmax is nearly flat. Losses are by row.
Shapes that do not fit are a ContractError.
"""

from typing import Any

import torch
from torch.nn.functional import softplus

from divspa.errors import ContractError
from divspa.schemas.augmented_positives import SCORE_FLOOR

__all__ = ["mix_up_outputs", "mix_up_representations", "sampled_softmax", "student_weights"]

# The logit of a masked negative: finite, so that a row of nothing else has a softmax; exp of it is 0.
NOTHING = -1e30


def sampled_softmax(
    positives_BP: torch.Tensor,
    negatives_BN: torch.Tensor,
    hits: tuple[torch.Tensor, torch.Tensor] | None = None,
    *,
    in_place: bool = False,
) -> torch.Tensor:
    """Eq. 1 for each of P positives against the negatives of its row. Returns losses [B, P].

    Both hold logits, omega * s(u, v). `hits` names the (row, column) of negatives that are positives of the row: they
    count for nothing. With `in_place` they are overwritten, which saves a copy of the largest tensor of a step. With
    the negatives' log-sum-exp z, Eq. 1 is log(1 + exp(z - logit)), so P positives share one z.
    """
    if positives_BP.ndim != 2 or negatives_BN.ndim != 2 or len(positives_BP) != len(negatives_BN):
        raise _misfit("positives [B, P] and negatives [B, N]", positives_BP, negatives_BN)
    if hits is not None:
        put = negatives_BN.index_put_ if in_place else negatives_BN.index_put
        negatives_BN = put(hits, negatives_BN.new_full((), NOTHING))
    z_B1 = LogSumExp.apply(negatives_BN)
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
    _require_alike(losses_BP, weights_BP)
    return losses_BP[:, 0] + beta * (weights_BP[:, 1:] * losses_BP[:, 1:]).sum(1)


def mix_up_representations(logits_BP: torch.Tensor, weights_BP: torch.Tensor, beta: float) -> torch.Tensor:
    """Eq. 2: the logits [B, 1] of v + beta * sum_i w_i v_i, which is linear in the logits of the clicked item v and of
    the added v_i.
    """
    _require_alike(logits_BP, weights_BP)
    return (logits_BP[:, :1] + beta * (weights_BP[:, 1:] * logits_BP[:, 1:]).sum(1, keepdim=True)).contiguous()


def student_weights(scores_BP: torch.Tensor, weights_BP: torch.Tensor) -> torch.Tensor:
    """The weights of Eq. 3 from the model in training itself [B, P]; padding keeps 0, and no gradient flows.

    Scores, s(u, v) and no logits, are raised to at least SCORE_FLOOR, as the teacher's are (`weighting: clamp`).
    """
    _require_alike(scores_BP, weights_BP)
    real_BP = weights_BP[:, 1:] > 0
    raised_BP = scores_BP.detach()[:, 1:].clamp(min=SCORE_FLOOR) * real_BP
    share_BP = raised_BP / raised_BP.sum(1, keepdim=True).clamp(min=SCORE_FLOOR)
    return torch.cat([weights_BP[:, :1], share_BP], 1)


def _require_alike(values_BP: torch.Tensor, weights_BP: torch.Tensor) -> None:
    # Tensors of other shapes would be broadcast, to a loss of something else.
    if values_BP.ndim != 2 or values_BP.shape != weights_BP.shape:
        raise _misfit("values and weights of one shape [B, P]", values_BP, weights_BP)


def _misfit(expected: str, *given: torch.Tensor) -> ContractError:
    found = " and ".join(str(list(each.shape)) for each in given)
    return ContractError("Tensors of a loss do not fit each other", expected=expected, found=found)
