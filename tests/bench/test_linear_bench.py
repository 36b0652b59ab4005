"""The benchmark of the linear model in small."""

import json

from pyspark.sql import SparkSession

from divspa.bench.linear import bench_linear


def test_bench_linear(spark: SparkSession) -> None:
    result = json.loads(json.dumps(bench_linear(200, 5000, 100, 1)))
    assert result["bench"] == "linear" and result["sizes"]["clicks"] > 3000
    assert 100 < result["items_with_neighbours"] <= 200
    peer = result["references"]["in_memory"]
    assert peer["ratio"] > 0 and peer["peak_gb"] > 0 and result["ours"]["peak_gb"] > 0
