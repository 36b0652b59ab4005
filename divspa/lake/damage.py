"""Broken files of the lake, full disks and dead workers: one error that names it and says how to mend it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from divspa.errors import LOG, DamagedError, DivSPAError, SetupError
from divspa.lake.conflicts import SPARK_ERRORS
from divspa.storage import size_of

UNREADABLE = re.compile(r"\[FAILED_READ_FILE\.(?P<kind>\w+)\] Encountered error while reading file (?P<file>\S+?)\.?\s")
INCOMPLETE = re.compile(
    r"\[(DELTA_VERSIONS_NOT_CONTIGUOUS|DELTA_TRUNCATED_TRANSACTION_LOG|DELTA_LOG_FILE_NOT_FOUND)\w*\]"
)

# How the system says it, whoever hands it on: Java, Arrow, FAISS, safetensors or Python itself.
NO_SPACE = "No space left on device"
WORKER_DIED = "Python worker exited unexpectedly"


@contextmanager
def damage_named(table: str | None = None) -> Iterator[None]:
    """Turn what Spark says of a broken file, while a table of this path or any other is read, into a DamagedError.

    What anybody says of a full disk, or Spark of a Python worker that died, becomes a SetupError.
    """
    try:
        yield
    except Exception as error:
        if (damage := as_damage(error, table)) is None:
            raise
        raise damage from error


def as_damage(error: Exception, table: str | None = None) -> DivSPAError | None:
    """What `damage_named` raises in place of an error; None when it leaves the error as it is."""
    if isinstance(error, DivSPAError):
        return None
    if (said := full_disk(error)) is not None:
        remedy = "make room on the disk of the lake and of temporary files (TMPDIR), and run it again: it goes on"
        return SetupError("A disk is full", found=said, remedy=remedy)
    if not isinstance(error, SPARK_ERRORS):
        return None
    if WORKER_DIED in str(error):
        remedy = (
            "mostly the system ended it for want of memory: leave Java less (`spark.driver_memory`), or make "
            "smaller tasks (`spark.partitions`), and run it again: it goes on"
        )
        return SetupError("A Python worker of Spark died", remedy=remedy)
    return _damage(str(error), table)


def full_disk(error: BaseException) -> str | None:
    """What an error, or one that it came of, says of a full disk, on one line; None when it says nothing."""
    lines = (line.strip() for each in _chain(error) for line in str(each).splitlines())
    return next((line[:300] for line in lines if NO_SPACE in line), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    known: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in known:
        known.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def require_whole_entry(table: str, version: int) -> None:
    """Raise DamagedError for an empty newest log entry, which Delta takes for one that changes nothing."""
    name = f"{version:020}.json"
    if size_of(f"{table}/{LOG}/{name}") == 0:
        raise DamagedError.of_file(f"{table}/{LOG}/{name}", "no bytes, as when a machine lost power")


def _damage(text: str, table: str | None) -> DamagedError | None:
    if (found := UNREADABLE.search(text)) is not None:
        missing = found["kind"] == "FILE_NOT_EXIST"
        return DamagedError.of_file(found["file"], "no such file" if missing else "it is cut or garbage")
    if (gap := INCOMPLETE.search(text)) is not None:
        return DamagedError(
            f"Entries are missing in the log of {table or 'a table'}",
            found=text[gap.start() :].partition("\n")[0][:200],
            remedy=f"bring back the files of its {LOG} from a copy, or remove the table's folder and run its "
            "days again",
        )
    return None
