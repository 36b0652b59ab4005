"""Strong recommenders from their own packages, in an environment of their own, on the same test events."""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from pyspark.sql import functions as F

from divspa.bench.peers import our_version, peer_python, run_peer
from divspa.evaluation.test_set import Ranking, TestSet
from divspa.schemas import USER_FEATURES

# SASRec alone needs torch, so it has an environment of its own.
TORCH = [our_version("torch"), "pytorch-lightning==2.6.0"]
PACKAGES = ["rectools==0.13.0", "implicit==0.7.2", "numpy<2", "scipy<1.14", "pandas<3", "pyarrow<20"]


def rank_outside(test: TestSet, name: str, seed: int) -> Ranking:
    """Train an outside recommender on what each user had before the cutoff, and rank the same events by its lists.

    It is asked for as many of the best items as anything is measured on; an event that is not among them ranks last,
    so metrics are exact up to the largest k. Items of every user's own are left out of the lists, as everywhere.
    """
    with tempfile.TemporaryDirectory(prefix="divspa-outside-") as folder:
        had = (
            test.lake.read_day(USER_FEATURES, test.ds, as_of="cutoff")
            .select("user_key", "clicked", "history")
            .toArrow()
        )
        pq.write_table(had, Path(folder) / "had.parquet")
        asked = test.questions.select("user_key", "train_items", F.posexplode("asked").alias("event", "item_index"))
        asked = asked.toArrow().sort_by([("user_key", "ascending"), ("event", "ascending")])
        pq.write_table(asked, Path(folder) / "asked.parquet")
        python = peer_python("sasrec", PACKAGES + TORCH) if name == "sasrec" else peer_python("rectools", PACKAGES)
        run_peer(python, "outside.py", name, folder, test.longest, seed)
        lists_UK = np.load(Path(folder) / "lists.npy")
    return test.rank_lists(name, asked, lists_UK)
