"""One day on other numbers of cores, partitions and processes of Spark: its tables are the same.

    .venv/bin/python -m tests.same_tables --out FOLDER

Runs the day on one core and on two, in 1, 2 and 4 partitions, and on a cluster of two workers, each in a lake of its
own and with one thread of torch; prints a JSON object for each with the tables that are not alike to the last bit, and
by how much their numbers differ; fails where that is more than NOISE. Takes about six minutes on two idle cores.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from tests.faults.killed_runs import call, frames_of

DAY = "2024-01-14"
LOG = ["--users", "300", "--items", "200", "--clicks", "6000"]
SETS = ["training.epochs=2", "divspa.draws=2", "spark.driver_memory=1g"]
# What the others are compared with, and then master and partitions of each.
FIRST = ("local[2]", 2)
OTHERS = [("local[1]", 1), ("local[1]", 2), ("local[2]", 1), ("local[2]", 4), ("local-cluster[2,1,1024]", 2)]
# Sums of floating-point numbers depend on their order: by so much of the value, or of 1 where that is more.
NOISE = 1e-6

Row = tuple[str, list[float]]


def run(config: Path, lake: Path, master: str, partitions: int) -> None:
    sets = [*SETS, f"lake={lake}", f"spark.master={master}", f"spark.partitions={partitions}"]
    call("run", "--config", str(config), "--ds", DAY, *(part for setting in sets for part in ("--set", setting)))


def without_numbers(value: object, numbers: list[float]) -> object:
    """A value with its floating-point numbers taken out of it, in order."""
    if isinstance(value, float):
        numbers.append(value)
        return None
    if isinstance(value, list | tuple):
        return [without_numbers(each, numbers) for each in value]
    if isinstance(value, dict):
        return {key: without_numbers(each, numbers) for key, each in value.items()}
    return value


def tables(lake: Path) -> dict[str, list[Row]]:
    """The rows of each table, each parted into its numbers and the rest of it, in order."""
    found: dict[str, list[Row]] = {}
    for table, rows in frames_of(lake):
        numbers: list[list[float]] = [[] for _ in range(len(rows))]
        parted = zip(rows.rows(), numbers, strict=True)
        found[table] = sorted((repr(without_numbers(row, own)), own) for row, own in parted)
    return found


def difference(ours: list[Row], theirs: list[Row]) -> float:
    """How far the numbers are apart at most; infinite where anything else differs."""
    if [(rest, len(numbers)) for rest, numbers in ours] != [(rest, len(numbers)) for rest, numbers in theirs]:
        return float("inf")
    pairs = ((a, b) for (_, one), (_, other) in zip(ours, theirs, strict=True) for a, b in zip(one, other, strict=True))
    return max((abs(a - b) / max(1.0, abs(a)) for a, b in pairs if a != b), default=0.0)


def main() -> int:
    """Run the day in each way, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    folder = parser.parse_args().out.resolve()
    os.environ["OMP_NUM_THREADS"] = "1"  # of every process that is started here
    call("generate", "--out", str(folder / "log"), *LOG)
    config, farthest = folder / "log" / "divspa.yaml", 0.0
    run(config, folder / "first", *FIRST)
    expected = tables(folder / "first")
    for n, (master, partitions) in enumerate(OTHERS):
        run(config, folder / f"other{n}", master, partitions)
        found = tables(folder / f"other{n}")
        apart = {name: difference(expected.get(name, []), found.get(name, [])) for name in expected | found}
        not_alike = {name: value for name, value in apart.items() if value > 0}
        told = {"master": master, "partitions": partitions, "tables": len(found), "differing": not_alike}
        print(json.dumps(told), flush=True)
        farthest = max([farthest, *not_alike.values()])
    return int(farthest > NOISE)


if __name__ == "__main__":
    sys.exit(main())
