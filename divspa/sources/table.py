"""A table of input as columns that mean something: each asked for by name or expression, and checked before any job."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import reduce
from typing import Any, Literal

from pyspark.errors.exceptions.base import AnalysisException, PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from divspa.errors import ConfigError, InputError
from divspa.sources import values
from divspa.sources.damage import Damage
from divspa.sources.expressions import alike, column, guarded, parts_of
from divspa.sources.files import DataFile, Files, list_files
from divspa.sources.frames import CORRUPT, csv_rows, json_rows, parquet_rows, with_folders
from divspa.sources.headers import TEXT, ColumnKind, Header, read_headers
from divspa.sources.settings import Source, TimeUnit
from divspa.sources.types import text_types, typed

Meaning = Literal["id", "ids", "text", "texts", "number", "numbers", "time", "order", "condition"]
PROBLEM, RAW = "problem", "raw"
# Columns of ours stand beside those that expressions name, and may not be mistaken for them.
OWN, INPUT, ATTEMPT = "divspa: ", "divspa input", "divspa attempt"


@dataclass(frozen=True)
class Wanted:
    """A column of the result: the column or expression `text` under the key `option`, and what it means.

    `unit` is that of a time; `delimiter` parts the texts of a list.
    """

    option: str
    text: str
    meaning: Meaning
    unit: TimeUnit = "timestamp"
    delimiter: str | None = None


@dataclass(frozen=True)
class InputTable:
    """The rows of an input, with a column for each wanted one, and the files that they are of (None for Delta).

    PROBLEM says why a row cannot be used as a whole, null where it can; `failed(NAME)` is whether a column of a row
    could not be computed. RAW is the row as JSON, as it was read.
    """

    rows: DataFrame
    files: Files | None


@dataclass(frozen=True)
class _Part:
    """The rows of files that have one header, and what their columns are."""

    rows: DataFrame
    kinds: Mapping[str, ColumnKind]


def failed(name: str) -> str:
    """The column that says whether the column `name` could not be computed."""
    return f"failed {name}"


def read_table(
    spark: SparkSession, source: Source, wanted: Mapping[str, Wanted], ds: date, damage: Damage | None = None
) -> InputTable:
    """Read an input, but for what is known to be damaged; `{ds}` in its path is the logical day.

    Raises InputError when nothing readable is there or a file lacks a column, which it names, and ConfigError for an
    expression that cannot be used.
    """
    location = source.location.replace("{ds}", ds.isoformat())
    files, parts, uses = _parts(spark, source, wanted, location, damage or Damage())
    types = text_types([(part.rows, part.kinds) for part in parts], source, _in_expressions(wanted, uses))
    rows = [_meant(part, source, wanted, uses, types) for part in parts]
    return InputTable(reduce(DataFrame.unionByName, rows), files)


Uses = dict[str, dict[str, str]]


def _parts(
    spark: SparkSession, source: Source, wanted: Mapping[str, Wanted], location: str, damage: Damage
) -> tuple[Files | None, list[_Part], Uses]:
    """The input by header, and for each wanted column what it calls the columns that it uses."""
    if source.format == "delta":
        rows = _delta_rows(spark, source, location)
        kinds = {field.name: ColumnKind(field.dataType) for field in rows.schema}
        return None, [_Part(rows, kinds)], _uses(spark, source, wanted, kinds)
    files = list_files(_qualified(spark, location))
    files.set_aside_named(damage.known)
    damage.files = files
    headers = read_headers(files, source)
    folders = {key: TEXT for file in headers for key, _ in file.partition}
    if source.format == "jsonl":
        rows = with_folders(json_rows(spark, list(headers), _layout(headers), source), folders)
        kinds = {f.name: folders.get(f.name, ColumnKind(f.dataType)) for f in rows.schema if f.name != CORRUPT}
        return files, [_Part(rows, kinds)], _uses(spark, source, wanted, kinds)
    uses = _uses(spark, source, wanted, dict(pair for header in headers.values() for pair in header.columns) | folders)
    needed = {name for own in uses.values() for name in own.values()}
    groups: dict[tuple, list[DataFile]] = {}
    for file, header in headers.items():
        own = dict(header.columns) | {key: TEXT for key, _ in file.partition}
        _require(needed, own, source, file.url)
        shape = header.columns if source.format == "csv" else tuple((name, own.get(name)) for name in sorted(needed))
        groups.setdefault(shape, []).append(file)
    return (
        files,
        [_file_part(spark, source, group, headers[group[0]], needed, folders) for group in groups.values()],
        uses,
    )


def _file_part(
    spark: SparkSession,
    source: Source,
    group: Sequence[DataFile],
    header: Header,
    needed: set[str],
    folders: Mapping[str, ColumnKind],
) -> _Part:
    own = {name: kind for name, kind in header.columns if name not in folders}
    folders = {name: kind for name, kind in folders.items() if name in needed}
    if source.format == "csv":
        return _Part(with_folders(csv_rows(spark, group, header, source), folders), own | folders)
    kinds = {name: kind for name, kind in own.items() if name in needed}
    rows = with_folders(parquet_rows(spark, group, kinds), folders)
    timed = {name: ColumnKind(T.TimestampType()) for name, kind in kinds.items() if kind.nanoseconds}
    return _Part(rows, kinds | timed | folders)


def _layout(headers: Mapping[DataFile, Header]) -> Literal["lines", "document"]:
    return "document" if any(header.layout == "document" for header in headers.values()) else "lines"


def _delta_rows(spark: SparkSession, source: Source, location: str) -> DataFrame:
    try:
        return spark.read.format("delta").options(**source.options).load(location)
    except PySparkException as error:
        raise InputError(
            f"The delta input {location} cannot be read",
            found=str(error).partition("\n")[0][:200],
            remedy="mend `path` and `format` in the configuration",
        ) from error


def _qualified(spark: SparkSession, location: str) -> str:
    """A path without a scheme lies in Hadoop's default file system, as Spark has it."""
    if "://" in location:
        return location
    context: Any = spark.sparkContext
    default = str(context._jsc.hadoopConfiguration().get("fs.defaultFS", "file:///"))
    return location if default.startswith("file:") else default.rstrip("/") + "/" + location.lstrip("/")


