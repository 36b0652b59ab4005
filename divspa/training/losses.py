"""The sampled softmax (Eq. 1) and the two mix-up losses (Eq. 2 and 3)."""

import torch
from torch.nn.functional import softplus

SCORE_FLOOR = 1e-3


def sampled_softmax(
    positives_BP: torch.Tensor, negatives_BN: torch.Tensor, hits: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """Eq. 1 for each of P positives against the negatives of its row. Returns losses [B, P].

    Both hold logits, omega * s(u, v); `negatives_BN` is overwritten. `hits` names the (row, column) of negatives that
    are positives of the row: they count for nothing. With the negatives' log-sum-exp z, Eq. 1 is
    log(1 + exp(z - logit)), so P positives share one z.
    """
    z_B1 = torch.logsumexp(negatives_BN.index_put_(hits, negatives_BN.new_tensor(float("-inf"))), dim=1, keepdim=True)
    return softplus(z_B1 - positives_BP)


def mix_up_outputs(losses_BP: torch.Tensor, weights_BP: torch.Tensor, beta: float) -> torch.Tensor:
    """Eq. 3: the clicked item's loss plus beta times the weighted losses of the added positives, averaged over rows.

    The clicked item is in column 0. Without added positives this is the mean of Eq. 1.
    """
    added_B = (weights_BP[:, 1:] * losses_BP[:, 1:]).sum(1)
    return (losses_BP[:, 0] + beta * added_B).mean()


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
