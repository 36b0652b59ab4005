"""The benchmark of retrieval in small: it runs, its peers agree with us, and its JSON has the promised shape."""

import json

import pytest
from pyspark.sql import SparkSession

from divspa.bench.retrieval import Asked, Plan, bench_retrieval
from divspa.errors import ConfigError


@pytest.mark.parametrize(("plan", "recall"), [("broadcast", 1.0), ("routed", 0.97)])
def test_bench_retrieval(spark: SparkSession, plan: Plan, recall: float) -> None:
    peers = ["als"] if plan == "broadcast" else []
    result = json.loads(json.dumps(bench_retrieval(Asked(3000, 2000, 16, 10, plan, peer_users=1500, seed=1), peers)))
    assert (result["bench"], result["plan"]) == ("retrieval", plan)
    assert result["recall"] >= recall
    assert result["references"].keys() == {"raw_faiss", *peers}
    assert result["references"]["raw_faiss"]["recall"] >= 0.9
    ours = result["ours"]
    assert ours["rate"] == pytest.approx(3000 / ours["seconds"], rel=0.01)
    assert 0 < ours["peak_gb"] < 20
    for peer in result["references"].values():
        assert peer["ratio"] == pytest.approx(ours["seconds"] / peer["seconds"], rel=0.05)


def test_an_unknown_peer_is_an_error() -> None:
    with pytest.raises(ConfigError, match="annoy"):
        bench_retrieval(Asked(10, 10, 4, 1), ["annoy"])
