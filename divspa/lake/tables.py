"""Delta tables that are created from their contract, read by day, and replaced a day at a time."""

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import PurePosixPath
from urllib.parse import unquote

from delta.tables import DeltaTable
from pyspark.errors.exceptions.base import PySparkException
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from divspa.errors import ContractError, MissingTableError
from divspa.lake.conflicts import retried
from divspa.lake.damage import damage_named, require_whole_entry
from divspa.lake.delta_log import (
    DataFile,
    data_files,
    folder_of,
    property_of,
    rows_in,
    rows_written,
    version_of,
)
from divspa.lake.driver_rows import of_driver
from divspa.lake.lease import Lease
from divspa.lake.traffic import Traffic
from divspa.schemas.contract import Table

# The property of a table that holds the version of its contract.
CONTRACT = "divspa.contract"
BROKEN = ("DELTA_NOT_NULL_CONSTRAINT_VIOLATED", "DELTA_VIOLATE_CONSTRAINT", "DELTA_REPLACE_WHERE_MISMATCH")


class Lake:
    """The Delta tables under one folder or bucket.

    Everything a job writes goes through `replace_day`, so that a killed job can run again with the same result; only a
    log, and what was made elsewhere, is appended.
    `traffic` keeps what was read and written since it was last set anew. Nothing is written without the `lease`, where
    one was taken; a commit that loses against another run's is tried again.
    """

    def __init__(self, spark: SparkSession, root: str) -> None:
        self.spark = spark
        self.root = root.rstrip("/")
        self.traffic = Traffic()
        self.lease: Lease | None = None
        self._counted: dict[tuple, int | None] = {}

    def path(self, table: Table) -> str:
        return f"{self.root}/{table.name}"

    def name(self, table: Table) -> str:
        """The table in SQL."""
        return "delta.`" + self.path(table).replace("`", "``") + "`"

    def exists(self, table: Table) -> bool:
        with damage_named(self.path(table)):
            return DeltaTable.isDeltaTable(self.spark, self.path(table))

    def version(self, table: Table) -> int:
        """The newest Delta version. Raises MissingTableError when the table was never written."""
        return version_of(self._loaded(table))

    def read(self, table: Table, version: int | None = None) -> DataFrame:
        """All days, optionally at a pinned version; columns that the contract has since been given are null."""
        return with_new_columns(self._loaded(table, version), table)

    def read_day(self, table: Table, ds: date, version: int | None = None, **partition: object) -> DataFrame:
        """One day, or a partition of it. Raises MissingTableError when an earlier stage has not written it."""
        scope, whole = {"ds": ds, **partition}, self._loaded(table, version)
        day = with_new_columns(whole, table).where(_matches(scope))
        rows = self._rows_in(table, whole, scope) if scope.keys() <= set(table.partitioned_by) else None
        self.traffic.saw_rows(table.name, scope, rows)
        if rows == 0 or (rows is None and day.isEmpty()):
            named = ", ".join(f"{key}={value}" for key, value in scope.items())
            raise MissingTableError(
                f"The table {table.name} in {self.root} has no rows for {named}",
                remedy="run the earlier stage for this day first: `divspa run --config FILE --ds DAY`",
            )
        return day

    def rows(self, table: Table, where: Column) -> list[Row]:
        """The rows of any days that meet a condition, few enough for the driver; none where there is no table."""
        return self.read(table).where(where).collect() if self.exists(table) else []

    def files(self, table: Table, ds: date, version: int, **partition: object) -> list[str]:
        """The data files of a day at a pinned version, as URLs, sorted.

        A directory listing would include files that the Delta log has removed.
        """
        return sorted(unquote(url) for url in self.read_day(table, ds, version, **partition).inputFiles())

    def data_files(self, table: Table, version: int | None = None, **partition: object) -> list[DataFile]:
        """The files of a partition of a table, or of all of it, at its newest or a pinned version."""
        at = self.version(table) if version is None else version
        return data_files(self.path(table), at, partition, lambda: self._loaded(table, at))

    def folder(self, table: Table) -> str:
        """The folder of a table, as Spark and Delta spell it."""
        return folder_of(self._loaded(table))

    def newest_day_before(self, table: Table, ds: date, **partition: object) -> date | None:
        """The newest earlier day of a table, or of a partition of it; None when there is none, or no table."""
        if not self.exists(table):
            return None
        earlier = self.read(table).where((F.col("ds") < F.lit(ds)) & _matches(partition))
        return earlier.agg(F.max("ds")).head()[0]  # pyright: ignore[reportOptionalSubscript]

    def replace_day(
        self, table: Table, rows: DataFrame, ds: date, *, unique: bool = False, **partition: object
    ) -> None:
        """Replace one day, or a partition of it; `unique` rows are known to repeat no key and are not kept for a check.

        Raises ContractError, and leaves the table as it was, when keys repeat within the day, a column is missing or
        of another type, or a NOT NULL or CHECK constraint is broken.
        """
        scope = {"ds": ds} | partition
        rows = rows.withColumns({key: F.lit(value) for key, value in scope.items()})
        self._replace(table, rows, _predicate(scope), scope, unique=unique)

    def replace_days(self, table: Table, rows: DataFrame, days: Iterable[date]) -> None:
        """Replace several days in one commit; `rows` have ds. Raises ContractError as `replace_day` does."""
        named = ", ".join(quoted(day.isoformat()) for day in sorted(days))
        self._replace(table, rows, f"ds IN ({named})", {"ds": named}, unique=False)

    def days_after(self, table: Table, ds: date) -> list[date]:
        """The later days that a table holds, in order; none where there is no table."""
        if not self.exists(table):
            return []
        days = self.read(table).where(F.col("ds") > F.lit(ds)).select("ds").distinct().collect()
        return sorted(day for (day,) in days)

    def _replace(self, table: Table, rows: DataFrame, where: str, scope: Mapping[str, object], *, unique: bool) -> None:
        rows = _conform(rows, table)
        new = self._create(table)
        try:
            if not unique:
                with described(self.spark, f"check {table.name}"):
                    _require_unique(rows.persist(), table, where)
            writer = rows.write.format("delta")
            # A table made just now has nothing to be looked through, and no other run writes this day.
            writer = writer.mode("append") if new else writer.mode("overwrite").option("replaceWhere", where)
            self._commit(table, f"write {table.name}", lambda: writer.save(self.path(table)))
            version = version_of(self.spark.read.format("delta").load(self.path(table)))
            self.traffic.wrote(table.name, version, scope, rows_written(self.path(table), version))
        except PySparkException as error:
            raise _as_contract_error(error, table) from error
        finally:
            rows.unpersist()

    def replace_day_with(self, table: Table, rows: Iterable[tuple], ds: date, **partition: object) -> None:
        """As `replace_day`, from rows of the driver: the contract's columns in order, less ds and those of `partition`.

        Raises ContractError as `replace_day` does.
        """
        rows, scope = list(rows), {"ds": ds, **partition}
        _require_unique_on_driver(rows, table, scope)
        self.replace_day(table, self._of_driver(table, rows, scope), ds, unique=True, **partition)

    def append(self, table: Table, rows: DataFrame) -> None:
        """Add few rows, of any days, that the table does not have. Raises ContractError when a column is missing."""
        self._create(table)
        writer = _conform(rows, table).coalesce(1).write.format("delta").mode("append")
        self._commit(table, f"write {table.name}", lambda: writer.save(self.path(table)))

    def append_with(self, table: Table, rows: Iterable[tuple], ds: date) -> None:
        """Add rows of the driver to a day of a table that is a log: the contract's columns in order, less ds."""
        self.append(table, self._of_driver(table, rows, ["ds"]).withColumn("ds", F.lit(ds)))

    def _of_driver(self, table: Table, rows: Iterable[tuple], left_out: Container[str]) -> DataFrame:
        columns = [f"`{column.name}` {column.type}" for column in table.columns if column.name not in left_out]
        return of_driver(self.spark, rows, ", ".join(columns))

    def _commit(self, table: Table, what: str, action: Callable[[], object]) -> None:
        if self.lease is not None:
            self.lease.require()
        with described(self.spark, what):
            retried(table.name, action)

    def _loaded(self, table: Table, version: int | None = None) -> DataFrame:
        self._require(table)
        reader = self.spark.read.format("delta")
        with damage_named(self.path(table)):
            rows = (reader.option("versionAsOf", version) if version is not None else reader).load(self.path(table))
        found = version_of(rows)
        if version is None:
            require_whole_entry(self.path(table), found)
        self.traffic.saw_version(table.name, found)
        return rows

    def _rows_in(self, table: Table, whole: DataFrame, scope: Mapping[str, object]) -> int | None:
        """The rows of a partition of a table just loaded, counted once for each version."""
        part = table.name, version_of(whole), frozenset(scope.items())
        if part not in self._counted:
            self._counted[part] = rows_in(whole, self.path(table), scope)
        return self._counted[part]

    def _create(self, table: Table) -> bool:
        """Make the table where there is none, or give it its contract's new columns; True when it was made."""
        if self.exists(table):
            self._bring_up_to_date(table)
            return False
        columns = ",\n".join(
            f"`{c.name}` {c.type}{'' if c.nullable else ' NOT NULL'} COMMENT {quoted(c.comment)}" for c in table.columns
        )
        properties = {"delta.enableDeletionVectors": "false", **_promised(table)}
        properties |= {f"delta.constraints.{name}": check for name, check in table.checks.items()}
        create = (
            f"CREATE TABLE IF NOT EXISTS {self.name(table)} ({columns}) USING DELTA "
            f"PARTITIONED BY ({', '.join(table.partitioned_by)}) COMMENT {quoted(table.grain)} "
            f"TBLPROPERTIES ({_listed(properties)})"
        )
        self._commit(table, f"create {table.name}", lambda: self.spark.sql(create))
        return True

    def _bring_up_to_date(self, table: Table) -> None:
        """Give a table that an earlier divspa made the columns, version and properties that its contract has since.

        Raises ContractError for a column that may not be null, which no old row could have, and for a table of a later
        contract, which other rows would break.
        """
        rows = self.spark.read.format("delta").load(self.path(table))
        kept = property_of(rows, CONTRACT)
        if int(kept or 0) > table.version:
            raise ContractError(
                f"The table {table.name} in {self.root} was written by a later divspa",
                expected=f"contract version {table.version} at most",
                found=kept or "",
                remedy="update divspa",
            )
        new = [column for column in table.columns if column.name not in rows.columns]
        if hard := [column.name for column in new if not column.nullable]:
            raise ContractError(
                f"The table {table.name} in {self.root} is of an earlier version and lacks {', '.join(hard)}",
                remedy="begin a new lake, or remove the table and make its days again",
            )
        if new:
            added = ", ".join(f"`{c.name}` {c.type} COMMENT {quoted(c.comment)}" for c in new)
            add = f"ALTER TABLE {self.name(table)} ADD COLUMNS ({added})"
            self._commit(table, f"add columns to {table.name}", lambda: self.spark.sql(add))
        told = {key: value for key, value in _promised(table).items() if property_of(rows, key) != value}
        if told:
            alter = f"ALTER TABLE {self.name(table)} SET TBLPROPERTIES ({_listed(told)})"
            self._commit(table, f"say the contract of {table.name}", lambda: self.spark.sql(alter))

    def _require(self, table: Table) -> None:
        if not self.exists(table):
            raise MissingTableError(
                f"The table {table.name} is not in {self.root}",
                remedy="run the earlier stages first: `divspa run --config FILE --ds DAY`, or mend `lake`",
            )


