import math
import warnings

import numpy as np
import pytest
import torch
from onnxruntime import InferenceSession

from divspa.models.checkpoint import Checkpoint
from divspa.models.embeddings import RECENCY_RATE, FieldEmbeddings, HistoryWeights, ItemEmbeddings, mlp
from divspa.models.layout import FieldSlot, Layout
from divspa.models.registry import MODELS, build_model
from divspa.models.settings import Model
from divspa.serving.tower import export_onnx, export_user_tower

LAYOUT = Layout(
    items=20,
    history_length=4,
    user=(FieldSlot(name="age", width=1, cardinality=5),),
    item=(FieldSlot(name="brand", width=1, cardinality=4), FieldSlot(name="tags", width=3, cardinality=6)),
)
USERS = (torch.tensor([[2], [1]], dtype=torch.int32), torch.tensor([[3, 4, 0, 0], [0, 0, 0, 0]], dtype=torch.int32))
ITEMS = (torch.tensor([2, 3]), torch.tensor([[2, 2, 3, 0], [1, 1, 0, 0]], dtype=torch.int32))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_without_any_field_still_has_two_towers(name: str) -> None:
    bare = Layout(items=20, history_length=4)
    model = build_model(Model(name=name), bare)
    none = torch.zeros(2, 0, dtype=torch.int32)
    users, items = model.encode_users(none, USERS[1]), model.encode_items(ITEMS[0], none)
    assert users.shape == items.shape and torch.isfinite(users @ items.T).all()


@pytest.mark.parametrize("name", MODELS)
def test_a_user_without_history_has_a_gradient_of_ordinary_size(name: str) -> None:
    model = build_model(Model(name=name), LAYOUT)
    (model.encode_users(*USERS) @ model.encode_items(*ITEMS).T).sum().backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert max(gradient.abs().max() for gradient in (g.to_dense() for g in gradients)) < 1e4


@pytest.mark.parametrize("name", MODELS)
def test_towers_return_finite_unit_vectors_also_without_history(name: str) -> None:
    model = build_model(Model(name=name), LAYOUT)
    users, items = model.encode_users(*USERS), model.encode_items(*ITEMS)
    assert users.shape == items.shape and len(users) == 2
    assert torch.isfinite(users).all() and torch.isfinite(items).all()
    if model.cosine:
        assert torch.allclose(items.norm(dim=1), torch.ones(2))
        assert users[0].norm().item() == pytest.approx(1) and users[1].norm() < 1.0001


@pytest.mark.parametrize("name", MODELS)
def test_vectors_of_users_and_items_pass_layers_of_their_own_which_learn(name: str) -> None:
    look, tags = (
        FieldSlot(name="look", width=2, cardinality=2, vector=True),
        FieldSlot(name="t", width=2, cardinality=5),
    )
    model = build_model(Model(name=name), LAYOUT.model_copy(update={"user": (look, tags), "item": (tags, look)})).eval()
    bits = torch.tensor([[0.6, 0.8], [0.0, 0.0], [-1.0, 0.0]]).view(torch.int32)
    codes, past = torch.tensor([[2, 3]] * 3, dtype=torch.int32), torch.tensor([[3, 4, 0, 0]] * 3, dtype=torch.int32)
    users = model.encode_users(torch.cat([bits, codes], 1), past)
    items = model.encode_items(torch.tensor([2, 2, 2]), torch.cat([codes, bits], 1))
    parts = model.item_parts(torch.tensor([2, 2, 2]), torch.cat([codes, bits], 1))
    expected = model.item_fields.layers[0](bits.view(torch.float32))
    assert torch.equal(parts[:, 2], expected) and not torch.equal(expected[0], expected[2])
    assert torch.equal(parts[1, 2], model.item_fields.layers[0].bias), "no vector is one of zeros"
    (users @ items.T).sum().backward()
    for side in (model.user_fields, model.item_fields):
        assert torch.isfinite(side.layers[0].weight.grad).all()
    assert model.item_fields.layers[0].weight.grad.any() or name != "fm"


