"""FM: second-order interactions of all features, in the form of an inner product (Rendle 2010)."""

import torch

from divspa.models.embeddings import FieldEmbeddings, ItemEmbeddings
from divspa.models.layout import Layout
from divspa.models.two_tower import TowerSettings, TwoTowerModule


class FM(TwoTowerModule):
    """A factorisation machine over the fields of user and item, searched by its inner product.

    With p_f the embedding of field f (a multi-valued field and the history are averaged first) and w_f its weight, FM
    is sum_f w_f + sum_{f<g} <p_f, p_g>. It splits into <sum of the user's p, sum of the item's p>, the item's own terms
    and the user's own terms. The user's own terms change neither a user's ranking nor Eq. 1 and are left out; the
    item's own are the last place of the item vector, where the user vector holds 1. Vectors have dim + 1 places and no
    unit length.
    """

    cosine = False

    def __init__(self, layout: Layout, settings: TowerSettings) -> None:
        super().__init__(layout, settings)
        self.item_weights = ItemEmbeddings(layout.items, 1)
        self.field_weights = FieldEmbeddings(layout.item, 1)

    def encode_items(self, items_N: torch.Tensor, item_features_NF: torch.Tensor) -> torch.Tensor:
        """Return item vectors [N, dim + 1]."""
        return self.factorised(items_N, item_features_NF, self.item_parts(items_N, item_features_NF))

    def factorised(
        self, items_N: torch.Tensor, item_features_NF: torch.Tensor, parts_NFD: torch.Tensor
    ) -> torch.Tensor:
        """The sum of an item's embeddings, and the terms that are its own [N, dim + 1]."""
        first_order_N1 = self.item_weights(items_N) + self.field_weights(item_features_NF).sum(1)
        sum_ND = parts_NFD.sum(1)
        pairs_N1 = (sum_ND.square() - parts_NFD.square().sum(1)).sum(1, keepdim=True) / 2
        return torch.cat([sum_ND, first_order_N1 + pairs_N1], 1)

    def user_tower(self, parts_BFD: torch.Tensor) -> torch.Tensor:
        """Return user vectors [B, dim + 1]."""
        return torch.nn.functional.pad(parts_BFD.sum(1), (0, 1), value=1.0)
