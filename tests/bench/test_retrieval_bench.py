"""The benchmark of retrieval in small: it runs, its peers agree with us, and its JSON has the promised shape."""

import json

import pytest
from pyspark.sql import SparkSession

from divspa.bench.retrieval import Plan, bench_retrieval
from divspa.errors import ConfigError


@pytest.mark.parametrize(("plan", "recall"), [("broadcast", 1.0), ("routed", 0.97)])
def test_bench_retrieval(spark: SparkSession, plan: Plan, recall: float) -> None:
    peers = ["raw_faiss", "als"] if plan == "broadcast" else ["raw_faiss"]
    result = json.loads(json.dumps(bench_retrieval(3000, 2000, 16, 10, plan, peers, 1)))
    assert (result["bench"], result["plan"]) == ("retrieval", plan)
    assert result["recall"] >= recall
    assert result["references"].keys() == set(peers)
    assert result["references"]["raw_faiss"]["recall"] >= 0.9
    ours = result["ours"]
    assert ours["rate"] == pytest.approx(3000 / ours["seconds"], rel=0.01)
    assert 0 < ours["peak_gb"] < 20 and ours["delta_seconds"] > 0
    for peer in result["references"].values():
        assert peer["ratio"] == pytest.approx(ours["seconds"] / peer["seconds"], rel=0.05)


def test_an_unknown_peer_is_an_error() -> None:
    with pytest.raises(ConfigError, match="hnswlib"):
        bench_retrieval(10, 10, 4, 1, "auto", ["hnswlib"])
