"""How fast a model trains through petastorm, beside the same training on tensors in memory."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from divspa.arrow import list_column
from divspa.bench.measure import Cost, measured, reference
from divspa.bench.peers import our_version, peer_python, run_peer
from divspa.data.batches import Batch
from divspa.errors import ConfigError
from divspa.models.layout import FieldSlot, Layout
from divspa.models.settings import Model
from divspa.training.allocator import reused_memory
from divspa.training.fit import Job, Trainer
from divspa.training.ranks import Ranks
from divspa.training.resume import Progress
from divspa.training.settings import Training

ROW_GROUP = 50_000
HISTORY, USER_FIELDS, ITEM_FIELDS = 20, 3, 2
FIELD_VALUES = 1000
NEGATIVES = 100
PEER_EXAMPLES = 60_000


def bench_training(
    examples: int,
    items: int,
    users: int,
    batch_size: int,
    model: str,
    peers: list[str],
    larger: int,
    device: Literal["cpu", "cuda"],
    seed: int,
) -> dict[str, Any]:
    """One epoch over synthetic examples of so many items and users (a field of their own), after a short first one.

    Where petastorm is not installed, as on a machine that is lent for its GPU, `ours` is the training in memory.
    With `larger`, the second epoch over as many examples of so many users is compared with that of `users`, both in
    memory, since a step must not cost more for a larger vocabulary.
    """
    if unknown := set(peers) - {"torch_rechub"}:
        raise ConfigError("The option --peer is unknown", expected="torch_rechub", found=", ".join(sorted(unknown)))
    with tempfile.TemporaryDirectory(prefix="divspa-bench-") as folder, reused_memory():
        job = _job(Path(folder), examples, items, users, batch_size, model, device, seed)
        arrays = _arrays(examples, items, users, seed)
        _write(Path(folder), arrays, items)
        first = replace(job, files=[job.files[0][:1]], rows=min(ROW_GROUP, examples))
        through_petastorm = find_spec("petastorm") is not None
        if through_petastorm:
            _Plain(first).one_epoch()
            ours, theirs = _Plain(job).one_epoch(), _InMemory(job, arrays).one_epoch()
            references = {"in_memory": reference(ours.seconds, theirs.seconds, examples)}
        else:
            _InMemory(first, arrays).one_epoch()
            ours, references = _InMemory(job, arrays).one_epoch(), {}
        if "torch_rechub" in peers:
            references["torch_rechub"] = _torch_rechub(Path(folder), arrays, items, batch_size, ours.seconds)
        growth = {}
        if larger:
            own = _second_epoch(job, arrays)
            wide = _job(Path(folder), examples, items, larger, batch_size, model, device, seed)
            cost = _second_epoch(wide, _arrays(examples, items, larger, seed))
            ratio = round(cost.seconds / own.seconds, 3)
            growth = {"growth": {"users": larger, "ratio": ratio, **cost.as_json(examples)}}
    return {
        "bench": "training",
        "sizes": {"examples": examples, "items": items, "users": users, "batch_size": batch_size, "model": model},
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "through": "petastorm" if through_petastorm else "memory",
        "threads": torch.get_num_threads(),
        "ours": ours.as_json(examples),
        "references": references,
        **growth,
    }


def _second_epoch(job: Job, arrays: dict[str, np.ndarray]) -> Cost:
    """The first one touches the memory of each row for the first time."""
    trainer = _InMemory(job, arrays)
    trainer.one_epoch()
    return trainer.one_epoch()


def _torch_rechub(
    folder: Path, arrays: dict[str, np.ndarray], items: int, batch_size: int, ours: float
) -> dict[str, float]:
    """torch-rechub on the first PEER_EXAMPLES examples, its seconds brought to the number of all."""
    examples = len(arrays["item_index"])
    few = min(PEER_EXAMPLES, examples)
    np.savez(folder / "arrays.npz", **{name: values[:few] for name, values in arrays.items()})
    python = peer_python("torch_rechub", ["torch-rechub==0.3.0", our_version("torch"), "numpy<2"])
    said = run_peer(python, "rechub.py", folder / "arrays.npz", items, batch_size, NEGATIVES, torch.get_num_threads())
    seconds = float(said)
    return reference(ours, seconds * examples / few, examples, examples_run=few)


class _Plain(Trainer):
    """The product's own training, one epoch of it and without checkpoints."""

    def __init__(self, job: Job) -> None:
        super().__init__(job, Ranks(), lambda count, note: None)

    def one_epoch(self) -> Cost:
        with measured() as cost:
            self._finish_epoch(Progress())
        return cost


