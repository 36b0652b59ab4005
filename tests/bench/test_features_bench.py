"""The benchmark of features in small: DuckDB makes the same examples, and its JSON has the promised shape."""

import json

import pytest
from pyspark.sql import SparkSession

from divspa.bench import features


def test_bench_features(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "_warm_up", lambda *_: None)  # it serves the figures alone
    result = json.loads(json.dumps(features.bench_features(3000, seed=1)))
    assert result["bench"] == "features" and result["sizes"]["clicks"] == 3000
    assert result["compared"]["examples"] > 2000 and result["compared"]["different"] == 0
    ours, duckdb = result["ours"], result["references"]["duckdb"]
    assert ours["rate"] == pytest.approx(3000 / ours["seconds"], rel=0.01)
    assert duckdb["ratio"] == pytest.approx(ours["seconds"] / duckdb["seconds"], rel=0.05)
    assert 0 < ours["peak_gb"] < 20 and 0 < ours["examples_seconds"] < ours["seconds"]
    assert duckdb["ratio_to_examples"] == pytest.approx(ours["examples_seconds"] / duckdb["seconds"], rel=0.05)
