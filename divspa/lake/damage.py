"""Files of the lake that are missing, cut or garbage: one error that names the file and how to mend the lake."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from divspa.errors import LOG, DamagedError
from divspa.lake.conflicts import SPARK_ERRORS
from divspa.storage import size_of

UNREADABLE = re.compile(r"\[FAILED_READ_FILE\.(?P<kind>\w+)\] Encountered error while reading file (?P<file>\S+?)\.?\s")
INCOMPLETE = re.compile(
    r"\[(DELTA_VERSIONS_NOT_CONTIGUOUS|DELTA_TRUNCATED_TRANSACTION_LOG|DELTA_LOG_FILE_NOT_FOUND)\w*\]"
)


@contextmanager
def damage_named(table: str | None = None) -> Iterator[None]:
    """Turn what Spark says of a broken file, while a table of this path or any other is read, into a DamagedError."""
    try:
        yield
    except SPARK_ERRORS as error:
        if (damage := _damage(str(error), table)) is None:
            raise
        raise damage from error


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
