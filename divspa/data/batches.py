"""Shuffled, typed batches from the data files of one pinned Delta version, read by petastorm."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from divspa.errors import DamagedError
from divspa.storage import locate

if TYPE_CHECKING:
    from petastorm.reader import Reader

COLUMNS = ["example_id", "user_features", "history", "item_index"]
SAMPLED = ["sampled_item_indices", "sampled_weights"]
WEIGHT = ["weight"]


@dataclass(frozen=True)
class Batch:
    """B positives: users with F encoded feature places and L past items, and P items that the loss raises.

    `keys_B` is the example_id. `items_BP` holds the clicked item first and then, for DivSPA, the sampled positives (0
    is padding); `weights_BP` is 1 for the clicked item and the weight of Eq. 3, without beta, for the others.
    `importance_B` is what the row counts beside others, 1 in a log of clicks that all count alike.
    """

    keys_B: torch.Tensor
    user_features_BF: torch.Tensor
    history_BL: torch.Tensor
    items_BP: torch.Tensor
    weights_BP: torch.Tensor
    importance_B: torch.Tensor

    def __len__(self) -> int:
        return len(self.items_BP)

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        return Batch(**{name: sent(tensor, device) for name, tensor in vars(self).items()})


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the host on a device; a GPU takes it while the host goes on."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


@dataclass(frozen=True)
class Shard:
    """Which share of the row groups a process reads: `rank` of `world`."""

    rank: int = 0
    world: int = 1


ALONE = Shard()


def read_batches(
    files: list[str],
    batch_size: int,
    *,
    augmented: bool,
    seed: int,
    weighted: bool = False,
    shard: Shard = ALONE,
    shuffle_rows: int = 200_000,
) -> Iterator[Batch]:
    """Yield one pass over the files, the last batch smaller than the rest.

    Row groups come in an order drawn from `seed`; rows are permuted within a buffer of at least `shuffle_rows` rows. A
    process reads a share of the row groups or, where there are fewer of these than processes, of the rows of each.
    """
    rng = np.random.default_rng(seed)
    carried: dict[str, np.ndarray] = {}
    for rows in _buffers(files, COLUMNS + SAMPLED * augmented + WEIGHT * weighted, seed, shard, shuffle_rows):
        joined = {name: np.concatenate([carried[name], rows[name]]) if carried else rows[name] for name in rows}
        order = rng.permutation(len(joined["item_index"]))
        whole = len(order) - len(order) % batch_size
        for start in range(0, whole, batch_size):
            yield _as_batch(joined, order[start : start + batch_size])
        carried = {name: values[order[whole:]] for name, values in joined.items()}
    if carried and len(carried["item_index"]):
        yield _as_batch(carried, np.arange(len(carried["item_index"])))


def equal_steps(passes: Iterator[Iterator[Batch]], steps: int) -> Iterator[Batch]:
    """The first `steps` batches of passes laid end to end, so that every process makes the same number of steps."""
    return islice(chain.from_iterable(passes), steps)


def _buffers(
    files: list[str], columns: list[str], seed: int, shard: Shard, shuffle_rows: int
) -> Iterator[dict[str, np.ndarray]]:
    """Collect row groups until a buffer holds `shuffle_rows` rows."""
    from petastorm.errors import NoDataAvailableError

    pending: list[dict[str, np.ndarray]] = []
    with _damage_named(files):
        try:
            reader, rows = _reader(files, columns, seed, shard), slice(None)
        except NoDataAvailableError:
            reader, rows = _reader(files, columns, seed, ALONE), slice(shard.rank, None, shard.world)
    with _damage_named(files), reader:
        for group in reader:
            pending.append({name: np.asarray(values)[rows] for name, values in group._asdict().items()})
            if sum(len(part["item_index"]) for part in pending) >= shuffle_rows:
                yield {name: np.concatenate([part[name] for part in pending]) for name in columns}
                pending = []
    if pending:
        yield {name: np.concatenate([part[name] for part in pending]) for name in columns}


@contextmanager
def _damage_named(files: list[str]) -> Iterator[None]:
    """Name the file that cannot be read: neither Arrow nor petastorm does. Raises DamagedError."""
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        for file in files:
            system, path = locate(file)
            try:
                pq.read_table(path, filesystem=system)
            except (pa.ArrowInvalid, OSError) as why:
                found = "no such file" if isinstance(why, FileNotFoundError) else "it is cut or garbage"
                raise DamagedError.of_file(file, found) from error
        raise


def _reader(files: list[str], columns: list[str], seed: int, shard: Shard) -> "Reader":
    # Imported here, so that a training of tensors in memory can be timed where petastorm is not.
    from petastorm import make_batch_reader

    from divspa.data.petastorm_fixes import ArrowFiles

    # One worker thread keeps the order of row groups, and so the run, reproducible while it reads ahead of the model.
    logging.getLogger("petastorm").setLevel(logging.ERROR)
    return make_batch_reader(
        files,
        filesystem=ArrowFiles(locate(files[0])[0]),
        schema_fields=[f"^{column}$" for column in columns],
        workers_count=1,
        results_queue_size=4,
        shuffle_row_groups=True,
        seed=seed,
        num_epochs=1,
        cur_shard=shard.rank if shard.world > 1 else None,
        shard_count=shard.world if shard.world > 1 else None,
    )


def _as_batch(rows: dict[str, np.ndarray], chosen: np.ndarray) -> Batch:
    items_BP = rows["item_index"][chosen][:, None]
    weights_BP = np.ones_like(items_BP, np.float32)
    if "sampled_weights" in rows:
        items_BP = np.concatenate([items_BP, rows["sampled_item_indices"][chosen]], axis=1)
        weights_BP = np.concatenate([weights_BP, rows["sampled_weights"][chosen].astype(np.float32)], axis=1)
    importance_B = rows["weight"][chosen] if "weight" in rows else np.ones(len(chosen), np.float32)
    return Batch(
        keys_B=torch.from_numpy(rows["example_id"][chosen]),
        user_features_BF=torch.from_numpy(rows["user_features"][chosen]),
        history_BL=torch.from_numpy(rows["history"][chosen]),
        items_BP=torch.from_numpy(items_BP),
        weights_BP=torch.from_numpy(weights_BP),
        importance_B=torch.from_numpy(importance_B),
    )