def _uses(spark: SparkSession, source: Source, wanted: Mapping[str, Wanted], kinds: Mapping[str, ColumnKind]) -> Uses:
    """For each wanted column the columns it uses, by the name that it uses for them."""
    known = [*kinds, *(name for name in source.optional_columns if alike(name, kinds) is None)]
    uses: Uses = {}
    for name, want in wanted.items():
        if (found := alike(want.text, known)) is not None:
            uses[name] = {want.text: found}
            continue
        parts = {part: alike(part, known) for part in sorted(parts_of(spark, want.text, want.option))}
        if missing := sorted(part for part, found in parts.items() if found is None):
            kind = InputError if missing == [want.text] else ConfigError
            raise kind(
                f"The input {source.path} lacks the column {', '.join(missing)} of {want.option}",
                found=f"columns {', '.join(known)}",
                remedy=f"mend `{want.option}` in the configuration",
            )
        uses[name] = {part: found for part, found in parts.items() if found is not None}
    for name in {name for own in uses.values() for name in own.values()}:
        if kinds.get(name, TEXT).type is None:
            raise InputError(f"The column {name} of the input {source.path} has a type that Spark cannot read")
    return uses


def _require(needed: set[str], own: Mapping[str, ColumnKind], source: Source, file: str) -> None:
    missing = sorted(needed - own.keys() - set(source.optional_columns))
    if missing:
        raise InputError(
            f"The file {file} lacks the column {', '.join(missing)}",
            found=f"columns {', '.join(own)}",
            remedy="mend the file or the configuration; a column that older files lack may stand in `optional_columns`",
        )


def _in_expressions(wanted: Mapping[str, Wanted], uses: Uses) -> set[str]:
    """The columns whose type matters: those of expressions, but for those of ids, which have none."""
    return {
        found
        for name, own in uses.items()
        if wanted[name].text not in own and wanted[name].meaning not in ("id", "ids")
        for found in own.values()
    }


