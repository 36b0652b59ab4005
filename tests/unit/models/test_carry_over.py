import pytest
import torch

from divspa.models.layout import FieldSlot, Layout
from divspa.models.registry import MODELS, build_model
from divspa.models.settings import Model
from divspa.models.warm_start import carry_over

MONDAY = Layout(
    items=10,
    history_length=4,
    user=(FieldSlot(name="age", width=1, cardinality=5),),
    item=(FieldSlot(name="brand", width=1, cardinality=4), FieldSlot(name="tags", width=2, cardinality=6)),
)
TUESDAY = Layout(
    items=13,
    history_length=4,
    user=(FieldSlot(name="age", width=1, cardinality=6),),
    item=(FieldSlot(name="brand", width=1, cardinality=7), FieldSlot(name="tags", width=2, cardinality=6)),
)
USERS = (torch.tensor([[2], [4]], dtype=torch.int32), torch.tensor([[3, 4, 0, 0], [9, 0, 0, 0]], dtype=torch.int32))
ITEMS = (torch.tensor([2, 9]), torch.tensor([[2, 2, 3], [3, 5, 0]], dtype=torch.int32))


@pytest.mark.parametrize("name", MODELS)
def test_what_was_known_yesterday_is_scored_as_yesterday(name: str) -> None:
    monday, tuesday = (build_model(Model(name=name), layout).eval() for layout in (MONDAY, TUESDAY))
    carry_over(monday, tuesday)
    assert torch.equal(monday.encode_users(*USERS), tuesday.encode_users(*USERS))
    assert torch.equal(monday.encode_items(*ITEMS), tuesday.encode_items(*ITEMS))


def test_a_place_that_another_value_has_now_is_fresh() -> None:
    monday = build_model(Model(name="youtube_dnn"), MONDAY)
    with torch.no_grad():
        for parameter in monday.parameters():
            parameter.fill_(7.0)
    tuesday = build_model(Model(name="youtube_dnn"), TUESDAY)
    carry_over(monday, tuesday, {"item_id": torch.tensor([3, 12]), "tags": torch.tensor([2])})
    assert (tuesday.items.weight[3].abs() < 1).all() and (tuesday.items.weight[[2, 4, 9]] == 7).all()
    tags, table = tuesday.item_fields.starts["tags"], tuesday.item_fields.table.weight
    assert (table[tags + 2].abs() < 1).all() and (table[[0, tags + 1, tags + 3]] == 7).all()


@pytest.mark.parametrize("length", [2, 4, 16])
def test_past_items_keep_the_weights_of_their_ages_in_a_history_of_another_length(length: int) -> None:
    monday, tuesday = (
        build_model(Model(name="youtube_dnn"), MONDAY.model_copy(update={"history_length": of})) for of in (4, length)
    )
    known, grown = monday.history_weights.log_weights, tuesday.history_weights.log_weights
    assert known is not None and grown is not None and len(known) == 9
    with torch.no_grad():
        known.copy_(torch.linspace(0, -1, 9))
    carry_over(monday, tuesday)
    assert grown.tolist() == [*known.tolist()[: len(grown)], *[-1.0] * (len(grown) - 9)]


def test_layers_of_vectors_are_carried_by_the_name_of_their_field() -> None:
    one, two = (FieldSlot(name=name, width=3, cardinality=2, vector=True) for name in ("one", "two"))
    monday, tuesday = (
        build_model(Model(name="fm"), MONDAY.model_copy(update={"item": item})) for item in ((one, two), (two, one))
    )
    carry_over(monday, tuesday)
    for own, known in ((0, 1), (1, 0)):
        assert torch.equal(tuesday.item_fields.layers[own].weight, monday.item_fields.layers[known].weight)
    assert not torch.equal(monday.item_fields.layers[0].weight, monday.item_fields.layers[1].weight)


def test_new_rows_are_fresh_and_a_new_field_starts_its_layer_anew() -> None:
    monday = build_model(Model(name="youtube_dnn"), MONDAY)
    with torch.no_grad():
        for parameter in monday.parameters():
            parameter.fill_(7.0)
    grown = MONDAY.model_copy(
        update={"items": 13, "user": (*MONDAY.user, FieldSlot(name="city", width=1, cardinality=3))}
    )
    tuesday = build_model(Model(name="youtube_dnn"), grown)
    carry_over(monday, tuesday)
    assert (tuesday.items.weight[:10] == 7).all() and (tuesday.items.weight[10:].abs() < 1).all()
    city = tuesday.user_fields.starts["city"]
    assert (tuesday.user_fields.table.weight[:city] == 7).all()
    assert (tuesday.user_fields.table.weight[city:].abs() < 1).all()
    assert not (tuesday.user_mlp[0].weight == 7).any() and (tuesday.item_mlp[0].weight == 7).all()
