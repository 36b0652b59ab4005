"""Runs of a day that are killed again and again, and what is left of them."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import MappingProxyType

import polars as pl

from divspa import pipeline

ROOT = Path(__file__).parents[2]
DIVSPA = str(Path(sys.executable).with_name("divspa"))
# Logs of what was done and when, which no two runs have alike.
LOGS = ("job_runs", "published")
STAGES = [*pipeline.STAGES]
SETS = ["training.epochs=2", "divspa.draws=2", "spark.driver_memory=1g", "spark.partitions=2", "spark.master=local[2]"]
# What tells of a run and not of its result: versions rise when a table is written again, seconds pass.
OF_THE_RUN = ("model_version", "settings_hash", "source_versions", "settings", "versions", "seconds", "resumed")
HALF_MADE = ("*.part", "_temporary", "*.tmp", "resume", "leases/*", ".*.json.*.tmp")
STARTED = "starting Spark"
GONE_WITHIN = 20.0


def digests(lake: Path) -> dict[str, str]:
    """What a lake holds: each table as a set of rows, checkpoints and the served index as bytes."""
    found = {name: hashlib.sha256("\n".join(rows).encode()).hexdigest() for name, rows in rows_of(lake).items()}
    for pattern in ("checkpoints/**/model.safetensors", "serving/**/items.faiss"):
        for file in sorted(lake.glob(pattern)):
            found[str(file.relative_to(lake))] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def rows_of(
    lake: Path, ds: date | None = None, versions: Mapping[str, int] = MappingProxyType({})
) -> dict[str, list[str]]:
    """The rows of each table but logs, or those of a day, in order, without what tells of the run.

    Tables of which no version is given are read as they are now.
    """
    found = {}
    for table, rows in frames_of(lake, versions):
        found[table] = sorted(map(repr, rows.filter(True if ds is None else pl.col("ds") == ds).rows()))
    return found


def frames_of(lake: Path, versions: Mapping[str, int] = MappingProxyType({})) -> Iterator[tuple[str, pl.DataFrame]]:
    """Each table but logs, without what tells of the run, its columns by name."""
    for table in sorted(path.parent for path in lake.glob("*/_delta_log")):
        if table.name not in LOGS:
            rows = pl.read_delta(str(table), version=versions.get(table.name)).drop(OF_THE_RUN, strict=False)
            yield table.name, rows.select(sorted(rows.columns))


def call(*arguments: str) -> tuple[float, str]:
    """Seconds and output of a `divspa` command that has to succeed."""
    began = time.perf_counter()
    done = subprocess.run(
        [DIVSPA, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"divspa {' '.join(arguments)} failed:\n{done.stdout[-3000:]}")
    return round(time.perf_counter() - began, 1), done.stdout


def left_behind(lake: Path, temporary: Path) -> list[str]:
    """What a run that ended well has left of those that were killed before it."""
    in_lake = [path for pattern in HALF_MADE for path in lake.rglob(pattern)]
    return sorted(map(str, {*in_lake, *temporary.glob("divspa-*/*"), *temporary.glob("[!d]*")}))


def below(process: int) -> set[int]:
    """A process and all that it started, as far as they still hang together."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if state[0] not in "ZX":
                parents[int(entry.name)] = int(state[1])
    found, grown = {process}, True
    while grown:
        more = {child for child, parent in parents.items() if parent in found} - found
        found, grown = found | more, bool(more)
    return found & (parents.keys() | {process})


@dataclass
class Lane:
    """A place where one run at a time is started: the log it reads, its temporary folder, and its dice."""

    folder: Path
    config: Path
    dice: random.Random
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    def start(self, lake: Path, ds: str, log: Path | None = None) -> "Driver":
        """Begin, or go on with, all stages of a day."""
        with suppress(OSError):  # of a full disk
            self.temporary.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {"TMPDIR": str(self.temporary), "OMP_NUM_THREADS": "1"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        sets = [part for setting in (*SETS, f"lake={lake}") for part in ("--set", setting)]
        command = [DIVSPA, "run", "--config", str(self.config), "--ds", f"{ds}..{ds}", *sets]
        log = log or self.folder / "run.log"
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=out, env=environment, cwd=ROOT)
        return Driver(process, log, ds, self)


