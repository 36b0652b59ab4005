"""Training on small Parquet files through petastorm, without Spark: resuming, early stopping and several processes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.multiprocessing as mp

from divspa.arrow import list_column
from divspa.augmentation.settings import DivSPA
from divspa.data.batches import Shard, read_batches
from divspa.errors import DamagedError, GateError, MissingTableError, TrainingError
from divspa.models.checkpoint import Checkpoint
from divspa.models.layout import FieldSlot, Layout
from divspa.models.settings import Model
from divspa.schemas.vocabulary import UNKNOWN
from divspa.training.fit import STEPS_A_LOOK, Job, Trainer, fit, starting_model
from divspa.training.launch import fit_rank
from divspa.training.objective import Objective
from divspa.training.ranks import Ranks
from divspa.training.rates import at_rate, best_of
from divspa.training.resume import Progress
from divspa.training.settings import Training, TrainingGates
from divspa.training.validation import Validation

ITEMS, TASTES, LENGTH = 42, 4, 3


def job_in(folder: Path, model: str = "youtube_dnn", rows: int = 1200, **training) -> Job:
    """Users who click items of one of four tastes, in four files of one row group each."""
    rng = np.random.default_rng(3)
    taste = rng.integers(0, TASTES, rows)
    history = np.stack([_item_of(taste, rng) for _ in range(LENGTH)], 1)
    table = pa.table(
        {
            "example_id": pa.array(rng.integers(-(2**60), 2**60, rows)),
            "user_features": list_column(rng.integers(1, 4, (rows, 1)).astype(np.int32)),
            "history": list_column(history),
            "item_index": pa.array(_item_of(taste, rng)),
            "sampled_item_indices": list_column(np.stack([_item_of(taste, rng), np.zeros(rows, np.int32)], 1)),
            "sampled_weights": list_column(np.tile(np.array([1, 0], np.float32), (rows, 1))),
        }
    )
    files = []
    for part in range(4):
        files.append(f"file://{folder}/part-{part}.parquet")
        pq.write_table(table.slice(part * rows // 4, rows // 4), folder / f"part-{part}.parquet")
    index = np.arange(2, ITEMS, dtype=np.int32)
    features = list_column(rng.integers(1, 5, (len(index), 1)).astype(np.int32))
    items = pa.table({"item_index": index, "item_features": features, "popularity": np.full(len(index), 5)})
    items = items.append_column("train_clicks", items["popularity"])
    pq.write_table(items, folder / "items.parquet")
    fields = (FieldSlot(name="age", width=1, cardinality=5),), (FieldSlot(name="kind", width=1, cardinality=6),)
    held = rng.integers(0, TASTES, 200)
    validation = Validation(
        np.ones((200, 1), np.int32), np.stack([_item_of(held, rng) for _ in range(LENGTH)], 1), _item_of(held, rng)
    )
    settings = {"epochs": 3, "batch_size": 64, "negatives": 20, "learning_rate": 0.01, "threads": 1} | training
    return Job(
        model=Model(name=model),
        layout=Layout(items=ITEMS, history_length=LENGTH, user=fields[0], item=fields[1]),
        training=Training(**settings),
        divspa=None,
        seed=7,
        files=[files],
        rows=rows,
        item_files=[str(folder / "items.parquet")],
        folder=str(folder / "checkpoint"),
        fingerprint="a",
        validation=validation,
    )


def _item_of(taste: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (2 + taste * 10 + rng.integers(0, 10, len(taste))).astype(np.int32)


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("model", ["youtube_dnn", "rfm", "ufnrec"])
@pytest.mark.parametrize("steps", [5, 19, 40])
def test_a_killed_training_goes_on_and_ends_with_the_same_weights(tmp_path: Path, model: str, steps: int) -> None:
    whole, killed = (tmp_path / name for name in ("whole", "killed"))
    whole.mkdir()
    killed.mkdir()
    fit(job_in(whole, model))
    job, seen = job_in(killed, model, checkpoint_minutes=0), 0

    def kill_at(examples: int, note: str) -> None:
        nonlocal seen
        seen += 1
        if seen == steps:
            raise KilledError

    with pytest.raises(KilledError):
        fit(job, kill_at)
    progress = fit(job)
    assert progress.resumed and progress.examples == 3 * 1200 and len(progress.losses) == 3
    assert Checkpoint.load(job.folder).version == Checkpoint.load(str(whole / "checkpoint")).version
    assert not (killed / "checkpoint" / "resume").exists()


@pytest.mark.parametrize("model", ["youtube_dnn", "fm"])
def test_an_item_that_nobody_clicked_is_placed_by_its_fields(tmp_path: Path, model: str) -> None:
    job = job_in(tmp_path, model, epochs=6, hidden_ids=0.3)
    tastes = [*np.repeat(np.arange(TASTES), 10), 0, 2]  # of the clicked items, and of two that are not
    clicks = pa.array([5] * (ITEMS - 2) + [0, 0])
    index = np.arange(2, ITEMS + 2, dtype=np.int32)
    fields = list_column(np.array(tastes, np.int32)[:, None] + 2)
    columns = {"item_index": index, "item_features": fields, "popularity": clicks, "train_clicks": clicks}
    pq.write_table(pa.table(columns), job.item_files[0])
    job = replace(job, layout=job.layout.model_copy(update={"items": ITEMS + 2}))
    fit(job)
    trained = Checkpoint.load(job.folder).restore()
    assert torch.equal(trained.items.weight[ITEMS:], trained.items.weight[[UNKNOWN, UNKNOWN]])
    histories_BL = torch.arange(2, ITEMS, dtype=torch.int32).unsqueeze(1).expand(-1, LENGTH)
    users_BD = trained.encode_users(torch.ones(ITEMS - 2, 1, dtype=torch.int32), histories_BL)
    unclicked = torch.tensor([ITEMS, ITEMS + 1]), torch.tensor([[2], [4]], dtype=torch.int32)
    first_B, second_B = (users_BD @ trained.encode_items(*unclicked).T).unbind(1)
    assert (first_B > second_B)[:10].all() and (second_B > first_B)[20:30].all()


def test_of_several_rates_the_best_by_held_out_clicks_is_kept(tmp_path: Path) -> None:
    alone, several = (tmp_path / name for name in ("alone", "several"))
    alone.mkdir()
    several.mkdir()
    fit(at_rate(job_in(alone), 0.02))
    job = job_in(several, "youtube_dnn")
    epochs: dict[float, int] = {}

    def counted(job: Job) -> Progress:
        progress = fit(job)
        epochs[job.training.rate] = progress.epoch
        return progress

    trained = best_of(job, (0.0001, 1e20, 0.02), counted)
    assert epochs == {0.02: 3, 0.0001: 2}, "what is behind ends early"
    assert trained.rate == 0.02 and set(trained.scores) == {0.0001, 0.02}, "what cannot be trained is out"
    assert trained.scores[0.02] == max(trained.progress.scores) > trained.scores[0.0001]
    assert Checkpoint.load(job.folder).version == Checkpoint.load(str(alone / "checkpoint")).version
    assert sorted(path.name for path in Path(job.folder).iterdir()) == ["model.json", "model.safetensors"]


@pytest.mark.parametrize("damaged", [None, "ended.json", "model.json", "model.safetensors"])
def test_a_rate_that_was_trained_before_a_kill_is_not_trained_again(tmp_path: Path, damaged: str | None) -> None:
    trained: list[float] = []

    def until_killed(job: Job) -> Progress:
        if job.training.rate == 0.0001:
            raise KeyboardInterrupt
        trained.append(job.training.rate)
        return fit(job)

    job = job_in(tmp_path, "youtube_dnn")
    with pytest.raises(KeyboardInterrupt):
        best_of(job, (0.0001, 0.02), until_killed)
    if damaged is not None:
        file = Path(job.folder, "rate=0.02", damaged)
        file.write_bytes(file.read_bytes()[:-20])

    def counted(job: Job) -> Progress:
        trained.append(job.training.rate)
        return fit(job)

    ended = best_of(job, (0.0001, 0.02), counted)
    assert trained == ([0.02, 0.0001] if damaged is None else [0.02, 0.02, 0.0001])
    assert ended.rate == 0.02 and set(ended.scores) == {0.0001, 0.02} and ended.progress.resumed == (damaged is None)
    other = replace(job, fingerprint="another")
    best_of(other, (0.0001, 0.02), counted)
    assert trained[-2:] == [0.02, 0.0001], "of other settings"


def test_one_rate_is_taken_where_nothing_can_choose(tmp_path: Path) -> None:
    trained = best_of(replace(job_in(tmp_path), validation=None), (0.02, 0.0001), fit)
    assert (trained.rate, trained.scores) == (0.02, {})
    with pytest.raises(TrainingError):
        best_of(job_in(tmp_path, "fm", patience=0), (1e20, 1e19), fit)


def test_a_resume_point_of_other_settings_is_not_taken_up(tmp_path: Path) -> None:
    job = job_in(tmp_path, checkpoint_minutes=0)

    def kill(examples: int, note: str) -> None:
        raise KilledError

    with pytest.raises(KilledError):
        fit(job, kill)
    assert not fit(replace(job, fingerprint="b")).resumed


CUT, EMPTY, GARBAGE, GONE = "cut", "empty", "garbage", "gone"


def damage(file: Path, how: str) -> None:
    content = file.read_bytes()
    if how == GONE:
        file.unlink()
    else:
        file.write_bytes({CUT: content[: len(content) // 2], EMPTY: b"", GARBAGE: b"\xff" * len(content)}[how])


def short_job(folder: Path) -> Job:
    return job_in(folder, rows=256, epochs=2, checkpoint_minutes=0)


def killed_in_epoch_2(folder: Path) -> Job:
    """A training of 4 steps an epoch whose last points are of steps 1 and 2 of its second one."""
    job, seen = short_job(folder), 0

    def kill(examples: int, note: str) -> None:
        nonlocal seen
        seen += 1
        if seen == 4 + 3:
            raise KilledError

    with pytest.raises(KilledError):
        fit(job, kill)
    return job


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("whole")
    fit(short_job(folder))
    return Checkpoint.load(str(folder / "checkpoint")).version


@pytest.mark.parametrize("how", [CUT, EMPTY, GARBAGE, GONE])
@pytest.mark.parametrize("file", ["position-{}.json", "state-{}.safetensors"])
def test_of_a_damaged_resume_point_the_one_before_is_used(
    tmp_path: Path, undisturbed: str, file: str, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    job = killed_in_epoch_2(tmp_path)
    points = tmp_path / "checkpoint" / "resume"
    numbers = {json.loads((points / f"position-{slot}.json").read_text())["number"]: slot for slot in "ab"}
    damage(points / file.format(numbers[max(numbers)]), how)
    progress = fit(job)
    said = capsys.readouterr().err
    # A position is written after its state, so one that is not there was never written.
    assert ("is damaged" in said and "goes on from epoch 2, step 1" in said) or (file[0] == "p" and how == GONE)
    assert progress.resumed and Checkpoint.load(job.folder).version == undisturbed
    assert not points.exists()


@pytest.mark.parametrize("how", [CUT, EMPTY, GARBAGE, GONE])
@pytest.mark.parametrize(
    "files", ["position-*.json", "state-*.safetensors", "best-*/model.safetensors", "best-*/*.json"]
)
def test_where_no_whole_point_is_left_training_begins_anew_and_says_so(
    tmp_path: Path, undisturbed: str, files: str, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    job = killed_in_epoch_2(tmp_path)
    hit = list((tmp_path / "checkpoint" / "resume").glob(files))
    assert hit
    for file in hit:
        damage(file, how)
    progress = fit(job)
    said = capsys.readouterr().err
    assert ("is damaged" in said and "training begins anew" in said) or (files[0] == "p" and how == GONE)
    assert not progress.resumed and Checkpoint.load(job.folder).version == undisturbed


def test_a_state_that_is_whole_but_another_one_is_not_taken_up(tmp_path: Path, undisturbed: str) -> None:
    job = killed_in_epoch_2(tmp_path)
    points = tmp_path / "checkpoint" / "resume"
    swapped = (points / "state-a.safetensors").read_bytes()
    (points / "state-a.safetensors").write_bytes((points / "state-b.safetensors").read_bytes())
    (points / "state-b.safetensors").write_bytes(swapped)
    assert not fit(job).resumed and Checkpoint.load(job.folder).version == undisturbed


@pytest.mark.parametrize("how", [CUT, EMPTY, GARBAGE, GONE])
@pytest.mark.parametrize("file", ["model.safetensors", "model.json"])
def test_a_damaged_checkpoint_is_one_error_that_names_the_file(tmp_path: Path, file: str, how: str) -> None:
    job = replace(short_job(tmp_path), training=Training(epochs=1, threads=1))
    fit(job)
    damage(tmp_path / "checkpoint" / file, how)
    named = MissingTableError if how == GONE else DamagedError
    with pytest.raises(named, match=rf"{file}.*[Rr]un .*train") as error:
        fit(replace(job, start_from=job.folder, folder=str(tmp_path / "divspa")))
    assert str(tmp_path / "checkpoint") in str(error.value)


def test_training_stops_when_validation_stops_rising_and_keeps_the_best_epoch(tmp_path: Path) -> None:
    job = job_in(tmp_path, epochs=60, patience=2, learning_rate=0.05)
    progress = fit(job)
    assert progress.epoch == progress.best_epoch + 3 < 60
    assert job.validation is not None
    kept = Checkpoint.load(job.folder).restore()
    features = torch.zeros(ITEMS, 1, dtype=torch.int32)
    features[2:] = torch.tensor(pq.read_table(job.item_files[0])["item_features"].to_pylist())
    assert job.validation.score(kept, features) == pytest.approx(max(progress.scores))
    chance = np.mean(1 / np.log2(np.arange(ITEMS - 2 - LENGTH) + 2))
    assert max(progress.scores) > 1.4 * chance, "knowing the taste leaves a quarter of the items"


@pytest.mark.parametrize("mixup", ["output", "representation"])
@pytest.mark.parametrize("weights", ["teacher", "student"])
def test_augmented_positives_are_learned_by_both_mix_ups_and_weights(tmp_path: Path, mixup, weights) -> None:
    job = replace(job_in(tmp_path), divspa=DivSPA(mixup=mixup, weights=weights, beta=1.0))
    progress = fit(job)
    assert progress.losses[-1] < progress.losses[0]


def test_two_processes_learn_as_one_does(tmp_path: Path) -> None:
    alone, pair = (tmp_path / name for name in ("alone", "pair"))
    alone.mkdir()
    pair.mkdir()
    same = {"rows": 4000, "epochs": 4, "patience": 0, "learning_rate": 0.005}
    one = fit(job_in(alone, **same))
    job = job_in(pair, processes=2, **same)
    mp.spawn(_join, args=(job, str(tmp_path / "store")), nprocs=2)  # pyright: ignore[reportPrivateImportUsage]
    two = torch.load(tmp_path / "store.losses", weights_only=True)
    assert two == pytest.approx(one.losses, rel=0.1), "other draws and another order, but no other course"
    assert Checkpoint.load(job.folder).restore()


def _join(rank: int, job: Job, store: str) -> None:
    import os

    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29571"}
    progress = fit_rank(job)
    if rank == 0:
        torch.save(progress.losses, f"{store}.losses")


@pytest.mark.parametrize("processes", [2, 9])
def test_processes_share_the_examples_also_when_there_are_fewer_row_groups_than_processes(
    tmp_path: Path, processes: int
) -> None:
    job = job_in(tmp_path)
    shards = [Shard(rank, processes) for rank in range(processes)]
    parts = [list(read_batches(job.files[0], 64, augmented=False, seed=1, shard=shard)) for shard in shards]
    keys = [torch.cat([batch.keys_B for batch in part]) for part in parts]
    assert len(torch.cat(keys)) == len(torch.cat(keys).unique()) == job.rows
    assert max(map(len, keys)) - min(map(len, keys)) <= (4 if processes == 9 else 0)


def test_a_loss_that_is_not_finite_ends_the_training_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"lower training\.learning_rate"):
        fit(job_in(tmp_path, "fm", learning_rate=1e20, patience=0))


def poisoned(at: int, value: float, attribute: str):
    """A trainer whose `at`-th batch has a loss, or gradients, of a value."""

    class Poisoned(Trainer):
        steps = 0

        def _step(self, batch, progress) -> None:
            self.steps += 1
            if self.steps == at:
                self.poisoned_keys = batch.keys_B
                self.poison()
            super()._step(batch, progress)

        def poison(self) -> None:
            weight = self.trained[0]
            if attribute == "loss":
                exact = Objective.loss
                own = lambda *step: exact(self.objective, *step) * value  # noqa: E731
                object.__setattr__(self.objective, "loss", own)
            else:
                hook = weight.register_hook(lambda gradient: (hook.remove(), gradient * value)[1])

    return Poisoned


NAN = float("nan")


@pytest.mark.parametrize("at", [6, 4])
@pytest.mark.parametrize(
    ("attribute", "value", "steps_a_look"),
    [("loss", NAN, 1), ("loss", float("inf"), 1), ("loss", 1e4, 1), ("gradients", NAN, 1), ("loss", NAN, 3)],
)
def test_a_batch_that_breaks_the_training_is_named_and_the_last_good_weights_stay(
    tmp_path: Path, undisturbed: str, attribute: str, value: float, steps_a_look: int, at: int, monkeypatch
) -> None:
    monkeypatch.setitem(STEPS_A_LOOK, "cpu", steps_a_look)
    job = short_job(tmp_path)
    trainer = poisoned(at, value, attribute)(job, Ranks(), lambda examples, note: None)
    with pytest.raises(TrainingError) as error:
        trainer.run()
    named = ", ".join(map(str, trainer.poisoned_keys[:5].tolist()))
    epoch, step = divmod(at - 1, 4)
    assert f"epoch {epoch + 1}, step {step + 1}, a batch of 64 with the example_ids {named}." in str(error.value)
    points = tmp_path / "checkpoint" / "resume"
    assert str(points) in str(error.value) and not (tmp_path / "checkpoint" / "model.json").exists()
    progress = fit(job)
    assert progress.resumed and Checkpoint.load(job.folder).version == undisturbed


def test_losses_that_are_looked_at_together_are_the_same(tmp_path: Path, undisturbed: str, monkeypatch) -> None:
    alone, together = (tmp_path / name for name in ("alone", "together"))
    alone.mkdir()
    together.mkdir()
    each = fit(short_job(alone))
    monkeypatch.setitem(STEPS_A_LOOK, "cpu", 3)
    job = short_job(together)
    assert fit(job).losses == each.losses and Checkpoint.load(job.folder).version == undisturbed


def test_embeddings_that_collapse_leave_the_checkpoint_as_it_was(tmp_path: Path) -> None:
    job = short_job(tmp_path)
    fit(job)
    before = Checkpoint.load(job.folder).version
    gates = TrainingGates(min_spread=1)
    strict = replace(job, fingerprint="b", seed=8, training=job.training.model_copy(update={"gates": gates}))
    with pytest.raises(GateError, match=r"youtube_dnn collapsed.*items differ by 0\.\d+ .*users differ by"):
        fit(strict)
    assert Checkpoint.load(job.folder).version == before


def test_a_model_that_scores_nothing_has_no_validation_score(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    model = starting_model(job)
    with torch.no_grad():
        model.items.weight[5] = torch.nan
    assert job.validation is not None
    with pytest.raises(TrainingError, match="validation score is not finite"):
        job.validation.score(model.eval(), torch.ones(ITEMS, 1, dtype=torch.int32))


def test_every_pass_delivers_every_example_and_prints_nothing(tmp_path: Path, capfd) -> None:
    job = job_in(tmp_path)
    for seed in range(1, 60):
        keys = torch.cat([batch.keys_B for batch in read_batches(job.files[0], 64, augmented=False, seed=seed)])
        assert len(keys.unique()) == job.rows
    assert capfd.readouterr() == ("", "")
