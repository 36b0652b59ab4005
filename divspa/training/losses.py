"""The sampled softmax (Eq. 1) and the mix-up loss (Eq. 3)."""

import torch
from torch.nn.functional import softplus


def sampled_softmax(
    positives_BP: torch.Tensor, negatives_BN: torch.Tensor, masked_BN: torch.Tensor, omega: float
) -> torch.Tensor:
    """Eq. 1 for each of P positives against the negatives of its row. Returns losses [B, P].

    Scores are s(u, v); `omega` is the inverse temperature. A masked negative, one that is a positive of the row, counts
    for nothing. With the negatives' log-sum-exp z, Eq. 1 is log(1 + exp(z - omega * s)), so P positives share one z.
    """
    logits_BN = (omega * negatives_BN).masked_fill(masked_BN, float("-inf"))
    z_B1 = torch.logsumexp(logits_BN, dim=1, keepdim=True)
    return softplus(z_B1 - omega * positives_BP)


def mix_up(losses_BP: torch.Tensor, weights_BP: torch.Tensor, beta: float) -> torch.Tensor:
    """Eq. 3: the clicked item's loss plus beta times the weighted losses of the added positives, averaged over rows.

    The clicked item is in column 0. Without added positives this is the mean of Eq. 1.
    """
    added_B = (weights_BP[:, 1:] * losses_BP[:, 1:]).sum(1)
    return (losses_BP[:, 0] + beta * added_B).mean()
