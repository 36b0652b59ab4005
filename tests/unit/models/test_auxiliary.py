"""The losses that RFM and UFNRec add to Eq. 1."""

import torch

from divspa.models.layout import FieldSlot, Layout
from divspa.models.rfm import RFM, RFMSettings
from divspa.models.two_tower import Step
from divspa.models.ufnrec import UFNRec, UFNRecSettings, watched_items
from divspa.models.youtube_dnn import YoutubeDNN
from divspa.training.optimizer import RowAdam

LAYOUT = Layout(
    items=60,
    history_length=3,
    item=(FieldSlot(name="brand", width=1, cardinality=9), FieldSlot(name="kind", width=1, cardinality=9)),
)
FEATURES = torch.randint(2, 9, (60, 2), generator=torch.Generator().manual_seed(1), dtype=torch.int32)
HISTORY = torch.tensor([[3, 4, 0], [8, 0, 0]], dtype=torch.int32)
NO_FIELDS = torch.zeros(2, 0, dtype=torch.int32)


def a_step(model: YoutubeDNN, keys: list[int], positives: torch.Tensor) -> Step:
    return Step(
        torch.tensor(keys),
        NO_FIELDS,
        HISTORY,
        None,
        model.encode_users(NO_FIELDS, HISTORY),
        positives,
        FEATURES.__getitem__,
        20.0,
        torch.Generator().manual_seed(5),
    )


def test_rfm_learns_that_two_views_are_of_one_item() -> None:
    torch.manual_seed(2)
    model = RFM(LAYOUT, RFMSettings(dim=16, ssl_items=40, ssl_weight=1.0)).train()
    optimizer = RowAdam(model.parameters(), 0.01)
    step = a_step(model, [1, 2], torch.zeros(2, 16))
    losses = []
    for _ in range(150):
        loss = model.auxiliary_loss(step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_watched_negatives_belong_to_the_example_and_cover_the_catalogue() -> None:
    keys = torch.arange(-4000, 4000) * 987_654_321
    items = watched_items(keys, LAYOUT, 4)
    assert torch.equal(items, watched_items(keys, LAYOUT, 4))
    counts = torch.bincount(items.flatten(), minlength=60)
    assert counts[:2].sum() == 0 and counts[2:].min() > 0.7 * counts[2:].max()


def test_a_negative_is_relabelled_after_outscoring_the_positive_in_a_row() -> None:
    model = UFNRec(LAYOUT, UFNRecSettings(dim=16, watched=3, patience=2, consistency_weight=0.0))
    worst = -model.encode_users(NO_FIELDS, HISTORY).detach()
    assert model.auxiliary_loss(a_step(model, [1, 2], worst)).item() == 0
    assert model.auxiliary_loss(a_step(model, [1, 2], worst)).item() > 0
    best = -worst
    assert model.auxiliary_loss(a_step(model, [1, 2], best)).item() == 0
    assert model.auxiliary_loss(a_step(model, [1, 2], worst)).item() == 0, "the row was broken, so it begins again"


def test_the_teacher_follows_the_student_slowly_and_is_not_trained() -> None:
    model = UFNRec(LAYOUT, UFNRecSettings(dim=16, teacher_every=2, teacher_decay=0.5))
    before = model.teacher.items.weight.clone()
    assert torch.equal(before, model.items.weight)
    assert not any(parameter.requires_grad for parameter in model.teacher.parameters())
    with torch.no_grad():
        model.items.weight += 1
    model.after_step()
    assert torch.equal(model.teacher.items.weight, before)
    model.after_step()
    assert torch.allclose(model.teacher.items.weight, before + 0.75)
