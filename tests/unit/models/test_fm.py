from itertools import combinations

import pytest
import torch

from divspa.models.deepfm import DeepFM, DeepFMSettings
from divspa.models.embeddings import RECENCY_RATE, STEPS_A_DOUBLING
from divspa.models.fm import FM
from divspa.models.layout import FieldSlot, Layout
from divspa.models.two_tower import TowerSettings

LAYOUT = Layout(
    items=9,
    history_length=3,
    user=(FieldSlot(name="age", width=1, cardinality=5), FieldSlot(name="city", width=1, cardinality=4)),
    item=(FieldSlot(name="brand", width=1, cardinality=4), FieldSlot(name="tags", width=2, cardinality=6)),
)
USERS = (torch.tensor([[2, 3], [4, 1]], dtype=torch.int32), torch.tensor([[3, 4, 0], [8, 0, 0]], dtype=torch.int32))
ITEMS = (torch.tensor([2, 7, 5]), torch.tensor([[2, 2, 3], [3, 5, 0], [1, 4, 2]], dtype=torch.int32))


def fields_of(model: FM, user: int, item: int) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Every field's embedding and the sum of the item's weights, looked up one by one."""
    past = [model.items.weight[i] for i in USERS[1][user].tolist() if i]
    assert model.history_weights.log_weights is not None
    newest, before = (RECENCY_RATE * model.history_weights.log_weights[[0, STEPS_A_DOUBLING]]).exp().tolist()
    shares = [before / (before + newest), newest / (before + newest)] if len(past) == 2 else [1.0]
    age, city = USERS[0][user].tolist()
    brand, *tags = ITEMS[1][item].tolist()
    known = [4 + tag for tag in tags if tag]
    embedded = [
        sum((share * vector for share, vector in zip(shares, past, strict=True)), torch.zeros(8)),
        model.user_fields.table.weight[age],
        model.user_fields.table.weight[5 + city],
        model.items.weight[ITEMS[0][item]],
        model.item_fields.table.weight[brand],
        model.item_fields.table.weight[known].mean(0),
    ]
    weights = model.field_weights.table.weight
    return embedded, model.item_weights.weight[ITEMS[0][item]] + weights[brand] + weights[known].mean(0)


def test_fm_ranks_exactly_as_the_sum_over_all_pairs_of_fields() -> None:
    torch.manual_seed(3)
    model = FM(LAYOUT, TowerSettings(dim=8))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    scores = model.encode_users(*USERS) @ model.encode_items(*ITEMS).T
    for user in range(2):
        brute = []
        for item in range(3):
            embedded, first_order = fields_of(model, user, item)
            pairs = [(i, j) for i, j in combinations(range(6), 2) if j >= 3]  # the user's own pairs rank nothing
            brute.append(first_order.item() + sum((embedded[i] @ embedded[j]).item() for i, j in pairs))
        assert scores[user].tolist() == pytest.approx(brute, rel=1e-4)


def test_deepfm_adds_the_inner_product_of_its_two_mlps() -> None:
    torch.manual_seed(3)
    model = DeepFM(LAYOUT, DeepFMSettings(dim=8, hidden=(6,)))
    scores = model.encode_users(*USERS) @ model.encode_items(*ITEMS).T
    factorised = FM.user_tower(model, model.user_parts(*USERS)) @ FM.encode_items(model, *ITEMS).T
    deep = model.user_mlp(model.user_parts(*USERS).flatten(1)) @ model.item_mlp(model.item_parts(*ITEMS).flatten(1)).T
    assert torch.allclose(scores, factorised + deep, atol=1e-6)
