"""The benchmark of whole days in small: a part goes on where it ended, and knows the smaller ones beside it."""

import json
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from divspa.bench.scale import bench_scale, growth
from divspa.errors import ConfigError


def test_a_part_beside_a_smaller_one(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "video-5e-05").mkdir()
    (tmp_path / "video-5e-05" / "costs.json").write_text('{"build_features": {"seconds": 1.0}}')
    told = json.loads(json.dumps(bench_scale("video", 0.0001, tmp_path, None, "build_features")))
    assert told["sizes"]["clicks"] == 2534 and told["sizes"]["fields"] == 57
    stage = told["stages"]["build_features"]
    assert stage["seconds"] > 0 and stage["peak_gb"] > 0 and stage["lake_gb"] >= 0
    assert stage["exponent"] == growth(2534, stage["seconds"], {1267: 1.0})["exponent"]
    assert bench_scale("video", 0.0001, tmp_path, None, "build_features") == told, "what ran does not run again"


def test_a_stage_that_grows_with_the_clicks_is_foretold() -> None:
    assert growth(1000, 30.0, {}) == {}
    assert growth(1000, 30.0, {100: 3.0}) == {"exponent": 1.0}
    assert growth(1000, 30.0, {10: 3.3, 100: 6.0})["foretold_seconds"] == 33.0, "3 s, and .03 s for each click"


def test_an_unknown_preset(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--preset is unknown"):
        bench_scale("vfeed", 0.1, tmp_path, None, None)
