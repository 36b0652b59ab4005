"""A day on a disk that is full again and again: it grows a little after each failure, until the day ends.

Runs in a mount namespace of its own, where a normal user may mount, and prints one JSON object:

    unshare --map-root-user --mount .venv/bin/python -m tests.faults.full_disk CONFIG DAY FOLDER BYTES
"""

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.faults.killed_runs import STARTED, Lane, digests, left_behind

# The disk begins with so many parts of what the day needs, and grows by one after each failure; by some until Spark
# has started, which takes room for its libraries.
PARTS, MOST, UNTIL_STARTED = 24, 60, 6


def mount(folder: Path, size: int, *options: str) -> None:
    command = ["mount", "-t", "tmpfs", "-o", ",".join([*options, f"size={size}"]), "tmpfs", str(folder)]
    subprocess.run(command, check=True)


def main() -> int:
    """Run the day until it ends; what it says of each failure, and what it has made."""
    config, ds, folder, needed = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    folder.mkdir(parents=True, exist_ok=True)
    size = part = max(1 << 20, needed // PARTS)
    mount(folder, size)
    lane = Lane(folder, config, random.Random(0))
    log, full, unclear = folder.with_suffix(".log"), Counter[str](), []
    for _ in range(MOST):
        driver = lane.start(folder / "lake", ds, log)
        code = driver.process.wait()
        if not code:
            break
        said = log.read_text(errors="replace")
        stage = driver.look()
        full[stage] += 1
        if "A disk is full" not in said:
            unclear.append(f"{stage}: {said[-1500:]}")
        print(f"full in {stage} with {size >> 20} MB", file=sys.stderr, flush=True)
        size += part * (UNTIL_STARTED if stage == STARTED else 1)
        mount(folder, size, "remount")
    ended = {
        "ended": not code,
        "full": dict(full),
        "unclear": unclear,
        "left": left_behind(folder / "lake", lane.temporary),
    }
    print(json.dumps(ended | {"tables": digests(folder / "lake") if not code else {}}))
    return code


if __name__ == "__main__":
    sys.exit(main())
