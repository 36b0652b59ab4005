from divspa.bench.training import bench_training


def test_the_bench_prints_our_figure_the_reference_and_their_ratio() -> None:
    result = bench_training(4000, 300, 500, 256, "youtube_dnn", [], 5000, "cpu", 17)
    assert result["bench"] == "training" and result["sizes"]["examples"] == 4000
    ours, limit = result["ours"], result["references"]["in_memory"]
    assert abs(limit["ratio"] - ours["seconds"] / limit["seconds"]) < 0.05
    assert ours["peak_gb"] > 0.1 and ours["rate"] > 100
    growth = result["growth"]
    assert growth["users"] == 5000 and growth["seconds"] > 0 and growth["ratio"] > 0
