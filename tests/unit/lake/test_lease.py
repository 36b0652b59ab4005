"""Two runs never hold one day, whoever dies, sleeps or sets a clock."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from divspa.errors import ConflictError
from divspa.lake import lease as module
from divspa.lake.lease import Claim, Lease, Process, leased

DAY, OTHER_DAY = "2024-01-01", "2024-01-02"
ELSEWHERE = Process("other-host", "another-boot", "pid:[1]", 7, "123")


def claims(root: Path) -> list[str]:
    """The files of claims, but for one that a living run is just renewing."""
    return sorted(path.name for path in (root / "leases").glob("*.json"))


def brief(root: Path, scope: str = DAY) -> Lease:
    return Lease(str(root), scope, "augment", beat=0.1, expiry=0.5)


def claim_of(root: Path, process: Process, scope: str = DAY, held: bool = True, age: float = 0.0) -> Path:
    """A claim as another run has left it."""
    claim = Claim(scope, "augment", process, "2024-01-01 00:00:00", held)
    file = root / "leases" / f"{claim.name}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(asdict(claim)))
    os.utime(file, (time.time() - age,) * 2)
    return file


def test_a_day_is_held_once_and_free_again_at_the_end_however_that_comes(tmp_path: Path) -> None:
    with leased(str(tmp_path), DAY, "augment"):
        with pytest.raises(ConflictError, match=rf"works on {DAY}.*augment.*process {os.getpid()} on .*Remedy: wait"):
            brief(tmp_path).take()
        with leased(str(tmp_path), OTHER_DAY, "augment") as other:
            assert [claim.scope for claim in other.others()] == [DAY]
        assert len(claims(tmp_path)) == 1
    with pytest.raises(KeyboardInterrupt), leased(str(tmp_path), DAY, "augment"):
        raise KeyboardInterrupt
    assert claims(tmp_path) == []


def test_the_lease_of_a_process_that_was_killed_is_taken_over_at_once(tmp_path: Path) -> None:
    script = (
        "import time; from divspa.lake.lease import leased\n"
        f"with leased({str(tmp_path)!r}, {DAY!r}, 'augment'):\n    print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        with pytest.raises(ConflictError, match=f"process {process.pid} on"):
            brief(tmp_path).take()
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # gone, but not yet buried
        began = time.monotonic()
        with leased(str(tmp_path), DAY, "augment"):
            assert time.monotonic() - began < 2 and len(claims(tmp_path)) == 1


def test_a_number_that_another_process_was_given_is_not_the_one_that_died(tmp_path: Path) -> None:
    claim_of(tmp_path, replace(Process.this(), started="1"))
    brief(tmp_path).take()


@pytest.mark.parametrize("held", [True, False])
def test_a_run_elsewhere_that_renews_its_lease_is_left_alone(tmp_path: Path, held: bool) -> None:
    file = claim_of(tmp_path, ELSEWHERE, held=held)
    if not held:
        file = file.rename(file.with_name("0.json"))
        file.write_text(file.read_text().replace(json.loads(file.read_text())["name"], "0"))
    with pytest.raises(ConflictError, match="process 7 on other-host"):
        brief(tmp_path).take()
    assert claims(tmp_path) == [file.name]


@pytest.mark.parametrize("age", [100.0, -100.0], ids=["long ago", "clock set back since"])
def test_a_run_elsewhere_that_renews_no_more_is_taken_over_after_it_was_watched(
    tmp_path: Path, age: float, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = claim_of(tmp_path, ELSEWHERE, age=age)
    lease = brief(tmp_path)
    lease.take()
    assert "looks dead; watching" in capsys.readouterr().err
    assert not dead.exists() and len(claims(tmp_path)) == 1
    lease.release()


@pytest.mark.parametrize("age", [100.0, -100.0], ids=["clock set forward", "clock set back"])
def test_a_clock_that_was_set_does_not_make_a_living_run_dead(
    tmp_path: Path, age: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = claim_of(tmp_path, ELSEWHERE, age=age)
    asked = module.listed

    def listed_while_renewed(path: str) -> object:
        os.utime(file, (file.stat().st_mtime + 0.1,) * 2)
        return asked(path)

    monkeypatch.setattr(module, "listed", listed_while_renewed)
    with pytest.raises(ConflictError, match="other-host"):
        brief(tmp_path).take()
    assert file.exists()


def test_what_cannot_be_read_excludes_all_until_it_is_old(tmp_path: Path) -> None:
    file = tmp_path / "leases" / "unknown.json"
    file.parent.mkdir()
    file.write_text('{"scope": ["of a later version"]}')
    with pytest.raises(ConflictError, match="another version"):
        brief(tmp_path).take()
    half = tmp_path / "leases" / "x.json.part"
    for left in (file, half):
        left.write_text("{")
        os.utime(left, (time.time() - 100,) * 2)
    lease = brief(tmp_path)
    lease.take()
    assert len(claims(tmp_path)) == 1 and not half.exists()
    lease.release()


def test_a_lease_that_was_taken_over_is_noticed_and_not_written_again(tmp_path: Path) -> None:
    lease = brief(tmp_path)
    lease.take()
    lease.require()
    (tmp_path / "leases" / claims(tmp_path)[0]).unlink()
    lease.renewer.join(5)
    with pytest.raises(ConflictError, match=f"lease of {DAY} was lost.*run the stage again"):
        lease.require()
    assert claims(tmp_path) == []


def test_a_lease_that_cannot_be_renewed_holds_no_longer_than_others_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = brief(tmp_path)
    lease.take()

    def away(*_: object) -> None:
        raise OSError("the store is away")

    monkeypatch.setattr(module, "write_file", away)
    lease.require()
    time.sleep(0.7)
    with pytest.raises(ConflictError, match="was lost"):
        lease.require()
    lease.release()


def test_a_lease_is_renewed_while_it_is_held(tmp_path: Path) -> None:
    lease = brief(tmp_path)
    lease.take()
    file = tmp_path / "leases" / claims(tmp_path)[0]
    before = file.stat().st_mtime_ns
    time.sleep(0.5)
    assert file.stat().st_mtime_ns > before and json.loads(file.read_text())["held"]
    lease.release()


CONTENDER = """
import os, random, sys, time
from divspa.errors import ConflictError
from divspa.lake import lease
from divspa.lake.lease import leased
lease.POLL = 0.002
root, mark, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
held, end = 0, time.monotonic() + seconds
while time.monotonic() < end:
    try:
        with leased(root, "2024-01-01", "augment"):
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))  # fails where another one is inside
            held += 1
            time.sleep(0.001)
            os.unlink(mark)
    except ConflictError:
        time.sleep(random.random() / 20)
print(held)
"""


def test_of_many_that_begin_at_once_never_two_hold_a_day(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", CONTENDER, str(tmp_path), str(tmp_path / "inside"), "3"]
    contenders = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    held = [int(contender.communicate()[0]) for contender in contenders]
    assert all(contender.returncode == 0 for contender in contenders)
    assert sum(held) > 20, held
    assert claims(tmp_path) == []
