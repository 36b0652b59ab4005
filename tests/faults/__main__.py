"""Kills the driver of `divspa run`, or a Python worker, at random moments of every stage, until the day is done; fills
the disk; and compares the lakes.

    .venv/bin/python -m tests.faults --kills 200 --minutes 30

Each day ends with the tables, checkpoints and index of a run that nobody disturbed, and nothing is left of the killed
ones: no process, no temporary file, no lease, no half-made file. Prints the counts as one JSON object, and fails
where one of these is not so. Needs two cores and 5 GB.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from tests.faults.killed_runs import DIVSPA, ROOT, STAGES, STARTED, Driver, Lane, copied, digests, left_behind

# How many of the faults are the end of a Python worker, and not of the driver.
OF_WORKERS = 0.15
WORKER_DIED = "A Python worker of Spark died"
DAYS = ("2024-01-13", "2024-01-14")
LOG = ["--users", "300", "--items", "200", "--clicks", "4000"]


@dataclass
class Counts:
    """What happened, over all lanes."""

    wanted: int
    until: float
    kills: Counter[str] = field(default_factory=Counter)
    workers: Counter[str] = field(default_factory=Counter)
    full: Counter[str] = field(default_factory=Counter)
    days: int = 0
    differences: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    left_behind: list[str] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def enough(self) -> bool:
        return self.kills.total() >= self.wanted or time.monotonic() > self.until

    def as_json(self, seconds: float) -> str:
        counted = {"kills": self.kills.total(), "by_stage": dict(self.kills), "days_compared": self.days}
        counted |= {"workers_killed": dict(self.workers), "disks_full": dict(self.full)}
        wrong = {name: getattr(self, name) for name in ("differences", "failures", "orphans", "left_behind")}
        return json.dumps(counted | wrong | {"seconds": round(seconds)})


def run_day_with_kills(lane: Lane, lake: Path, ds: str, counts: Counts) -> bool:
    """Kill the day's run in every stage some times, then let it end. False when it failed."""
    for at, stage in enumerate([STARTED, *STAGES]):
        for _ in range(lane.dice.choice((1, 1) if at == 0 else (2, 3, 4))):
            if counts.enough():
                break
            driver = lane.start(lake, ds)
            if stage != STARTED and lane.dice.random() < OF_WORKERS:
                if kill_a_worker(driver, stage, lane, counts):
                    continue
                return True
            family = driver.killed_in(stage, lane.dice.uniform(0, 1.05))
            if not family:
                return _well_ended(driver.process.wait(), lane, counts)
            alive = driver.orphans(family)
            with counts.lock:
                counts.kills[driver.now] += 1
                counts.orphans += [f"{pid} of a run killed in {driver.now}" for pid in alive]
                print(f"{counts.kills.total()} kills, this one in {driver.now} of {ds}", file=sys.stderr, flush=True)
    return _well_ended(lane.start(lake, ds).process.wait(), lane, counts)


def kill_a_worker(driver: Driver, stage: str, lane: Lane, counts: Counts) -> bool:
    """Kill a Python worker of the run; whether the day has yet to end. A run that fails of it says so."""
    killed = driver.worker_killed_in(stage, lane.dice.uniform(0, 1.05))
    if not killed and driver.process.poll() is None:
        driver.process.kill()
        driver.process.wait()
        return True
    code, said = driver.process.wait(), driver.log.read_text(errors="replace")
    with counts.lock:
        counts.workers[driver.now] += killed
        if code and WORKER_DIED not in said:
            counts.failures.append(said[-1500:])
    return code != 0


def _well_ended(code: int, lane: Lane, counts: Counts) -> bool:
    if code:
        said = (lane.folder / "run.log").read_text(errors="replace")[-1500:]
        counts.failures.append(said)
    return code == 0


def work(lane: Lane, undisturbed: dict[str, dict[str, str]], first: Path, counts: Counts) -> None:
    """Days with kills, one after the other: the first of a lake, and the second of one that has a day."""
    turn = lane.dice.randrange(2)
    while not counts.enough():
        ds = DAYS[turn % 2]
        lake = copied(None if ds == DAYS[0] else first, lane.folder / "lake")
        if run_day_with_kills(lane, lake, ds, counts):
            found, expected = digests(lake), undisturbed[ds]
            with counts.lock:
                counts.days += 1
                differing = {name for name in found | expected if found.get(name) != expected.get(name)}
                counts.differences += [f"{name} of {ds}" for name in sorted(differing)]
                counts.left_behind += left_behind(lake, lane.temporary)
                said = f"differs in {', '.join(sorted(differing))}" if differing else "is as nobody disturbed it"
                print(f"{ds}, the day number {counts.days}, {said}", file=sys.stderr, flush=True)
        turn += 1


def fill_disks(config: Path, folder: Path, undisturbed: dict[str, str], counts: Counts) -> None:
    """The first day once more, on a disk that is full again and again (`full_disk`)."""
    needed = sum(file.stat().st_size for file in (folder / "first").rglob("*") if file.is_file())
    command = ["unshare", "--map-root-user", "--mount", sys.executable, "-m", "tests.faults.full_disk"]
    command += [str(config), DAYS[0], str(folder / "disk"), str(needed)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    found = json.loads(ended.stdout)
    counts.full.update(found["full"])
    counts.days += found["ended"]
    counts.failures += found["unclear"] + ([] if found["ended"] else ["the day on a full disk has not ended"])
    counts.left_behind += found["left"]
    differing = {name for name in undisturbed if found["tables"].get(name) != undisturbed[name]}
    counts.differences += [f"{name} of the day on a full disk" for name in sorted(differing)]


def main() -> int:
    """Prepare, kill until it is enough, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=60.0, help="stop earlier, and say what was reached")
    parser.add_argument("--lanes", type=int, default=2, help="runs at once, each on a lake of its own")
    parser.add_argument("--seed", type=int, default=17)
    wanted = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="divspa-faults-") as name:
        folder = Path(name)
        subprocess.run([DIVSPA, "generate", "--out", str(folder / "log"), *LOG], check=True, stderr=subprocess.DEVNULL)
        config = folder / "log" / "divspa.yaml"
        calm = Lane(folder / "calm", config, random.Random(wanted.seed))
        undisturbed, lake = {}, calm.folder / "lake"
        for ds in DAYS:
            driver = calm.start(lake, ds)
            while driver.process.poll() is None:
                driver.look()
                time.sleep(0.2)
            if driver.process.returncode:
                print(driver.log.read_text()[-3000:], file=sys.stderr)
                return 1
            undisturbed[ds] = digests(lake)
            if ds == DAYS[0]:
                copied(lake, folder / "first")
        print(f"undisturbed: { ({name: round(took, 1) for name, took in calm.seconds.items()}) }", file=sys.stderr)
        counts = Counts(wanted.kills, started + wanted.minutes * 60)
        # Asked to end, it kills no more, lets the days that are under way end, and prints what it has counted.
        signal.signal(signal.SIGTERM, lambda *_: setattr(counts, "wanted", 0))
        lanes = [
            Lane(folder / f"lane{n}", config, random.Random(f"{wanted.seed}/{n}"), dict(calm.seconds))
            for n in range(wanted.lanes)
        ]
        with ThreadPoolExecutor(len(lanes)) as pool:
            list(pool.map(lambda lane: work(lane, undisturbed, folder / "first", counts), lanes))
        fill_disks(config, folder, undisturbed[DAYS[0]], counts)
    print(counts.as_json(time.monotonic() - started))
    return int(bool(counts.differences or counts.failures or counts.orphans or counts.left_behind))


if __name__ == "__main__":
    sys.exit(main())
