"""RFM: a base model with self-supervised learning on items (Yao et al. 2021)."""

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch.nn.functional import cross_entropy, dropout

from divspa.models.layout import Layout
from divspa.models.two_tower import Step, TowerSettings
from divspa.models.youtube_dnn import YoutubeDNN, YoutubeDNNSettings


class RFMSettings(YoutubeDNNSettings):
    """The contrastive term: its weight, temperature, items a step, and the dropout within a view."""

    ssl_weight: Annotated[float, Field(ge=0)] = 0.1
    ssl_temperature: Annotated[float, Field(gt=0)] = 0.1
    ssl_items: Annotated[int, Field(ge=2)] = 512
    ssl_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2


class RFM(YoutubeDNN):
    """YoutubeDNN with a contrastive term between two views of uniformly sampled items (their Eq. 1 to 3).

    Every field of an item, its id included, is seen in one of the two views only (random feature masking); within a
    view embeddings are dropped at random; both views pass the item tower that the main loss trains. An item without
    fields has its id in both views, which then differ by dropout alone. Left out: masking by mutual information of the
    fields.
    """

    Settings: ClassVar[type[TowerSettings]] = RFMSettings

    def __init__(self, layout: Layout, settings: RFMSettings) -> None:
        super().__init__(layout, settings)
        self.ssl = settings

    def auxiliary_loss(self, step: Step) -> torch.Tensor:
        """The weighted contrastive loss: each item's first view must find its second among those of all items."""
        first, stop = self.layout.first_item, self.layout.items
        items_N = torch.randint(first, stop, (self.ssl.ssl_items,), generator=step.generator).unique()
        items_N = items_N.to(step.users_BD.device)
        parts_NFD = self.item_parts(items_N, step.item_features(items_N))
        shape = parts_NFD.shape[:2]
        first_NF1 = torch.randint(0, 2, shape, generator=step.generator).unsqueeze(-1).to(parts_NFD)
        masks = (first_NF1, 1 - first_NF1) if shape[1] > 1 else (torch.ones_like(first_NF1),) * 2
        one_ND, two_ND = (self._view(parts_NFD * mask_NF1) for mask_NF1 in masks)
        logits_NN = one_ND @ two_ND.T / self.ssl.ssl_temperature
        return self.ssl.ssl_weight * cross_entropy(logits_NN, torch.arange(len(items_N), device=logits_NN.device))

    def _view(self, parts_NFD: torch.Tensor) -> torch.Tensor:
        return self.item_tower(dropout(parts_NFD, self.ssl.ssl_dropout, self.training))
