"""The training loop: batches in, a trained model and its losses out."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch.nn.functional import embedding

from divspa.config import Training
from divspa.data.batches import Batch
from divspa.errors import TrainingError
from divspa.models.two_tower import TwoTowerModule
from divspa.training.losses import mix_up, sampled_softmax
from divspa.training.negatives import UniformNegatives
from schemas.vocabulary import FIRST_INDEX


@dataclass
class Progress:
    """What a training run tells while it runs and when it has ended."""

    losses: list[float] = field(default_factory=list)
    examples: int = 0
    seconds: float = 0.0


def train(
    model: TwoTowerModule,
    item_features_VF: torch.Tensor,
    epoch_batches: Callable[[int], Iterator[Batch]],
    settings: Training,
    beta: float,
    seed: int,
    report: Callable[[int, float], None],
) -> Progress:
    """Train the model in place by Adam (Section 4.1), and return the mean loss of each epoch.

    `item_features_VF` holds the encoded fields of item index v in row v; `epoch_batches(e)` yields the batches of epoch
    e; `report(examples, loss)` is called after every step. Raises TrainingError when a loss is not finite.
    """
    generator = torch.Generator().manual_seed(seed)
    negatives = UniformNegatives(FIRST_INDEX, model.layout.items, settings.negatives, generator)
    optimizer = torch.optim.Adam(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    progress, started = Progress(), time.perf_counter()
    model.train()
    for epoch in range(settings.epochs):
        total, rows = 0.0, 0
        for batch in epoch_batches(epoch):
            loss = batch_loss(model, item_features_VF, batch, negatives, settings.omega, beta)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            value = loss.item()
            if not math.isfinite(value):
                raise TrainingError(
                    f"The loss is {value} in epoch {epoch}",
                    remedy="lower training.learning_rate or training.omega",
                )
            total, rows = total + value * len(batch), rows + len(batch)
            report(len(batch), value)
        progress.losses.append(total / max(rows, 1))
        progress.examples += rows
    progress.seconds = time.perf_counter() - started
    return progress


def batch_loss(
    model: TwoTowerModule,
    item_features_VF: torch.Tensor,
    batch: Batch,
    negatives: UniformNegatives,
    omega: float,
    beta: float,
) -> torch.Tensor:
    """Eq. 3 of a batch, or Eq. 1 when it holds clicked items only. The item tower runs once for each distinct item."""
    negatives_N = negatives.draw()
    hits = negatives.accidental_hits(negatives_N, batch.items_BP)
    needed = torch.cat([batch.items_BP.flatten().long(), negatives_N])
    items_U, place = torch.unique(needed, return_inverse=True)
    vectors_UD = model.encode_items(items_U, item_features_VF[items_U])
    # omega is the inverse temperature of every score: scaling the user vectors scales them all.
    users_BD = omega * model.encode_users(batch.user_features_BF, batch.history_BL)
    clicked = batch.items_BP.numel()
    # embedding() rather than indexing, because its gradient is summed several times faster.
    positives_BPD = embedding(place[:clicked].view_as(batch.items_BP), vectors_UD)
    positives_BP = torch.einsum("bd,bpd->bp", users_BD, positives_BPD)
    negatives_BN = users_BD @ embedding(place[clicked:], vectors_UD).T
    losses_BP = sampled_softmax(positives_BP, negatives_BN, hits)
    return mix_up(losses_BP, batch.weights_BP, beta)
