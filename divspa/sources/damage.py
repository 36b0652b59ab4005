"""Files that open well and turn out to be damaged further in: named, or read without."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from py4j.protocol import Py4JJavaError
from pyspark.errors.exceptions.base import PySparkException
from pyspark.sql import DataFrame

from divspa.errors import InputError, one_line
from divspa.sources.files import Files
from divspa.sources.settings import Source

T = TypeVar("T")


@dataclass
class Damage:
    """The damaged files of an input while it is read, by name with what is wrong, and the `files` that are read."""

    known: dict[str, str] = field(default_factory=dict)
    files: Files | None = None


class _DamagedFileError(InputError):
    """A file of an input cannot be read to its end."""

    def __init__(self, file: str, why: str, source: Source) -> None:
        self.file, self.why = file, why
        super().__init__(
            f"The file {file} cannot be read to its end as {source.format}",
            found=why,
            remedy="write it anew, remove it, or set `corrupt_files: quarantine` to go on without such files",
        )


def read_whole(source: Source, attempt: Callable[[Damage], T]) -> T:
    """What `attempt` makes of an input by reading all of it; it is told which files to leave out.

    It is tried once more for each file that turns out to be damaged, or, unless `corrupt_files: quarantine`, ends with
    an InputError that names the first.
    """
    damage = Damage()
    while True:
        try:
            with _reading(source, damage):
                return attempt(damage)
        except _DamagedFileError as error:
            if source.corrupt_files == "error" or error.file in damage.known:
                raise
            damage.known[error.file] = error.why


def with_damaged(quarantined: DataFrame, files: Files | None) -> DataFrame:
    """The refused rows (reason, row, copies), and a row for each file that could not be read."""
    if files is None or not files.damaged:
        return quarantined
    rows = [(f"the file cannot be read: {why}", json.dumps({"file": url}), 1) for url, why in files.damaged.items()]
    return quarantined.unionByName(quarantined.sparkSession.createDataFrame(rows, quarantined.schema))


@contextmanager
def _reading(source: Source, damage: Damage) -> Iterator[None]:
    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        named = re.search(r"while reading file (\S+?)\.?\s", str(error))
        if named is not None and _is_of(file := unquote(named[1]), source, damage.files):
            why = (re.findall(r"Caused by: ([^\n]+)", str(error)) or [""])[-1][:200]
            raise _DamagedFileError(file, why, source) from error
        for name, why in _not_whole(source, damage.files):
            raise _DamagedFileError(name, why, source) from error
        raise


def _is_of(name: str, source: Source, files: Files | None) -> bool:
    """Whether a file is of the input, and not of a table of the lake that it is compared with."""
    if files is None:
        return source.location.rpartition("://")[2] in name
    return any(name.endswith(file.path) for file in files.data)


def _not_whole(source: Source, files: Files | None) -> Iterator[tuple[str, str]]:
    """Parquet files that Arrow cannot read to their end: Spark decodes some values later, and then names no file."""
    if files is None or source.format != "parquet":
        return
    for file in files.data:
        try:
            with files.system.open_input_file(file.path) as opened:
                for _ in pq.ParquetFile(opened).iter_batches():
                    pass
        except (OSError, ValueError, pa.ArrowException) as error:
            yield file.url, one_line(error)
