"""Every stage of a day at a part of a log of the paper's sizes: what it costs, how it grows, and what was foretold."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from divspa.bench.measure import measured
from divspa.config import load_config
from divspa.errors import ConfigError
from divspa.lake.session import spark_session
from divspa.lake.sizes import with_sizes
from divspa.lake.tables import Lake
from divspa.pipeline import chosen_stages, run_named, stages_left
from divspa.simulation.generator import PRESETS, generate
from divspa.simulation.settings import GeneratorSettings

# One pass for each training, and settings as given: trials would train on a share of the examples whatever there are.
CHOSEN = ["training.epochs=1", "divspa=fixed"]
SIZED = ("users", "items", "clicks", "features")
COSTS = "costs.json"
Costs = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Part:
    """A part of a preset's log, in its own folder below `out`."""

    preset: str
    share: float
    out: Path

    @property
    def folder(self) -> Path:
        return self.out / f"{self.preset}-{self.share:g}"

    @property
    def settings(self) -> GeneratorSettings:
        """Users, items, clicks and distinct values by the share, with as many fields and days."""
        whole = PRESETS[self.preset]
        sizes = {name: max(1, round(self.share * getattr(whole, name))) for name in SIZED}
        return whole.model_copy(update=sizes)

    @property
    def costs(self) -> Costs:
        """What its stages have cost so far."""
        file = self.folder / COSTS
        return json.loads(file.read_text()) if file.exists() else {}

    def smaller(self) -> "list[Part]":
        """The smaller parts of the same log that lie beside it, the smallest first."""
        shares = (float(folder.name.removeprefix(f"{self.preset}-")) for folder in self.out.glob(f"{self.preset}-*"))
        return [Part(self.preset, share, self.out) for share in sorted(shares) if share < self.share]


def bench_scale(preset: str, share: float, out: Path, first: str | None, last: str | None) -> dict[str, Any]:
    """Run the stages from `first` to `last` that have yet to run, and tell of all that ever ran in this folder.

    The log is generated where it is not there yet. Of each stage: seconds, processor seconds, peak memory of all
    processes, clicks a second, and the size of the lake after it; with smaller parts beside it in `out` also the
    exponent of its growth since the smallest, and the seconds that the two nearest foretold. Raises ConfigError for a
    preset that there is not.
    """
    if preset not in PRESETS:
        raise ConfigError("The option --preset is unknown", expected=", ".join(PRESETS), found=preset)
    part = Part(preset, share, out)
    settings, ds = part.settings, part.settings.start + timedelta(days=part.settings.days - 1)
    if not (part.folder / "divspa.yaml").exists():
        generate(settings, part.folder)
    config = with_sizes(load_config(part.folder / "divspa.yaml", CHOSEN), [ds]).with_whole_lake()
    lake = Lake(spark_session(config.spark, "bench scale", event_log=config.event_log), config.lake)
    for stage in stages_left(lake, config, ds, chosen_stages(first, last)):
        with measured() as cost:
            run_named(lake, config, ds, [stage])
        lake_gb = sum(file.stat().st_size for file in Path(config.lake).rglob("*") if file.is_file()) / 1e9
        told = {stage: cost.as_json(settings.clicks) | {"lake_gb": round(lake_gb, 2)}}
        (part.folder / COSTS).write_text(json.dumps(part.costs | told))
    cores = lake.spark.sparkContext.defaultParallelism
    smaller = part.smaller()

    def growth_of(stage: str, seconds: float) -> dict[str, float]:
        before = {each.settings.clicks: each.costs[stage]["seconds"] for each in smaller if stage in each.costs}
        return growth(settings.clicks, seconds, before)

    return {
        "bench": "scale",
        "preset": preset,
        "part": share,
        "sizes": settings.model_dump(include={*SIZED, "fields"}) | {"cores": cores},
        "seconds": round(sum(cost["seconds"] for cost in part.costs.values()), 1),
        "peak_gb": max(cost["peak_gb"] for cost in part.costs.values()),
        "stages": {stage: cost | growth_of(stage, cost["seconds"]) for stage, cost in part.costs.items()},
    }


def growth(clicks: int, seconds: float, smaller: Mapping[int, float]) -> dict[str, float]:
    """How the seconds of a stage have grown since the smallest of the smaller numbers of clicks, as a power of clicks,
    and what the two largest of these foretold: a time that never changes, and one for each click.
    """
    told, known = {}, sorted(smaller.items())
    if known:
        least, then = known[0]
        told["exponent"] = round(math.log(seconds / then) / math.log(clicks / least), 3)
    if len(known) > 1:
        (few, sooner), (many, later) = known[-2:]
        each = max(0.0, (later - sooner) / (many - few))
        told["foretold_seconds"] = round(later + each * (clicks - many), 1)
    return told
