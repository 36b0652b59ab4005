"""How fast a click log becomes `examples`, beside DuckDB doing the same on the same files in the same run."""

import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from divspa.bench.duckdb_features import Reference
from divspa.bench.measure import heap, measured, reference
from divspa.config import Config, load_config
from divspa.features.build import build_features
from divspa.lake.session import spark_session
from divspa.lake.sizes import with_sizes
from divspa.lake.tables import Lake, local_path
from divspa.schemas import EXAMPLES
from divspa.simulation.generator import GeneratorSettings, generate

CLICKS_A_USER, CLICKS_AN_ITEM = 10, 50
CLICKS_A_PARTITION = 1_000_000
# Above this, equality is checked on a share of the users.
COMPARED = 500_000


def bench_features(clicks: int, seed: int = 17) -> dict[str, Any]:
    """Generate a log of so many clicks, run `build_features` on it, and let DuckDB make the same examples.

    Ours includes what DuckDB is spared: Delta commits, contracts, gates, quarantine, item and user features. The
    commit of `examples` is one of the first, so `examples_seconds` is what compares with DuckDB's; `seconds` is the
    whole stage. Raises SetupError when DuckDB is missing.
    """
    with tempfile.TemporaryDirectory(prefix="divspa-bench-") as name, Reference(Path(name)) as duck:
        folder = Path(name)
        users, items = max(30, clicks // CLICKS_A_USER), max(100, clicks // CLICKS_AN_ITEM)
        settings = GeneratorSettings(clicks=clicks, users=users, items=items, seed=seed)
        ds = settings.start + timedelta(days=settings.days - 1)
        sizes = [f"spark.driver_memory={heap(clicks)}", f"spark.partitions={max(4, clicks // CLICKS_A_PARTITION)}"]
        config = load_config(generate(settings, folder / "log")["config"], [*CHOSEN, *sizes])
        config = with_sizes(config, [ds])
        lake = Lake(spark_session(config.spark, "bench features"), config.lake)
        _warm_up(lake, folder, seed)
        started = time.time()
        with measured() as ours:
            build_features(lake, config, ds)
        examples = _committed_at(lake.path(EXAMPLES)) - started
        cores = lake.spark.sparkContext.defaultParallelism
        files = [local_path(url) for url in lake.read_day(EXAMPLES, ds).inputFiles()]
        with measured() as theirs:
            duck.make_examples(config, cores)
        compared, different = duck.compare(files, COMPARED)
        return {
            "bench": "features",
            "sizes": {"clicks": clicks, "users": users, "items": items, "fields": _fields(config), "cores": cores},
            "ours": ours.as_json(clicks) | {"examples_seconds": round(examples, 3)},
            "references": {
                "duckdb": reference(
                    ours.seconds,
                    theirs.seconds,
                    clicks,
                    ratio_to_examples=round(examples / theirs.seconds, 3),
                    cpu_seconds=round(theirs.cpu_seconds, 2),
                )
            },
            "compared": {"examples": compared, "different": different},
        }


# What the reference takes up: no held-out clicks, and histories of one length.
CHOSEN = ["split.validation_events=0", "features.history_length=50"]


def _committed_at(table: str) -> float:
    """When the newest version of a table on this machine was written."""
    return max(commit.stat().st_mtime for commit in Path(table, "_delta_log").glob("*.json"))


def _warm_up(lake: Lake, folder: Path, seed: int) -> None:
    """A small build elsewhere, so that starting workers and compiling are not measured."""
    settings = GeneratorSettings(users=300, items=100, clicks=3000, seed=seed)
    config = load_config(generate(settings, folder / "small")["config"])
    build_features(Lake(lake.spark, config.lake), config, settings.start + timedelta(days=settings.days - 1))


def _fields(config: Config) -> int:
    return len(config.user_fields) + len(config.item_fields) + 1
