"""The benchmark of the augmentation in small: FAISS and numpy in one process add the very same positives."""

import json

from pyspark.sql import SparkSession

from divspa.bench.augment import bench_augment


def test_bench_augment(spark: SparkSession) -> None:
    result = json.loads(json.dumps(bench_augment(2000, 200, 300, 16, ["in_memory"], 1)))
    assert result["bench"] == "augment" and result["sizes"]["pairs"] > 1000
    assert result["agreement"] == 1.0
    assert result["recall"] == 1.0 and 1 < result["added_per_pair"] <= 9
    peer = result["references"]["in_memory"]
    assert peer["ratio"] > 0 and peer["rate"] > 0 and peer["peak_gb"] > 0
    assert result["ours"]["peak_gb"] > 0
