"""A run's temporary files are its own, and gone when it is, whatever ended it."""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from divspa.errors import SetupError
from divspa.scratch import scratch

HOLD = """from divspa.scratch import scratch
folder = scratch()
(folder / 'half').write_text('x')
print(folder, flush=True)
input()"""


def said(run: subprocess.Popen[str]) -> str:
    assert run.stdout is not None
    return run.stdout.readline().strip()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_what_a_killed_run_left_goes_with_the_next_and_what_a_living_one_has_stays(place: Path) -> None:
    script = [sys.executable, "-c", HOLD]
    runs = [subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    killed, living = (Path(said(run)) for run in runs)
    runs[0].send_signal(signal.SIGKILL)
    runs[0].communicate()
    own = scratch()
    assert not killed.exists() and (living / "half").exists()
    assert own.stat().st_mode & 0o777 == own.parent.stat().st_mode & 0o777 == 0o700
    runs[1].communicate("\n")
    assert not living.exists(), "a run that ends takes its own away"


def test_a_place_of_somebody_else_is_refused(place: Path) -> None:
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    own = scratch().parent
    for left in own.rglob("*"):
        if left.is_file():
            left.unlink()
    for left in own.iterdir():
        left.rmdir()
    own.rmdir()
    own.symlink_to(elsewhere)
    with pytest.raises(SetupError, match="not this user's own"):
        scratch()
