"""Delta tables that are created from their contract, read by day, and replaced a day at a time."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import PurePosixPath
from urllib.parse import unquote

from delta.tables import DeltaTable
from pyspark.errors.exceptions.base import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from divspa.errors import ContractError, MissingTableError
from divspa.lake.delta_log import rows_in, rows_written, version_of
from divspa.lake.traffic import Traffic
from schemas.contract import Table

BROKEN = ("DELTA_NOT_NULL_CONSTRAINT_VIOLATED", "DELTA_VIOLATE_CONSTRAINT", "DELTA_REPLACE_WHERE_MISMATCH")


class Lake:
    """The Delta tables under one folder or bucket.

    Everything a job writes goes through `replace_day`, so that a killed job can run again with the same result; only a
    log, and what was made elsewhere, is appended.
    `traffic` keeps what was read and written since it was last set anew.
    """

    def __init__(self, spark: SparkSession, root: str) -> None:
        self.spark = spark
        self.root = root.rstrip("/")
        self.traffic = Traffic()

    def path(self, table: Table) -> str:
        return f"{self.root}/{table.name}"

    def exists(self, table: Table) -> bool:
        return DeltaTable.isDeltaTable(self.spark, self.path(table))

    def version(self, table: Table) -> int:
        """The newest Delta version. Raises MissingTableError when the table was never written."""
        return version_of(self.read(table))

    def read(self, table: Table, version: int | None = None) -> DataFrame:
        """All days, optionally at a pinned version."""
        self._require(table)
        reader = self.spark.read.format("delta")
        rows = (reader.option("versionAsOf", version) if version is not None else reader).load(self.path(table))
        self.traffic.saw_version(table.name, version_of(rows))
        return rows

    def read_day(self, table: Table, ds: date, version: int | None = None, **partition: object) -> DataFrame:
        """One day, or a partition of it. Raises MissingTableError when an earlier stage has not written it."""
        scope, whole = {"ds": ds, **partition}, self.read(table, version)
        day = whole.where(_matches(scope))
        rows = rows_in(whole, scope) if scope.keys() <= set(table.partitioned_by) else None
        self.traffic.saw_rows(table.name, scope, rows)
        if rows == 0 or (rows is None and day.isEmpty()):
            named = ", ".join(f"{key}={value}" for key, value in scope.items())
            raise MissingTableError(
                f"The table {table.name} in {self.root} has no rows for {named}",
                remedy="run the earlier stage for this day first: `divspa run --config FILE --ds DAY`",
            )
        return day

    def files(self, table: Table, ds: date, version: int, **partition: object) -> list[str]:
        """The data files of a day at a pinned version, as URLs, sorted.

        A directory listing would include files that the Delta log has removed.
        """
        return sorted(unquote(url) for url in self.read_day(table, ds, version, **partition).inputFiles())

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
        rows = _conform(rows, table)
        self._create(table)
        try:
            if not unique:
                with described(self.spark, f"check {table.name}"):
                    _require_unique(rows.persist(), table, scope)
            with described(self.spark, f"write {table.name}"):
                writer = rows.write.format("delta").mode("overwrite").option("replaceWhere", _predicate(scope))
                writer.save(self.path(table))
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
        self.replace_day(table, self._of_driver(table, rows, {"ds", *partition}), ds, unique=False, **partition)

    def append(self, table: Table, rows: DataFrame) -> None:
        """Add few rows, of any days, that the table does not have. Raises ContractError when a column is missing."""
        self._create(table)
        new = _conform(rows, table)
        with described(self.spark, f"write {table.name}"):
            new.coalesce(1).write.format("delta").mode("append").save(self.path(table))

    def append_with(self, table: Table, rows: Iterable[tuple], ds: date) -> None:
        """Add rows of the driver to a day of a table that is a log: the contract's columns in order, less ds."""
        self.append(table, self._of_driver(table, rows, {"ds"}).withColumn("ds", F.lit(ds)))

    def _of_driver(self, table: Table, rows: Iterable[tuple], left_out: set[str]) -> DataFrame:
        columns = [column for column in table.columns if column.name not in left_out]
        return self.spark.createDataFrame(list(rows), ", ".join(f"`{column.name}` {column.type}" for column in columns))

    def _create(self, table: Table) -> None:
        if self.exists(table):
            return
        columns = ",\n".join(
            f"`{c.name}` {c.type}{'' if c.nullable else ' NOT NULL'} COMMENT {_quoted(c.comment)}"
            for c in table.columns
        )
        properties = {"delta.enableDeletionVectors": "false"}
        properties |= {f"delta.constraints.{name}": check for name, check in table.checks.items()}
        listed = ", ".join(f"{_quoted(key)} = {_quoted(value)}" for key, value in properties.items())
        self.spark.sql(
            f"CREATE TABLE IF NOT EXISTS delta.`{self.path(table)}` ({columns}) USING DELTA "
            f"PARTITIONED BY ({', '.join(table.partitioned_by)}) COMMENT {_quoted(table.grain)} "
            f"TBLPROPERTIES ({listed})"
        )

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


def _matches(scope: Mapping[str, object]) -> Column:
    condition = F.lit(True)
    for key, value in scope.items():
        condition &= F.col(key) == F.lit(value)
    return condition


def _predicate(scope: Mapping[str, object]) -> str:
    return " AND ".join(f"{key} = {_quoted(str(value))}" for key, value in scope.items())


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _conform(rows: DataFrame, table: Table) -> DataFrame:
    missing = [name for name in table.column_names if name not in rows.columns]
    if missing:
        raise ContractError(
            f"The rows for {table.name} lack columns",
            expected=", ".join(table.column_names),
            found=f"no {', '.join(missing)}",
        )
    return rows.select([F.col(column.name).cast(column.type).alias(column.name) for column in table.columns])


def _require_unique(rows: DataFrame, table: Table, scope: Mapping[str, object]) -> None:
    repeated = rows.groupBy(*table.key).count().where("count > 1").first()
    if repeated is not None:
        key = ", ".join(f"{name}={repeated[name]}" for name in table.key)
        raise ContractError(
            f"The rows for {table.name} repeat a key ({_predicate(scope)})",
            expected=f"one row for each {', '.join(table.key)}",
            found=f"{repeated['count']} rows for {key}",
        )


def _as_contract_error(error: PySparkException, table: Table) -> Exception:
    """Delta's long message about a broken constraint as one line; any other error as it is."""
    text = " ".join(str(error).partition("\n\tat ")[0].split())
    if any(name in text for name in BROKEN):
        return ContractError(f"The rows for {table.name} break its contract", found=text[:600])
    return error
