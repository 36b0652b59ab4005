"""The loss of a batch: Eq. 1 for the base, Eq. 2 or Eq. 3 with augmented positives."""

from dataclasses import dataclass

import torch
from torch.nn.functional import embedding

from divspa.augmentation.settings import DivSPA
from divspa.data.batches import Batch
from divspa.losses import mix_up_outputs, mix_up_representations, sampled_softmax, student_weights
from divspa.models.two_tower import Step, TwoTowerModule
from divspa.schemas.vocabulary import UNKNOWN
from divspa.training.negatives import NegativeSampler
from divspa.training.settings import Training


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

    def loss(self, model: TwoTowerModule, batch: Batch) -> torch.Tensor:
        """The mean loss of a batch. The item tower runs once for each distinct item."""
        negatives = self.sampler.draw(batch.items_BP[:, 0])
        known_BK = torch.cat([batch.items_BP, batch.history_BL], 1)
        hits = self.sampler.hits(negatives.items_N, known_BK)
        needed = torch.cat([batch.items_BP.flatten().long(), negatives.items_N])
        items_U, place = torch.unique(needed, return_inverse=True)
        vectors_UD = model.encode_items(self._told_ids(items_U), self.item_features_VF[items_U])
        history_BL, ages_BL = sampled_history(batch.history_BL, self.training.history_sample, self.sampler.generator)
        users_BD = model.encode_users(batch.user_features_BF, history_BL, ages_BL)
        scale = self.training.omega if model.cosine else 1.0
        # embedding() rather than indexing, because its gradient is summed several times faster.
        positives_BPD = embedding(place[: batch.items_BP.numel()].view_as(batch.items_BP), vectors_UD)
        scores_BP = torch.einsum("bd,bpd->bp", users_BD, positives_BPD)
        # omega is the inverse temperature of every score: scaling the user vectors scales them all.
        negatives_DN = embedding(place[batch.items_BP.numel() :], vectors_UD).T
        if negatives.log_q_V is None:
            negatives_BN, positives_BP = (scale * users_BD) @ negatives_DN, scale * scores_BP
        else:
            negatives_BN = torch.addmm(-negatives.log_q_V[negatives.items_N], scale * users_BD, negatives_DN)
            positives_BP = scale * scores_BP - negatives.log_q_V[batch.items_BP.long()]
        losses_B = self._mix(scores_BP, positives_BP, negatives_BN, hits, batch.weights_BP)
        loss = (batch.importance_B / self.mean_importance * losses_B).mean()
        step = Step(
            batch.keys_B,
            batch.user_features_BF,
            history_BL,
            ages_BL,
            users_BD,
            positives_BPD[:, 0],
            self.item_features_VF.__getitem__,
            scale,
            self.sampler.generator,
        )
        extra = model.auxiliary_loss(step)
        return loss if extra is None else loss + extra

    def _told_ids(self, items_U: torch.Tensor) -> torch.Tensor:
        """The ids that the model is told: a share of them is unknown, so that it learns what fields alone say.

        So an item that nobody has clicked has a vector too (Volkovs et al. 2017, for whole embeddings).
        """
        if not self.hidden_ids:
            return items_U
        drawn_U = torch.rand(len(items_U), generator=self.sampler.generator).to(items_U.device)
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
    stretch_S = torch.arange(size, device=history_BL.device)
    drawn_BS = torch.rand(len(history_BL), size, generator=generator).to(history_BL.device)
    place_BS = ((stretch_S + drawn_BS) * (real_B1 / size)).long().clamp(max=length - 1)
    place_BS = torch.where(real_B1 > size, place_BS, stretch_S)
    return history_BL.gather(1, place_BS), (real_B1 - 1 - place_BS).clamp(min=0)
