"""Some rows of files that nobody has described yet, read by Arrow in seconds, with how the files are written."""

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from divspa.errors import LOG, InputError
from divspa.sources.files import DataFile, Files, list_files
from divspa.sources.frames import records_of

ROWS = 100_000
# Of a text file so much is read; of many files the first, the last, and some between.
BYTES, FILES = 1 << 22, 5
DELIMITERS = ",;\t|"
NUMBER = re.compile(r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$")
Format = Literal["parquet", "csv", "jsonl", "delta"]


@dataclass(frozen=True)
class Sample:
    """Rows of an input: `table` has its columns, texts for CSV; nested JSON stands under dotted names.

    `rows` is about how many the whole input has, from the size of its files.
    """

    path: str
    format: Format
    table: pa.Table
    rows: int
    bytes: int
    options: dict[str, str | bool] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def take_sample(path: str) -> Sample:
    """Read some rows of a file, a folder or a glob. Raises InputError for what is none of the formats."""
    files = list_files(path)
    chosen = _spread(files.data)
    # A Delta table is seen by its files here, some of which its log may have removed.
    kind = "delta" if (Path(path) / LOG).is_dir() else _format_of(files, chosen[0])
    size = sum(file.size for file in files.data)
    if kind in ("parquet", "delta"):
        table, rows = _parquet_rows(files, chosen)
        return Sample(path, kind, table, rows, size, left_out=files.left_out)
    texts = [_text(files, file) for file in chosen]
    encoding = "utf-8" if all(encoding == "utf-8" for _, encoding in texts) else "cp1252"
    if kind == "jsonl":
        records = [_flat(json.loads(each)) for text, _ in texts for each in records_of(text) if _is_object(each)]
        table, options = pa.Table.from_pylist(_same_types(records)), {}
    else:
        table, options = _csv_rows([text for text, _ in texts])
        options |= {"encoding": encoding} if encoding != "utf-8" else {}
    read = sum(len(text.encode()) for text, _ in texts)
    rows = round(len(table) * max(size / max(read, 1), 1))
    return Sample(path, kind, table.slice(0, ROWS), rows, size, options, files.left_out)


def last_times(sample: Sample, name: str) -> Iterator[object]:
    """The largest value of a column in each file, all of which is read for it: some seconds a gigabyte."""
    files = list_files(sample.path)
    readers = {"csv": _csv_column, "jsonl": _json_column, "parquet": _parquet_column, "delta": _parquet_column}
    for file in files.data:
        for column in readers[sample.format](sample, files, file, name):
            yield _largest(column)


def _parquet_column(sample: Sample, files: Files, file: DataFile, name: str) -> Iterator[pa.ChunkedArray]:
    with files.system.open_input_file(file.path) as opened:
        yield pq.ParquetFile(opened).read([name]).column(name)


def _csv_column(sample: Sample, files: Files, file: DataFile, name: str) -> Iterator[pa.Array]:
    options = sample.options
    names = None if options.get("header", True) else sample.table.column_names
    kept = pacsv.ConvertOptions(include_columns=[name], column_types={name: pa.string()})
    parse = pacsv.ParseOptions(delimiter=str(options.get("sep", ",")), invalid_row_handler=lambda row: "skip")
    read = pacsv.ReadOptions(column_names=names, encoding=str(options.get("encoding", "utf-8")))
    with files.system.open_input_stream(file.path, compression="detect") as opened:
        for batch in pacsv.open_csv(opened, read_options=read, parse_options=parse, convert_options=kept):
            yield batch.column(0)


def _json_column(sample: Sample, files: Files, file: DataFile, name: str) -> Iterator[pa.Array]:
    with files.system.open_input_stream(file.path, compression="detect") as opened:
        lines = io.TextIOWrapper(opened, encoding="utf-8", errors="replace")
        while text := lines.read(BYTES) + lines.readline():
            records = (_flat(json.loads(each)) for each in records_of(text) if _is_object(each))
            yield pa.array([record.get(name) for record in records], sample.table.schema.field(name).type)


def _largest(column: pa.Array | pa.ChunkedArray) -> object:
    """The largest number in a column, or text; '' where it is empty."""
    numbers: Any = pd.to_numeric(column.to_pandas(), errors="coerce") if not pa.types.is_temporal(column.type) else None
    if numbers is not None and len(numbers) and numbers.notna().mean() > 0.5:
        return float(numbers.max())
    value = pc.max(column).as_py()  # pyright: ignore[reportAttributeAccessIssue]
    return "" if value is None else value


def _spread(files: list[DataFile]) -> list[DataFile]:
    places = sorted({round(n * (len(files) - 1) / (FILES - 1)) for n in range(FILES)})
    return [files[place] for place in places]


def _format_of(files: Files, file: DataFile) -> Format:
    with files.system.open_input_stream(file.path, compression="detect") as opened:
        start = opened.read(4096)
    if start.startswith(b"PAR1"):
        return "parquet"
    if b"\0" in start or start.startswith((b"PK\x03\x04", b"%PDF")):
        raise InputError(
            f"The file {file.url} is neither Parquet, CSV nor JSON",
            remedy="unpack or convert it; Parquet is read fastest",
        )
    return "jsonl" if start.lstrip(b" \t\r\n\xef\xbb\xbf")[:1] in (b"{", b"[") else "csv"


def _parquet_rows(files: Files, chosen: list[DataFile]) -> tuple[pa.Table, int]:
    parts, rows, size = [], 0, 0
    for file in chosen:
        with files.system.open_input_file(file.path) as opened:
            parquet = pq.ParquetFile(opened)
            batch = next(parquet.iter_batches(ROWS // len(chosen)), None)
            rows, size = rows + parquet.metadata.num_rows, size + file.size
        if batch is not None:
            parts.append(pa.Table.from_batches([batch]))
    names = [name for name in parts[0].column_names if all(name in part.column_names for part in parts)]
    table = pa.concat_tables([part.select(names).cast(parts[0].select(names).schema, safe=False) for part in parts])
    total = sum(file.size for file in files.data)
    return table, round(rows * total / max(size, 1))


def _text(files: Files, file: DataFile) -> tuple[str, str]:
    """The start of a file up to a line's end, and its encoding: what is no UTF-8 is mostly of a Windows spreadsheet."""
    with files.system.open_input_stream(file.path, compression="detect") as opened:
        content = opened.read(BYTES)
    if len(content) == BYTES:
        content = content[: content.rfind(b"\n") + 1] or content
    try:
        return content.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace"), "cp1252"


def _csv_rows(texts: list[str]) -> tuple[pa.Table, dict[str, str | bool]]:
    head = "\n".join(texts[0].splitlines()[:50])
    delimiter = max(DELIMITERS, key=lambda mark: min((line.count(mark) for line in head.splitlines()[:20]), default=0))
    parsed = [list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)) for text in texts]
    first = parsed[0][0]
    # Names are no numbers, and differ from each other.
    has_header = not any(NUMBER.match(cell) for cell in first) and len(set(first)) == len(first)
    names = [cell.strip() or f"_c{n}" for n, cell in enumerate(first)] if has_header else []
    names = names or [f"_c{n}" for n in range(len(first))]
    rows = [row for part in parsed for row in (part[1:] if has_header else part) if len(row) == len(first)]
    columns = list(zip(*rows, strict=True)) or [() for _ in names]
    options: dict[str, str | bool] = {}
    if delimiter != ",":
        options["sep"] = delimiter
    if not has_header:
        options["header"] = False
    return pa.table({name: pa.array(column, pa.string()) for name, column in zip(names, columns, strict=True)}), options


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _flat(record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            out |= _flat(value, f"{prefix}{name}.")
        else:
            out[prefix + name] = value
    return out


def _same_types(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records whose columns have one type each: those of several are texts."""
    kinds: dict[str, set[type]] = {}
    for record in records:
        for name, value in record.items():
            if value is not None:
                kinds.setdefault(name, set()).add(type(value))
    mixed = {name for name, found in kinds.items() if len(found) > 1 and found != {int, float}}
    return [
        {
            name: str(record[name]) if name in mixed and record.get(name) is not None else record.get(name)
            for name in kinds
        }
        for record in records
    ]
