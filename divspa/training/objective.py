"""The loss of a batch: Eq. 1 for the base, Eq. 2 or Eq. 3 with augmented positives."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn.functional import embedding

from divspa.augmentation.settings import DivSPA
from divspa.data.batches import Batch, sent
from divspa.losses import mix_up_outputs, mix_up_representations, sampled_softmax, student_weights
from divspa.models.two_tower import Step, TwoTowerModule
from divspa.schemas.vocabulary import UNKNOWN
from divspa.training.negatives import NegativeSampler
from divspa.training.settings import Training


@dataclass(frozen=True)
class Draw:
    """What one step draws: U distinct items, and the places in them of B times P positives and of N negatives.

    `told_U` are the ids that the model is told, `hit_rows` and `hit_columns` the negatives that are positives of a row,
    and log q is None where q is flat.
    """

    items_U: torch.Tensor
    told_U: torch.Tensor
    place_BP: torch.Tensor
    place_N: torch.Tensor
    hit_rows: torch.Tensor
    hit_columns: torch.Tensor
    log_q_BP: torch.Tensor | None
    log_q_N: torch.Tensor | None
    history_BL: torch.Tensor
    ages_BL: torch.Tensor | None

    def to(self, device: torch.device) -> "Draw":
        """The same draw on a device."""
        given: dict[str, Any] = {name: part for name, part in vars(self).items() if part is not None}
        return replace(self, **{name: sent(tensor, device) for name, tensor in given.items()})


@dataclass(frozen=True)
class Objective:
    """What is minimised. `item_features_VF` has the encoded fields of item index v in row v; a base has no `divspa`.

    Rows count by their importance over its mean, so that the learning rate means the same whatever the weights. The
    share `hidden_ids` of a step's items is encoded by their fields alone.
    """

    item_features_VF: torch.Tensor
    sampler: NegativeSampler
    training: Training
    divspa: DivSPA | None = None
    mean_importance: float = 1.0
    hidden_ids: float = 0.0

    def loss(self, model: TwoTowerModule, batch: Batch, draw: Draw) -> torch.Tensor:
        """The mean loss of a batch and its draw, both on the model's device. The item tower runs once for each item."""
        vectors_UD = model.encode_items(draw.told_U, self.item_features_VF[draw.items_U])
        users_BD = model.encode_users(batch.user_features_BF, draw.history_BL, draw.ages_BL)
        scale = self.training.omega if model.cosine else 1.0
        # embedding() rather than indexing, because its gradient is summed several times faster.
        positives_BPD = embedding(draw.place_BP, vectors_UD)
        scores_BP = torch.einsum("bd,bpd->bp", users_BD, positives_BPD)
        # omega is the inverse temperature of every score: scaling the user vectors scales them all.
        negatives_DN = embedding(draw.place_N, vectors_UD).T
        if draw.log_q_BP is None or draw.log_q_N is None:
            negatives_BN, positives_BP = (scale * users_BD) @ negatives_DN, scale * scores_BP
        else:
            negatives_BN = torch.addmm(-draw.log_q_N, scale * users_BD, negatives_DN)
            positives_BP = scale * scores_BP - draw.log_q_BP
        losses_B = self._mix(scores_BP, positives_BP, negatives_BN, (draw.hit_rows, draw.hit_columns), batch.weights_BP)
        loss = (batch.importance_B / self.mean_importance * losses_B).mean()
        step = Step(
            batch.keys_B,
            batch.user_features_BF,
            draw.history_BL,
            draw.ages_BL,
            users_BD,
            positives_BPD[:, 0],
            self.item_features_VF.__getitem__,
            scale,
            self.sampler.generator,
        )
        extra = model.auxiliary_loss(step)
        return loss if extra is None else loss + extra

    def draw(self, batch: Batch) -> Draw:
        """What the step of a batch needs beside it, found on the host, where both lie.

        The sizes of a draw are known only when it is made; found on a GPU, the host would wait for each.
        """
        negatives = self.sampler.draw(batch.items_BP[:, 0])
        rows, columns = self.sampler.hits(negatives.items_N, torch.cat([batch.items_BP, batch.history_BL], 1))
        items_BP, log_q_V = batch.items_BP.long(), negatives.log_q_V
        items_U, place = torch.unique(torch.cat([items_BP.flatten(), negatives.items_N]), return_inverse=True)
        place_BP, place_N = place[: items_BP.numel()].view_as(items_BP), place[items_BP.numel() :]
        told_U = self._told_ids(items_U)
        log_q = (None, None) if log_q_V is None else (log_q_V[items_BP], log_q_V[negatives.items_N])
        history = sampled_history(batch.history_BL, self.training.history_sample, self.sampler.generator)
        return Draw(items_U, told_U, place_BP, place_N, rows, columns, *log_q, *history)

    def _told_ids(self, items_U: torch.Tensor) -> torch.Tensor:
        """The ids that the model is told: a share of them is unknown, so that it learns what fields alone say.

        So an item that nobody has clicked has a vector too (Volkovs et al. 2017, for whole embeddings).
        """
        if not self.hidden_ids:
            return items_U
        drawn_U = torch.rand(len(items_U), generator=self.sampler.generator)
        return torch.where(drawn_U < self.hidden_ids, UNKNOWN, items_U)

    def _mix(
        self,
        scores_BP: torch.Tensor,
        positives_BP: torch.Tensor,
        negatives_BN: torch.Tensor,
        hits: tuple[torch.Tensor, torch.Tensor],
        weights_BP: torch.Tensor,
    ) -> torch.Tensor:
        if self.divspa is None:
            return sampled_softmax(positives_BP, negatives_BN, hits, in_place=True)[:, 0]
        if self.divspa.weights == "student":
            weights_BP = student_weights(scores_BP, weights_BP)
        if self.divspa.mixup == "representation":
            mixed_B1 = mix_up_representations(positives_BP, weights_BP, self.divspa.beta)
            return sampled_softmax(mixed_B1, negatives_BN, hits, in_place=True)[:, 0]
        losses_BP = sampled_softmax(positives_BP, negatives_BN, hits, in_place=True)
        return mix_up_outputs(losses_BP, weights_BP, self.divspa.beta)


def sampled_history(
    history_BL: torch.Tensor, size: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """At most `size` items of each history and their ages, drawn anew in every step; 0 takes all, without ages.

    A longer history tells more of a user, but reading all of it in every step costs time and is learned by heart. One
    item is drawn from each of `size` stretches of equal length, so old and recent ones keep their shares and order.
    """
    length = history_BL.shape[1]
    if not 0 < size < length:
        return history_BL, None
    real_B1 = (history_BL != 0).sum(1, keepdim=True)
    stretch_S = torch.arange(size)
    drawn_BS = torch.rand(len(history_BL), size, generator=generator)
    place_BS = ((stretch_S + drawn_BS) * (real_B1 / size)).long().clamp(max=length - 1)
    place_BS = torch.where(real_B1 > size, place_BS, stretch_S)
    return history_BL.gather(1, place_BS), (real_B1 - 1 - place_BS).clamp(min=0)
