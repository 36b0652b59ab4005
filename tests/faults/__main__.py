"""Kills the driver of `divspa run` at random moments of every stage, until the day is done, and compares the lakes.

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

from tests.faults.killed_runs import DIVSPA, STAGES, STARTED, Lane, copied, digests, left_behind

DAYS = ("2024-01-13", "2024-01-14")
LOG = ["--users", "300", "--items", "200", "--clicks", "4000"]


@dataclass
class Counts:
    """What happened, over all lanes."""

    wanted: int
    until: float
    kills: Counter[str] = field(default_factory=Counter)
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
        wrong = {name: getattr(self, name) for name in ("differences", "failures", "orphans", "left_behind")}
        return json.dumps(counted | wrong | {"seconds": round(seconds)})


def run_day_with_kills(lane: Lane, lake: Path, ds: str, counts: Counts) -> bool:
    """Kill the day's run in every stage some times, then let it end. False when it failed."""
    for at, stage in enumerate([STARTED, *STAGES]):
        for _ in range(lane.dice.choice((1, 1) if at == 0 else (2, 3, 4))):
            if counts.enough():
                break
            driver = lane.start(lake, ds)
            family = driver.killed_in(stage, lane.dice.uniform(0, 1.05))
            if not family:
                return _well_ended(driver.process.wait(), lane, counts)
            alive = driver.orphans(family)
            with counts.lock:
                counts.kills[driver.now] += 1
                counts.orphans += [f"{pid} of a run killed in {driver.now}" for pid in alive]
                print(f"{counts.kills.total()} kills, this one in {driver.now} of {ds}", file=sys.stderr, flush=True)
    return _well_ended(lane.start(lake, ds).process.wait(), lane, counts)


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
    print(counts.as_json(time.monotonic() - started))
    return int(bool(counts.differences or counts.failures or counts.orphans or counts.left_behind))


if __name__ == "__main__":
    sys.exit(main())