@contextmanager
def described(spark: SparkSession, what: str) -> Iterator[None]:
    """Say in Spark's UI what its jobs are for, after what is said already, such as the stage."""
    context = spark.sparkContext
    outer = context.getLocalProperty("spark.job.description")
    context.setJobDescription(f"{outer}: {what}" if outer else what)
    try:
        yield
    finally:
        context.setJobDescription(outer)  # pyright: ignore[reportArgumentType]


def local_path(url: str) -> str:
    """A `file:` URL as a path; any other URL as it is."""
    return str(PurePosixPath("/") / url.removeprefix("file:").lstrip("/")) if url.startswith("file:") else url


def with_new_columns(rows: DataFrame, table: Table) -> DataFrame:
    """Rows of an earlier version, with null in the columns that the contract has since been given."""
    new = [column for column in table.columns if column.nullable and column.name not in rows.columns]
    return rows.withColumns({column.name: F.lit(None).cast(column.type) for column in new}) if new else rows


def _promised(table: Table) -> dict[str, str]:
    """The properties of a table that follow from its contract."""
    return {CONTRACT: str(table.version)} | ({"delta.enableChangeDataFeed": "true"} if table.change_feed else {})


def _listed(properties: Mapping[str, str]) -> str:
    return ", ".join(f"{quoted(key)} = {quoted(value)}" for key, value in properties.items())


