"""UFNRec: negatives that keep outscoring the positive are taken for positives (Liu et al. 2023)."""

import copy
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import softplus

from divspa.models.layout import Layout
from divspa.models.two_tower import Step, TowerSettings, TwoTowerModule
from divspa.models.youtube_dnn import YoutubeDNN, YoutubeDNNSettings


class UFNRecSettings(YoutubeDNNSettings):
    """How false negatives are found and learned from.

    `watched` negatives belong to each example for good; one that outscores the positive `patience` times in a row is
    relabelled. `slots` bounds the memory of these counts.
    """

    watched: Annotated[int, Field(ge=1)] = 8
    patience: Annotated[int, Field(ge=1)] = 2
    reverse_weight: Annotated[float, Field(ge=0)] = 0.1
    consistency_weight: Annotated[float, Field(ge=0)] = 0.1
    teacher_decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    teacher_every: Annotated[int, Field(ge=1)] = 20
    slots: Annotated[int, Field(ge=1)] = 1 << 20


class UFNRec(YoutubeDNN):
    """YoutubeDNN that reverses the labels of false negatives, with a consistency term against an averaged teacher.

    A relabelled pair is learned as a positive (their reversed label), and the student's score of it is held to the
    teacher's (their consistency loss). The original's encoder is a sequential one, and it samples one negative a
    position; here the encoder is YoutubeDNN's. The teacher moves every `teacher_every` steps, because averaging whole
    embedding tables at every step would cost more than the training itself.
    """

    Settings: ClassVar[type[TowerSettings]] = UFNRecSettings

    def __init__(self, layout: Layout, settings: UFNRecSettings) -> None:
        super().__init__(layout, settings)
        self.ufn = settings
        self.steps: torch.Tensor
        self.streaks_SW: torch.Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("streaks_SW", torch.zeros(settings.slots, settings.watched, dtype=torch.uint8))
        self.teacher = YoutubeDNN(layout, settings).requires_grad_(False)
        self.teacher.load_state_dict({name: copy.deepcopy(p) for name, p in self.state_dict().items() if _own(name)})

    def auxiliary_loss(self, step: Step) -> torch.Tensor:
        """The reversed labels' loss and the consistency loss, averaged over the batch."""
        items_BW = watched_items(step.keys_B, self.layout, self.ufn.watched)
        scores_BW = _scores(self, step.users_BD, items_BW, step)
        positive_B1 = (step.users_BD * step.positives_BD).sum(1, keepdim=True)
        false_BW = self._update_streaks(step.keys_B, scores_BW.detach() > positive_B1.detach())
        false_BW = (false_BW & ~_clicked(items_BW, step.history_BL)).to(scores_BW.dtype)
        with torch.no_grad():
            teacher_users_BD = self.teacher.encode_users(step.user_features_BF, step.history_BL, step.ages_BL)
            teacher_BW = _scores(self.teacher, teacher_users_BD, items_BW, step)
        reverse_BW = softplus(-step.omega * scores_BW)
        apart_BW = (scores_BW - teacher_BW).square()
        loss_BW = self.ufn.reverse_weight * reverse_BW + self.ufn.consistency_weight * apart_BW
        return (false_BW * loss_BW).sum(1).mean()

    def after_step(self) -> None:
        self.steps += 1
        if self.steps % self.ufn.teacher_every == 0:
            student = dict(self.named_parameters())
            weight = 1 - self.ufn.teacher_decay**self.ufn.teacher_every
            for name, parameter in self.teacher.named_parameters():
                parameter.lerp_(student[name].detach(), weight)

    def _update_streaks(self, keys_B: torch.Tensor, outscored_BW: torch.Tensor) -> torch.Tensor:
        """Count on, or begin again at 0. Returns which negatives [B, W] have been relabelled."""
        slots_B = keys_B.remainder(self.ufn.slots)
        longer_BW = (self.streaks_SW[slots_B] + 1).clamp(max=self.ufn.patience) * outscored_BW
        self.streaks_SW[slots_B] = longer_BW.to(torch.uint8)
        return longer_BW >= self.ufn.patience


def watched_items(keys_B: torch.Tensor, layout: Layout, count: int) -> torch.Tensor:
    """The negatives that belong to each example [B, count]: a hash of the example, so they need no memory."""
    mixed_BW = keys_B.unsqueeze(1) * 0x9E3779B1 + torch.arange(1, count + 1, device=keys_B.device) * 0x85EBCA77
    mixed_BW = (mixed_BW ^ (mixed_BW >> 29)) * 0x27D4EB2F
    return layout.first_item + (mixed_BW ^ (mixed_BW >> 31)).remainder(layout.items - layout.first_item)


def _scores(model: TwoTowerModule, users_BD: torch.Tensor, items_BW: torch.Tensor, step: Step) -> torch.Tensor:
    items_U, place_BW = torch.unique(items_BW, return_inverse=True)
    vectors_UD = model.encode_items(items_U, step.item_features(items_U))
    return torch.einsum("bd,bwd->bw", users_BD, nn.functional.embedding(place_BW, vectors_UD))


def _clicked(items_BW: torch.Tensor, history_BL: torch.Tensor) -> torch.Tensor:
    return (items_BW.unsqueeze(2) == history_BL.unsqueeze(1)).any(2)


def _own(name: str) -> bool:
    return name.partition(".")[0] not in {"teacher", "steps", "streaks_SW"}