@dataclass
class Driver:
    """A run of a day, and how far it is."""

    process: subprocess.Popen[bytes]
    log: Path
    ds: str
    lane: Lane
    now: str = STARTED
    since: float = field(default_factory=time.monotonic)

    def look(self) -> str:
        """The stage at hand; its predecessors' seconds are kept by the lane."""
        text = self.log.read_text(errors="replace")
        done = [stage for stage in STAGES if f'"stage": "{stage}"' in text]
        left = next((line for line in text.splitlines() if line.startswith(f"{self.ds}: ")), None)
        if left is None:
            stage = STARTED
        elif done:
            stage = next((name for name in STAGES if STAGES.index(name) > STAGES.index(done[-1])), "ended")
        else:
            stage = next((name for name in STAGES if name in left), "ended")
        if stage != self.now:
            moment = time.monotonic()
            self.lane.seconds[self.now] = moment - self.since
            self.now, self.since = stage, moment
        return stage

    def killed_in(self, stage: str, share: float) -> set[int]:
        """Kill the driver when a share of what a stage last took has passed in it.

        Returns the processes that it had started and itself; none when it ended before.
        """
        while self.process.poll() is None:
            now = self.look()
            if is_beyond(now, stage) or (now == stage and self._is_so_far(share)):
                family = below(self.process.pid)
                self.process.send_signal(signal.SIGKILL)
                return family
            time.sleep(0.05)
        return set()

    def worker_killed_in(self, stage: str, share: float) -> bool:
        """Kill a Python worker of the run, as the system does when memory is short, once it is so far and has one."""
        while self.process.poll() is None:
            now = self.look()
            if is_beyond(now, stage):
                return False
            if now == stage and self._is_so_far(share):
                workers = [pid for pid in below(self.process.pid) if is_worker(pid)]
                if workers:
                    os.kill(self.lane.dice.choice(sorted(workers)), signal.SIGKILL)
                    return True
            time.sleep(0.02)
        return False

    def _is_so_far(self, share: float) -> bool:
        """Whether the stage at hand has run for this share of what it last took."""
        return time.monotonic() - self.since >= share * self.lane.seconds.get(self.now, 10.0)

    def orphans(self, family: set[int]) -> set[int]:
        """Those of a killed driver's processes that outlive it; they are ended here."""
        self.process.wait()
        alive = wait_for_the_end_of(family - {self.process.pid})
        for pid in alive:
            os.kill(pid, signal.SIGKILL)
        return alive


def is_beyond(now: str, stage: str) -> bool:
    """Whether a run whose stage is `now` has left another stage, or its start, behind."""
    return now != STARTED and (stage == STARTED or now == "ended" or STAGES.index(now) > STAGES.index(stage))


def is_worker(process: int) -> bool:
    """Whether a process is a Python worker of Spark: its parent, the daemon, has the same command line."""
    try:
        parent = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1]
        commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in (process, parent)]
    except OSError:
        return False
    return commands[0] == commands[1] and b"pyspark.worker" in commands[0]


def wait_for_the_end_of(processes: set[int]) -> set[int]:
    """Those of some processes that still run after GONE_WITHIN seconds."""
    end, alive = time.monotonic() + GONE_WITHIN, processes
    while (alive := {pid for pid in alive if _runs(pid)}) and time.monotonic() < end:
        time.sleep(0.1)
    return alive


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def copied(source: Path | None, lake: Path) -> Path:
    """A fresh lake, empty or a copy of another one."""
    shutil.rmtree(lake, ignore_errors=True)
    if source is not None:
        shutil.copytree(source, lake)
    return lake