def _matches(scope: Mapping[str, object]) -> Column:
    condition = F.lit(True)
    for key, value in scope.items():
        condition &= F.col(key) == F.lit(value)
    return condition


def _predicate(scope: Mapping[str, object]) -> str:
    return " AND ".join(f"{key} = {quoted(str(value))}" for key, value in scope.items())


def quoted(text: str) -> str:
    """A text as a literal of Spark's SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _conform(rows: DataFrame, table: Table) -> DataFrame:
    missing = [name for name in table.column_names if name not in rows.columns]
    if missing:
        raise ContractError(
            f"The rows for {table.name} lack columns",
            expected=", ".join(table.column_names),
            found=f"no {', '.join(missing)}",
        )
    # As text, in one call of the JVM instead of four for each column.
    return rows.selectExpr(*(f"CAST(`{each.name}` AS {each.type}) AS `{each.name}`" for each in table.columns))


def _require_unique(rows: DataFrame, table: Table, where: str) -> None:
    repeated = rows.groupBy("ds", *table.key).count().where("count > 1").first()
    if repeated is not None:
        raise _repeated(table, where, {name: repeated[name] for name in table.key}, repeated["count"])


def _require_unique_on_driver(rows: list[tuple], table: Table, scope: Mapping[str, object]) -> None:
    names = [name for name in table.column_names if name not in scope]
    places = {name: names.index(name) for name in table.key if name not in scope}
    counts = Counter(tuple(row[place] for place in places.values()) for row in rows)
    for key, count in counts.most_common(1):
        if count > 1:
            raise _repeated(table, _predicate(scope), dict(zip(places, key, strict=True)), count)


def _repeated(table: Table, where: str, key: Mapping[str, object], count: int) -> ContractError:
    return ContractError(
        f"The rows for {table.name} repeat a key ({where})",
        expected=f"one row for each {', '.join(table.key)}",
        found=f"{count} rows for {', '.join(f'{name}={value}' for name, value in key.items())}",
    )


def _as_contract_error(error: PySparkException, table: Table) -> Exception:
    """Delta's long message about a broken constraint as one line; any other error as it is."""
    text = " ".join(str(error).partition("\n\tat ")[0].split())
    if any(name in text for name in BROKEN):
        return ContractError(f"The rows for {table.name} break its contract", found=text[:600])
    return error
