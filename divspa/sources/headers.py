"""What a file says of its columns: read by Arrow on the driver, some kilobytes a file, many files at once."""

import codecs
import csv
import io
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs
from pyspark.sql import types as T
from pyspark.sql.pandas.types import from_arrow_type

from divspa.errors import DivSPAError, InputError, one_line
from divspa.sources.files import DataFile, Files
from divspa.sources.settings import Source

READERS = 16
# A header longer than this is no header.
HEAD = 1 << 20
# Types of Arrow that Parquet holds as others, and that Spark reads as these.
OF_ARROW: dict[pa.DataType, T.DataType] = {
    pa.uint8(): T.ShortType(),
    pa.uint16(): T.IntegerType(),
    pa.uint32(): T.LongType(),
    pa.uint64(): T.DecimalType(20, 0),
    **{pa.duration(unit): T.LongType() for unit in ("s", "ms", "us", "ns")},
}
PACKED = {b"PK\x03\x04": "a zip archive", b"PAR1": "Parquet", b"SQLi": "a database", b"%PDF": "a PDF"}


@dataclass(frozen=True)
class ColumnKind:
    """What a column holds: Spark's type, None for one that Spark cannot read, and whether it counts nanoseconds.

    `text` is true where the file has texts alone, whose type nobody has declared.
    """

    type: T.DataType | None
    nanoseconds: bool = False
    text: bool = False


TEXT = ColumnKind(T.StringType(), text=True)


@dataclass(frozen=True)
class Header:
    """The columns of a file in its order; of JSON, which has none, whether a line is a record (`layout`)."""

    columns: tuple[tuple[str, ColumnKind], ...] = ()
    layout: Literal["", "lines", "document"] = ""


def read_headers(files: Files, source: Source) -> dict[DataFile, Header]:
    """The header of every file; one that cannot be read is an InputError that names it, or is left out.

    `corrupt_files: quarantine` leaves it out; then `files.damaged` says why.
    """

    def attempt(file: DataFile) -> Header | str:
        try:
            if isinstance(files.system, fs.LocalFileSystem) and ":" in file.path:
                return "its name holds a colon, and Spark can read no such file here: rename it"
            return read_header(files.system, file, source)
        except (OSError, ValueError, pa.ArrowException, EOFError, DivSPAError) as error:
            return one_line(error)

    with ThreadPoolExecutor(READERS) as pool:
        found = dict(zip(files.data, pool.map(attempt, files.data), strict=True))
    for file, header in found.items():
        if isinstance(header, str):
            set_aside(files, file, header, source)
    headers = {file: header for file, header in found.items() if isinstance(header, Header)}
    if not headers:
        raise InputError(f"No file of the input {source.path} can be read", found=_first(files.damaged.values()))
    return headers


def set_aside(files: Files, file: DataFile, why: str, source: Source) -> None:
    """Set a damaged file aside, or raise InputError, as `corrupt_files` says."""
    if source.corrupt_files == "error":
        raise InputError(
            f"The file {file.url} cannot be read as {source.format}",
            found=why,
            remedy="mend or remove it, mend `format`, or set `corrupt_files: quarantine` to go on without such files",
        )
    files.set_aside(file, why)


def read_header(system: fs.FileSystem, file: DataFile, source: Source) -> Header:
    """The header of one file. Raises what Arrow raises, or ValueError, for a file of another format."""
    if source.format == "parquet":
        return Header(tuple(parquet_columns(system, file.path)))
    encoding = str(source.options.get("encoding", "utf-8"))
    head = _head(system, file.path, encoding)
    if source.format == "jsonl":
        return Header(layout=json_layout(head))
    return Header(tuple((name, TEXT) for name in csv_columns(head, source)))


def parquet_columns(system: fs.FileSystem, path: str) -> Iterator[tuple[str, ColumnKind]]:
    """The columns of a Parquet file as Spark reads them."""
    with system.open_input_file(path) as opened:
        file = pq.ParquetFile(opened)
        physical = {file.schema.column(n).path: file.schema.column(n).physical_type for n in range(len(file.schema))}
        for column in file.schema_arrow:
            yield column.name, _kind(column.type, physical.get(column.name))


def csv_columns(head: str, source: Source) -> list[str]:
    """The names in a CSV file's header, or `_c0`, `_c1`, … where there is none; a repeated name is numbered."""
    options = source.options
    comment = str(options.get("comment", ""))
    lines = [line for line in head.splitlines(keepends=True) if line.strip()]
    lines = [line for line in lines if not (comment and line.startswith(comment))]
    quote = str(options.get("quote", '"'))
    delimiter = str(options.get("sep", options.get("delimiter", ",")))
    if len(delimiter) > 1:
        names = lines[0].rstrip("\r\n").split(delimiter)
    else:
        reader = csv.reader(io.StringIO("".join(lines)), delimiter=delimiter, quotechar=quote or None)
        names = next(iter(reader), [])
    if str(options.get("header", True)).lower() == "false":
        return [f"_c{place}" for place in range(len(names))]
    trimmed = [name.strip() or f"_c{place}" for place, name in enumerate(names)]
    return [name if trimmed.index(name) == place else f"{name}#{place}" for place, name in enumerate(trimmed)]


def json_layout(head: str) -> Literal["lines", "document"]:
    """`lines` where the first line holds whole records, `document` for arrays and records over many lines."""
    text = head.lstrip()
    if text[:1] not in ("{", "["):
        raise ValueError(f"JSON begins with {{ or [, and this with {text[:20]!r}")
    if text.startswith("["):
        return "document"
    line = text.partition("\n")[0]
    try:
        json.JSONDecoder().raw_decode(line)
    except ValueError:
        # One bad line is a bad row; a record that only ends on a later line is not.
        return "document" if _ends_later(text) else "lines"
    return "lines"


def _ends_later(text: str) -> bool:
    try:
        json.JSONDecoder().raw_decode(text)
    except ValueError:
        return False
    return True


def _head(system: fs.FileSystem, path: str, encoding: str) -> str:
    with system.open_input_stream(path, compression="detect") as opened:
        start = opened.read(HEAD)
    for magic, what in PACKED.items():
        if start.startswith(magic):
            raise ValueError(f"it is {what}")
    text = codecs.getincrementaldecoder(encoding)("replace").decode(start).removeprefix("\ufeff")
    if "\0" in text[:4096]:
        raise ValueError(f"it is no text in {encoding}")
    if not text.strip():
        raise ValueError("it holds nothing but spaces")
    return text


def _kind(arrow: pa.DataType, physical: str | None) -> ColumnKind:
    if pa.types.is_dictionary(arrow):
        arrow = arrow.value_type
    if pa.types.is_timestamp(arrow):
        if arrow.unit == "ns" and physical != "INT96":
            return ColumnKind(T.LongType(), nanoseconds=True)
        return ColumnKind(T.TimestampType() if arrow.tz or physical == "INT96" else T.TimestampNTZType())
    if pa.types.is_fixed_size_binary(arrow):
        return ColumnKind(T.BinaryType())
    if arrow in OF_ARROW:
        return ColumnKind(OF_ARROW[arrow])
    try:
        return ColumnKind(from_arrow_type(arrow, prefer_timestamp_ntz=True))
    except Exception:  # Spark has no type for it, which matters only where the column is asked for
        return ColumnKind(None)


def _first(reasons: Iterable[str]) -> str:
    return next(iter(reasons), "")
