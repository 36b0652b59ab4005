"""Train torch-rechub's YoutubeDNN through its own loader; run by the Python of its own environment, prints seconds.

Usage: python rechub.py ARRAYS.npz ITEMS BATCH_SIZE NEGATIVES THREADS
"""

# pyright: reportMissingImports=false
import sys
import time

import numpy as np
import torch
from torch_rechub.basic.features import SequenceFeature, SparseFeature
from torch_rechub.models.matching import YoutubeDNN
from torch_rechub.trainers import MatchTrainer
from torch_rechub.utils.data import MatchDataGenerator

DIM = 32


def main(path: str, items: int, batch_size: int, negatives: int, threads: int) -> float:
    """Seconds of one epoch; each example has negatives of its own, as the library has it."""
    torch.set_num_threads(threads)
    arrays = np.load(path)
    rows = len(arrays["item_index"])
    fields = arrays["user_features"]
    users = [
        SparseFeature(f"user_{i}", vocab_size=int(fields[:, i].max()) + 1, embed_dim=DIM)
        for i in range(fields.shape[1])
    ]
    users.append(SequenceFeature("history", vocab_size=items + 2, embed_dim=DIM, pooling="mean", shared_with="item"))
    item = [SparseFeature("item", vocab_size=items + 2, embed_dim=DIM)]
    drawn = [SequenceFeature("drawn", vocab_size=items + 2, embed_dim=DIM, pooling="concat", shared_with="item")]
    inputs = {f"user_{i}": fields[:, i] for i in range(fields.shape[1])}
    inputs |= {"history": arrays["history"], "item": arrays["item_index"]}
    inputs["drawn"] = np.random.default_rng(1).integers(2, items + 2, (rows, negatives), dtype=np.int32)
    model = YoutubeDNN(users, item, drawn, user_params={"dims": [64, DIM]}, temperature=0.05)
    trainer = MatchTrainer(model, mode=2, n_epoch=1, device="cpu")
    loader = MatchDataGenerator(inputs, np.zeros(rows, np.int64))
    batches, _, _ = loader.generate_dataloader(inputs, {"item": arrays["item_index"][:1]}, batch_size, num_workers=0)
    started = time.perf_counter()
    trainer.train_one_epoch(batches)
    return time.perf_counter() - started


if __name__ == "__main__":
    print(main(sys.argv[1], *map(int, sys.argv[2:])))