def _meant(
    part: _Part, source: Source, wanted: Mapping[str, Wanted], uses: Uses, types: Mapping[str, T.DataType]
) -> DataFrame:
    """The rows of a part in the columns of the result."""
    rows, kinds = part.rows, dict(part.kinds)
    as_read = F.to_json(F.struct(*(column(name) for name in rows.columns if name != CORRUPT)))
    problem = F.lit(None).cast("string")
    if CORRUPT in rows.columns:
        corrupt = F.col(CORRUPT)
        problem = F.when(corrupt.isNotNull(), _malformed(source))
        as_read = F.when(corrupt.isNotNull(), F.to_json(F.struct(corrupt.alias("line")))).otherwise(as_read)
    for name in {name for own in uses.values() for name in own.values()} - kinds.keys():
        rows, kinds[name] = rows.withColumn(name, F.lit(None).cast("string")), TEXT
    everything = F.struct(*map(column, kinds)).alias(INPUT)
    scope = rows.select(everything, problem.alias(OWN + PROBLEM), as_read.alias(OWN + RAW))
    for name, want in wanted.items():
        if want.text in uses[name]:
            scope = _by_name(scope, source, name, want, uses[name][want.text])
        else:
            scope = _by_expression(scope, kinds, source, name, want, uses[name], types)
    names = [*wanted, *map(failed, wanted), PROBLEM, RAW]
    return scope.select(*(F.col(f"`{OWN}{name}`").alias(name) for name in names))


def _by_name(scope: DataFrame, source: Source, name: str, want: Wanted, found: str) -> DataFrame:
    """Add a wanted column that is the column `found` of the input."""
    value = _converted(F.col(INPUT).getField(found), _type_of(scope, found), source, want)
    return scope.withColumns({OWN + name: value, OWN + failed(name): F.lit(False)})


def _by_expression(
    scope: DataFrame,
    kinds: Mapping[str, ColumnKind],
    source: Source,
    name: str,
    want: Wanted,
    own: Mapping[str, str],
    types: Mapping[str, T.DataType],
) -> DataFrame:
    """Add a wanted column that is computed; one bad row has none, and fails alone."""
    bad, parts = F.lit(False), {}
    for part, found in own.items():
        parts[part] = raw = F.col(INPUT).getField(found)
        if want.meaning not in ("id", "ids") and found in types and kinds[found].text:
            parts[part] = typed(raw, types[found], source)
            bad |= parts[part].isNull() & ~values.says_nothing(values.trimmed(raw), source.null_values)
    named = scope.withColumns(parts)
    try:
        kind = named.select(F.expr(want.text).alias("value")).schema["value"].dataType
    except AnalysisException as error:
        raise ConfigError(
            f"The option {want.option} cannot be computed over the columns of the input: {want.text}",
            found=str(error).partition("\n")[0][:200],
            remedy=f"mend `{want.option}` in the configuration",
        ) from error
    tried = named.withColumn(ATTEMPT, guarded(F.expr(want.text)))
    value = _converted(F.col(f"`{ATTEMPT}`").getField("value"), kind, source, want)
    failing = F.coalesce(bad, F.lit(False)) | F.col(f"`{ATTEMPT}`").isNull()
    added = {OWN + name: value, OWN + failed(name): failing}
    kept = [F.col(f"`{name}`") for name in scope.columns]
    return tried.select(*kept, *(value.alias(name) for name, value in added.items()))


def _converted(value: Column, kind: T.DataType, source: Source, want: Wanted) -> Column:
    """A value as what it means."""
    option, nulls = want.option, source.null_values
    meanings: dict[Meaning, Callable[[], Column]] = {
        "id": lambda: values.plain_text(value, kind, nulls, option),
        "ids": lambda: values.plain_texts(value, kind, None, nulls, option),
        "text": lambda: values.plain_text(value, kind, nulls, option),
        "texts": lambda: F.array_distinct(values.plain_texts(value, kind, want.delimiter, nulls, option)),
        "number": lambda: values.number(value, kind, str(source.options.get("decimal", ".")), option),
        "numbers": lambda: values.numbers(value, kind, nulls, option),
        "time": lambda: values.moment(value, kind, want.unit, option),
        "order": lambda: values.order(value, kind, option),
        "condition": lambda: values.condition(value, kind, option),
    }
    return meanings[want.meaning]()


def _type_of(scope: DataFrame, name: str) -> T.DataType:
    struct = scope.schema[INPUT].dataType
    assert isinstance(struct, T.StructType)
    return struct[name].dataType


def _malformed(source: Source) -> str:
    return "the row does not fit its header" if source.format == "csv" else "the row cannot be parsed"
