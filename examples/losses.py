"""The mix-up loss of DivSPA in a training loop of one's own (Eq. 1 and 3), on plain tensors."""

import torch

from divspa.losses import mix_up_outputs, sampled_softmax

OMEGA, BETA = 20.0, 0.3  # inverse temperature of the softmax; weight of the added positives
USERS, ITEMS, ADDED, NEGATIVES = 200, 100, 3, 50


def main(steps: int = 60) -> list[float]:
    """Losses of a model whose users click one item and have three added positives near it."""
    torch.manual_seed(1)
    users, items = torch.nn.Embedding(USERS, 16), torch.nn.Embedding(ITEMS, 16)
    optimizer = torch.optim.Adam([*users.parameters(), *items.parameters()], lr=0.05)
    clicked_B = torch.randint(ITEMS, (USERS,))
    positives_BP = (clicked_B[:, None] + torch.arange(1 + ADDED)) % ITEMS
    weights_BP = torch.cat([torch.ones(USERS, 1), torch.full((USERS, ADDED), 1 / ADDED)], 1)
    losses = []
    for _ in range(steps):
        negatives_N = torch.randint(ITEMS, (NEGATIVES,))
        users_BD = torch.nn.functional.normalize(users.weight)
        items_VD = torch.nn.functional.normalize(items.weight)
        positive_BP = OMEGA * torch.einsum("bd,bpd->bp", users_BD, items_VD[positives_BP])
        negative_BN = OMEGA * users_BD @ items_VD[negatives_N].T
        # A negative that is a positive of the row counts for nothing.
        hits = (positives_BP[:, :, None] == negatives_N).any(1).nonzero(as_tuple=True)
        losses_BP = sampled_softmax(positive_BP, negative_BN, hits)
        loss = mix_up_outputs(losses_BP, weights_BP, BETA).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}")
    return losses


if __name__ == "__main__":
    main()
