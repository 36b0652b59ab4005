"""The lease of a day: two runs never work on the same day of a lake without knowing of each other.

A run that wants a day writes a claim of its own into `leases/` of the lake and lists the others; it holds the day when
it is alone. Writing one's own file and listing is all that is needed, so it works alike on a disk, HDFS and S3. Of two
that begin at once, the one whose claim has the smaller name stays. A claim is written anew every BEAT seconds. One
whose process is gone is taken over at once on the same machine; one from elsewhere when it has not been renewed for
EXPIRY seconds, by the clock of the file system, nor while it is watched.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from divspa.errors import ConflictError
from divspa.progress import console
from divspa.storage import is_s3, listed, read_file, remove, write_file

FOLDER, SUFFIX, MAINTAIN = "leases", ".json", "maintain"
EVERY_DAY, UNKNOWN = "every day", "an unknown day"
BEAT, EXPIRY, POLL, LONG_DEAD = 10.0, 60.0, 0.2, 86_400.0


@dataclass(frozen=True)
class Process:
    """A process as only one can be: its machine since when it was started, its namespace, and when it began itself."""

    host: str
    boot: str
    namespace: str
    pid: int
    started: str

    @classmethod
    def this(cls) -> "Process":
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        pid = os.getpid()
        return cls(socket.gethostname(), boot, _namespace(), pid, _started(pid) or "")

    def alive(self) -> bool | None:
        """Whether it runs; None when it is, or was, of another machine or container."""
        here = Process.this()
        if (self.boot, self.namespace) != (here.boot, here.namespace):
            return None
        return _started(self.pid) == self.started


@dataclass(frozen=True)
class Claim:
    """What a run says of itself. `name` is the file's; `scope` a day, every day, or maintain; `held` when it holds it.

    What cannot be read is of every scope, and of a process elsewhere: another version may have written it.
    """

    scope: str
    what: str
    process: Process
    since: str
    held: bool = False
    name: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def read(cls, path: str) -> "Claim | None":
        """None where it is gone."""
        try:
            content = read_file(path)
        except FileNotFoundError:
            return None
        try:
            said = json.loads(content)
            return cls(**said | {"process": Process(**said["process"])})
        except (ValueError, TypeError, KeyError):
            name = path.rpartition("/")[2].removesuffix(SUFFIX)
            return cls(UNKNOWN, "a run of another version", Process("", "", "", 0, ""), "an unknown time", True, name)

    def excludes(self, other: "Claim", alone: bool) -> bool:
        """Whether two may not be held at once; `alone`: no two may."""
        return alone or self.scope == other.scope or bool({UNKNOWN, EVERY_DAY} & {self.scope, other.scope})

    def __str__(self) -> str:
        of = self.process
        return f"{self.what} of {self.scope}, process {of.pid} on {of.host}, since {self.since}"


class Lease:
    """A claim that is held; `require` before every write, because a run that was stalled may have lost it."""

    def __init__(self, root: str, scope: str, what: str, beat: float = BEAT, expiry: float = EXPIRY) -> None:
        self.folder, self.beat, self.expiry = f"{root}/{FOLDER}", beat, expiry
        self.alone = is_s3(root)
        since = datetime.now(UTC).isoformat(" ", "seconds")
        self.claim = Claim(scope, what, Process.this(), since)
        self.renewed, self.lost = _seconds(), False
        self.over, self.writing = threading.Event(), threading.Lock()
        self.renewer = threading.Thread(target=self._renew_on, daemon=True)

    def take(self) -> None:
        """Raises ConflictError when another run that lives holds the day, or on S3 any day."""
        try:
            self._write()
            self.renewer.start()
            while self._must_wait():
                time.sleep(POLL)
            self._write(held=True)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give the day free."""
        self.over.set()
        if self.renewer.is_alive():
            self.renewer.join(self.beat)
        with suppress(OSError):
            remove(self._path(self.claim))

    def require(self) -> None:
        """Raise ConflictError when the claim was taken over, or could not be renewed for so long that it may be."""
        if self.lost or _seconds() - self.renewed > self.expiry:
            raise ConflictError(
                f"The lease of {self.claim.scope} was lost, so nothing more is written",
                found=f"no renewal for {_seconds() - self.renewed:.0f} s, as when a machine sleeps or a store is away",
                remedy="run the stage again",
            )

    def others(self) -> list[Claim]:
        """The claims of other runs that live."""
        return [claim for claim, age in self._claims() if self._seems_alive(claim, age)]

    def _must_wait(self) -> bool:
        """Whether a run that began at once has not yet stepped back."""
        rivals = [(claim, age) for claim, age in self._claims() if claim.excludes(self.claim, self.alone)]
        for claim, age in rivals:
            if not self._seems_alive(claim, age) and not self._moves(claim):
                remove(self._path(claim))
            elif claim.held or claim.name < self.claim.name:
                raise _taken(claim, self.folder, self.alone)
        return bool(rivals)

    def _claims(self) -> Iterator[tuple[Claim, float]]:
        """The claims of others, less those of processes that are gone, and how long ago each was renewed."""
        entries = {entry.name: entry.written for entry in listed(self.folder)}
        own = entries.get(f"{self.claim.name}{SUFFIX}")
        now = own or datetime.now(UTC)
        for name, written in entries.items():
            age = (now - written).total_seconds() if written else 0.0
            if not name.endswith(SUFFIX):
                if age > self.expiry:  # what a run that was killed had half written
                    remove(f"{self.folder}/{name}")
                continue
            claim = Claim.read(f"{self.folder}/{name}")
            if claim is not None and claim.name != self.claim.name:
                if claim.process.alive() is False or age > LONG_DEAD:
                    remove(self._path(claim))
                else:
                    yield claim, age

    def _seems_alive(self, claim: Claim, age: float) -> bool:
        alive = claim.process.alive()
        return 0 <= age <= self.expiry if alive is None else alive

    def _moves(self, claim: Claim) -> bool:
        """Whether a claim is renewed while it is watched: a clock that was set says nothing of a run."""
        console.print(f"The lease of {claim} looks dead; watching it for {2 * self.beat:.0f} s", highlight=False)
        before, path = self._written(claim), self._path(claim)
        limit = _seconds() + 2 * self.beat
        while _seconds() < limit:
            time.sleep(min(POLL, self.beat))
            if self._written(claim) != before:
                return Claim.read(path) is not None
        return False

    def _written(self, claim: Claim) -> datetime | None:
        return next((e.written for e in listed(self.folder) if e.name == f"{claim.name}{SUFFIX}"), None)

    def _renew_on(self) -> None:
        while not self.over.wait(self.beat) and not self.lost:
            try:
                late = _seconds() - self.renewed > self.expiry
                if late or Claim.read(self._path(self.claim)) is None:
                    self.lost = True
                    console.print(f"The lease of {self.claim.scope} was lost to another run", highlight=False)
                else:
                    self._write()
            except OSError:
                continue  # a store that is away for a moment; `require` counts how long

    def _write(self, *, held: bool = False) -> None:
        with self.writing:
            began = _seconds()
            self.claim = replace(self.claim, held=held or self.claim.held)
            write_file(self._path(self.claim), json.dumps(asdict(self.claim)).encode())
            self.renewed = began

    def _path(self, claim: Claim) -> str:
        return f"{self.folder}/{claim.name}{SUFFIX}"


@contextmanager
def leased(root: str, scope: str, what: str) -> Iterator[Lease]:
    """Hold the lease of a day, or of maintain, while something runs; it is released however that ends."""
    lease = Lease(root, scope, what)
    lease.take()
    try:
        yield lease
    finally:
        lease.release()


def _taken(claim: Claim, folder: str, alone: bool) -> ConflictError:
    why = "; on S3 Delta takes one writing run at a time" if alone else ""
    return ConflictError(
        f"Another run works on {claim.scope} of this lake{why}",
        expected="one run a day at a time",
        found=f"{claim}",
        remedy=f"wait for it, or end it; the lease of a run that died, {folder}/{claim.name}{SUFFIX}, is taken over "
        "within two minutes",
    )


def _namespace() -> str:
    return str(Path("/proc/self/ns/pid").readlink())


def _started(pid: int) -> str | None:
    """When a process began, in the kernel's ticks; None where there is none, or only what is left of one."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else rest[18]


def _seconds() -> float:
    """A clock that nobody sets, and that also runs while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