@pytest.mark.parametrize("recency", [True, False])
def test_a_fresh_history_is_a_mean_that_leaves_padding_out(recency: bool) -> None:
    table, weights = ItemEmbeddings(20, 8), HistoryWeights(USERS[1].shape[1], recency=recency)
    mean = table.pooled(USERS[1], weights(USERS[1]))
    assert torch.allclose(mean[0], (table.weight[3] + table.weight[4]) / 2)
    assert not mean[1].any()


def test_past_items_weigh_by_how_many_came_after_them() -> None:
    weights = HistoryWeights(4, recency=True)
    assert weights.step_L.tolist() == [0, 4, 6, 8]
    assert weights.log_weights is not None
    with torch.no_grad():
        weights.log_weights[0] = math.log(3) / RECENCY_RATE
    whole = torch.tensor([[5, 6, 7, 0], [0, 0, 0, 0]])
    assert torch.allclose(weights(whole), torch.tensor([[0.2, 0.2, 0.6, 0], [0, 0, 0, 0]]))
    # The newest is left out, so none of these is the last thing that the user did.
    assert torch.allclose(weights(whole[:1, :2], torch.tensor([[2, 1]])), torch.tensor([[0.5, 0.5]]))


def test_weights_by_age_are_learned() -> None:
    torch.manual_seed(3)
    model = build_model(Model(name="youtube_dnn"), LAYOUT)
    model.encode_users(*USERS)[0, 0].backward()
    assert model.history_weights.log_weights is not None
    gradient = model.history_weights.log_weights.grad
    assert gradient is not None and gradient.any()
    assert (
        build_model(
            Model.model_validate({"name": "youtube_dnn", "pooling": "mean"}), LAYOUT
        ).history_weights.log_weights
        is None
    )


def test_a_multi_valued_field_is_the_mean_of_its_values() -> None:
    fields = FieldEmbeddings(LAYOUT.item, 8)
    out = fields(ITEMS[1])
    brand, tags = fields.table.weight[:4], fields.table.weight[4:]
    assert torch.allclose(out[0, 0], brand[2])
    assert torch.allclose(out[0, 1], (tags[2] + tags[3]) / 2)


@pytest.mark.parametrize("name", MODELS)
def test_a_checkpoint_restores_the_same_model_without_pickle(name: str, tmp_path) -> None:
    model = build_model(Model(name=name), LAYOUT).eval()
    saved = Checkpoint.of(Model(name=name), model)
    saved.save(str(tmp_path / "checkpoint"))
    assert sorted(file.name for file in (tmp_path / "checkpoint").iterdir()) == ["model.json", "model.safetensors"]
    loaded = Checkpoint.load(str(tmp_path / "checkpoint"))
    assert loaded.version == saved.version
    assert torch.equal(loaded.restore().encode_users(*USERS), model.encode_users(*USERS))


@pytest.mark.parametrize("name", MODELS)
def test_the_exported_user_tower_needs_torch_alone(name: str, tmp_path) -> None:
    model = build_model(Model(name=name), LAYOUT).eval().requires_grad_(False)
    file = tmp_path / "user_tower.pt2"
    file.write_bytes(export_user_tower(model))
    tower = torch.export.load(file).module()
    five = tuple(torch.cat([part, part, part[:1]]) for part in USERS)
    assert torch.allclose(tower(*five), model.encode_users(*five), atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_the_user_tower_in_onnx_gives_the_same_vectors(name: str) -> None:
    model = build_model(Model(name=name), LAYOUT).eval().requires_grad_(False)
    session = InferenceSession(export_onnx(model))
    five = tuple(torch.cat([part, part, part[:1]]) for part in USERS)
    names = [each.name for each in session.get_inputs()]
    (vectors,) = session.run(["vector"], {name: part.numpy() for name, part in zip(names, five, strict=True)})
    assert names == ["user_features", "history"]
    assert np.allclose(vectors, model.encode_users(*five), atol=1e-5)


def test_layers_over_no_field_at_all_are_made_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layers = mlp([0, 4, 2])
    assert layers(torch.zeros(3, 0)).shape == (3, 2)
