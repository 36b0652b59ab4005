"""The private temporary folder of a run; what a run that was killed left in its own goes with the next one."""

import atexit
import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from divspa.errors import SetupError

LOCK = "lock"


def scratch() -> Path:
    """Make this process's own folder below $TMPDIR/divspa-UID, with mode 700, the place of all its temporary files.

    Folders of processes that are gone are removed: each is locked for as long as its process lives, whatever ends it.
    Raises SetupError when the place is another user's.
    """
    place = Path(tempfile.gettempdir()) / f"divspa-{os.getuid()}"
    place.mkdir(mode=0o700, exist_ok=True)
    held = place.lstat()
    if held.st_uid != os.getuid() or not place.is_dir() or place.is_symlink():
        raise SetupError(
            f"The folder {place} is not this user's own", remedy="remove it, or set TMPDIR to another place"
        )
    place.chmod(0o700)
    for left in place.iterdir():
        _remove_if_left(left)
    folder = Path(tempfile.mkdtemp(dir=place))
    # Held open without a reference, and so locked, until the process ends; nobody sees it before it is locked.
    fcntl.flock(os.open(folder / "unlocked", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600), fcntl.LOCK_EX)
    (folder / "unlocked").rename(folder / LOCK)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _remove_if_left(folder: Path) -> None:
    with suppress(OSError):
        file = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(file)