class _InMemory(_Plain):
    """The limit: the same model, loss, optimiser and batches, with the examples as shuffled tensors."""

    def __init__(self, job: Job, arrays: dict[str, np.ndarray]) -> None:
        super().__init__(job)
        self.tensors = {name: torch.from_numpy(values) for name, values in arrays.items()}

    def _batches(self, epoch: int) -> Iterator[Batch]:
        order = torch.randperm(self.job.rows, generator=torch.Generator().manual_seed(epoch))
        for chosen in order.split(self.settings.batch_size):
            yield Batch(
                self.tensors["example_id"][chosen],
                self.tensors["user_features"][chosen],
                self.tensors["history"][chosen],
                self.tensors["item_index"][chosen].unsqueeze(1),
                torch.ones(len(chosen), 1),
                torch.ones(len(chosen)),
            )


def _arrays(examples: int, items: int, users: int, seed: int) -> dict[str, np.ndarray]:
    """Examples whose items and past items are long-tailed; the first user field is the user's own id."""
    rng = np.random.default_rng(seed)
    fields = rng.integers(2, FIELD_VALUES, (examples, USER_FIELDS + 1), dtype=np.int32)
    fields[:, 0] = rng.integers(2, users + 2, examples)
    return {
        "example_id": np.arange(examples),
        "user_features": fields,
        "history": _popular(rng, (examples, HISTORY), items),
        "item_index": _popular(rng, (examples,), items),
    }


def _popular(rng: np.random.Generator, shape: tuple[int, ...], items: int) -> np.ndarray:
    """Item indices whose popularity falls with the square root of their rank."""
    return (2 + items * rng.random(shape) ** 2).astype(np.int32)


def _write(folder: Path, arrays: dict[str, np.ndarray], items: int) -> None:
    for part, start in enumerate(range(0, len(arrays["item_index"]), ROW_GROUP)):
        rows = {name: values[start : start + ROW_GROUP] for name, values in arrays.items()}
        columns = {name: pa.array(v) if v.ndim == 1 else list_column(v) for name, v in rows.items()}
        pq.write_table(pa.table(columns), folder / f"part-{part:05}.parquet")
    index = np.arange(2, items + 2, dtype=np.int32)
    features = np.random.default_rng(1).integers(2, FIELD_VALUES, (items, ITEM_FIELDS), dtype=np.int32)
    counts = {name: index.astype(np.int64) for name in ("popularity", "train_clicks")}
    table = pa.table({"item_index": index, "item_features": list_column(features)} | counts)
    pq.write_table(table, folder / "items.parquet")


def _job(
    folder: Path,
    examples: int,
    items: int,
    users: int,
    batch_size: int,
    model: str,
    device: Literal["cpu", "cuda"],
    seed: int,
) -> Job:
    fields = tuple(FieldSlot(name=f"user_{i}", width=1, cardinality=FIELD_VALUES) for i in range(USER_FIELDS))
    own = FieldSlot(name="user_id", width=1, cardinality=users + 2)
    item_fields = tuple(FieldSlot(name=f"item_{i}", width=1, cardinality=FIELD_VALUES) for i in range(ITEM_FIELDS))
    return Job(
        model=Model(name=model),
        layout=Layout(items=items + 2, history_length=HISTORY, user=(own, *fields), item=item_fields),
        training=Training(
            batch_size=batch_size,
            negatives=NEGATIVES,
            negative_sampling="uniform",
            device=device,
            checkpoint_minutes=1e6,
        ),
        divspa=None,
        seed=seed,
        files=[[f"file://{folder}/part-{part:05}.parquet" for part in range(-(-examples // ROW_GROUP))]],
        rows=examples,
        item_files=[f"{folder}/items.parquet"],
        folder=f"{folder}/checkpoint",
        fingerprint="bench",
    )
