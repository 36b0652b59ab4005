"""How much memory and how many partitions a run needs, from its inputs and the machine, where nobody has said."""

import math
import os
import re
import shutil
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from divspa.config import Config
from divspa.errors import ConfigError, InputError
from divspa.progress import console
from divspa.schemas import CLICKS
from divspa.sources.files import list_files
from divspa.sources.settings import Source

GB = 1 << 30
# Of the machine's memory the one JVM of a local master takes at most so much: Python, torch and FAISS need theirs.
MOST_OF_MACHINE = 0.4
LEAST_GB, GB_BEYOND_DATA = 3, 2
# Parquet holds a click in some 10 to 20 bytes, text in several times that.
JVM_BYTES_A_BYTE = {"parquet": 6.0, "delta": 6.0, "csv": 1.5, "jsonl": 0.7}
PARTITION_BYTES = 256 << 20
# Below some 200,000 clicks a run is mostly planning and compiling (docs/measured.md).
SMALL_BYTES = 20 << 20
A_CORE = 2
# A day of a lake beside its inputs in the JVM, and a small one: tables, models, event logs (docs/measured.md).
LAKE_BYTES_A_BYTE, LEAST_LAKE = 6.0, 100 << 20


def with_sizes(config: Config, days: Sequence[date]) -> Config:
    """The configuration with `driver_memory`, `partitions` and `small_log` of `spark` chosen; what is set stays.

    `days` are those to be run. Prints what was chosen. An input that cannot be listed counts nothing here: the stage
    that reads it will say so.
    """
    spark = config.spark
    if None not in (spark.driver_memory, spark.partitions, spark.small_log):
        return config
    clicks, held = _clicks_in_jvm(config, days), _bytes_of(config, days)
    memory = min(max(LEAST_GB, GB_BEYOND_DATA + held / GB), max(LEAST_GB, MOST_OF_MACHINE * machine_bytes() / GB))
    cores = os.cpu_count() or 1
    small = 0 < clicks <= held < SMALL_BYTES if spark.small_log is None else spark.small_log
    partitions = min(4, cores) if small else max(4, A_CORE * cores, math.ceil(held / PARTITION_BYTES))
    chosen = {
        "driver_memory": spark.driver_memory or f"{round(memory * 1024)}m",
        "partitions": spark.partitions or partitions,
        "small_log": small,
    }
    config = config.model_copy(update={"spark": spark.model_copy(update=chosen)})
    console.print(f"Spark: {_told(config)}", highlight=False)
    return config


def require_room(config: Config, days: Sequence[date]) -> str:
    """What a day will about take of the disk, and what is free there, in words; no more than the first of a bucket.

    Raises InputError when it does not fit, and ConfigError for a JVM larger than the machine.
    """
    wanted = LAKE_BYTES_A_BYTE * _bytes_of(config, days) + LEAST_LAKE
    if config.publishing.refit:  # a day again, from all clicks
        wanted *= 2
    memory = config.spark.driver_memory
    if memory and _bytes_in(memory) > machine_bytes() and (config.spark.master or "local").startswith("local"):
        raise ConfigError(
            "`spark.driver_memory` is more than this machine has",
            expected=f"less than {machine_bytes() / GB:.1f} GB",
            found=memory,
            remedy="leave it out, and it follows from the inputs",
        )
    told = f"a day takes about {wanted / GB:.1f} GB"
    if "://" in config.lake:
        return told
    folder = Path(config.with_whole_lake().lake)
    free = shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.exists())).free
    if free < wanted:
        raise InputError(
            f"The disk of the lake {folder} has too little room",
            expected=f"{wanted / GB:.1f} GB for a day",
            found=f"{free / GB:.1f} GB free",
            remedy="make room, `divspa maintain` for one, or give `lake` another place",
        )
    return f"{told}, {free / GB:.1f} GB are free"


def machine_bytes() -> int:
    """The memory of this machine, or of the container that this process is in."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.exists() else "max"
    return min(whole, int(text)) if text.isdigit() else whole


def _told(config: Config) -> str:
    spark = config.spark
    kind = "spares what pays off over many rows only" if spark.small_log else "compiles its queries"
    return f"{spark.driver_memory} of memory, {spark.partitions} partitions, {kind}"


def _bytes_of(config: Config, days: Sequence[date]) -> float:
    """Of all inputs, and of the clicks of earlier days, as the JVM holds them."""
    others = [source for source in (config.users, config.items) if source]
    return _clicks_in_jvm(config, days) + sum(_bytes_in_jvm(source, days[-1:]) for source in others)


def _clicks_in_jvm(config: Config, days: Sequence[date]) -> float:
    clicks = _bytes_in_jvm(config.clicks, days)
    if "{ds}" in config.clicks.path:  # of which the lake holds the days before
        clicks += JVM_BYTES_A_BYTE["delta"] * _bytes_below(f"{config.lake}/{CLICKS.name}")
    return clicks


def _bytes_in(text: str) -> int:
    """A size of Java's, such as 4g or 512m, in bytes."""
    number, unit = re.fullmatch(r"(\d+)([kmgt])b?", text.lower()).groups()  # pyright: ignore[reportOptionalMemberAccess]
    return int(number) << {"k": 10, "m": 20, "g": 30, "t": 40}[unit]


def _bytes_in_jvm(source: Source, days: Sequence[date]) -> float:
    locations = {source.location.replace("{ds}", day.isoformat()) for day in days}
    return JVM_BYTES_A_BYTE[source.format] * sum(map(_bytes_below, locations))


def _bytes_below(location: str) -> int:
    try:
        return sum(file.size for file in list_files(location).data)
    except InputError:
        return 0
