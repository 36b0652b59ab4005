"""User and item attributes, read as versions that hold from a time on."""

from dataclasses import dataclass
from datetime import date, datetime
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from divspa.features.settings import Attributes, ColumnField
from divspa.sources.damage import Damage, with_damaged
from divspa.sources.expressions import column
from divspa.sources.files import Files
from divspa.sources.table import PROBLEM, RAW, InputTable, Meaning, Wanted, failed, read_table
from divspa.sources.values import REPLACED

BEGINNING = "0001-01-01"
VALID_FROM = "valid_from"
# Whether an id has attributes at all; no field can have this name.
MATCHED = "is matched"


@dataclass(frozen=True)
class AttributeTable:
    """The attributes of `users` or `items` (`side`), as `gathered` holds them.

    One row an id and, in a table with `valid_from`, time: `values` has the fields, and `repeated` says that other rows
    of the same id and time had others; and one row a refused row and `reason`. `copies` counts the rows of each.
    """

    side: str
    fields: tuple[ColumnField, ...]
    gathered: DataFrame
    files: Files | None
    dated: bool

    @property
    def named(self) -> DataFrame:
        """One row an id and time: user_id or item_id, `valid_from` where the table is dated, and the fields."""
        key = [name for name in self.gathered.columns[:2] if name in (id_of(self.side), VALID_FROM)]
        fields = [F.col("values").getField(f"f{n}").alias(field.name) for n, field in enumerate(self.fields)]
        return self.gathered.where("reason IS NULL").select(*key, *fields)

    def known_before(self, moment: datetime) -> DataFrame:
        """The ids that the table has, as far as it is dated those from before a moment: one column, with repeats."""
        named = self.named
        return (named.where(F.col(VALID_FROM) < F.lit(moment)) if self.dated else named).select(id_of(self.side))

    def refused(self) -> DataFrame:
        """The rows that cannot be used. One row a distinct row and reason, with its copies, or a damaged file."""
        rows = with_damaged(self.gathered.where("reason IS NOT NULL").select("reason", "row", "copies"), self.files)
        return rows.select(F.lit(self.side).alias("side"), "*")


def id_of(side: str) -> str:
    """Our name of the id of users or items."""
    return "user_id" if side == "users" else "item_id"


def read_attributes(
    spark: SparkSession, source: Attributes, side: str, ds: date, damage: Damage | None = None
) -> AttributeTable:
    """The attributes of `users` or `items`, for a dated table those up to the end of the day.

    Files in `damage` are left out.

    Categorical fields are strings, multi-valued ones string arrays, numeric ones doubles; unknown is null. Of rows that
    share id and time the first in the order of their values wins. Raises InputError and ConfigError as `read_table`.
    """
    key, dated = id_of(side), source.valid_from is not None
    wanted = {key: Wanted(f"{side}.id", source.id, "id")}
    if source.valid_from is not None:
        wanted[VALID_FROM] = Wanted(f"{side}.valid_from", source.valid_from, "time", source.time_unit)
    wanted |= {_own(n): _wanted(side, field) for n, field in enumerate(source.fields)}
    table = read_table(spark, source, wanted, ds, damage)
    reason = _reason(table, source, side)
    good = reason.isNull()
    fields = F.struct(F.lit(0).alias("none"), *(F.col(_own(n)).alias(f"f{n}") for n in range(len(source.fields))))
    group = {name: F.when(good, F.col(name)) for name in (key, *([VALID_FROM] if dated else []))}
    group |= {"reason": reason, "row": F.when(~good, F.col(RAW))}
    rows = table.rows.select(*(value.alias(name) for name, value in group.items()), fields.alias("values"))
    if dated:
        rows = rows.where(F.col(VALID_FROM).isNull() | (F.col(VALID_FROM) < F.date_add(F.lit(ds), 1)))
    differ = F.col("reason").isNull() & (F.min("values") != F.max("values"))
    gathered = rows.groupBy(*group).agg(
        F.min("values").alias("values"), differ.alias("repeated"), F.count("*").alias("copies")
    )
    return AttributeTable(side, source.fields, gathered, table.files, dated)


def attribute_versions(table: AttributeTable | None, ids: DataFrame) -> DataFrame:
    """The attributes of every id. One row a row of `ids` (its columns first, the id leading) and version.

    A version holds from `valid_from` on; every id has one from the beginning of time, empty when the table is dated or
    lacks the id. MATCHED says whether the table has the id.
    """
    first = ids.withColumn(VALID_FROM, F.to_timestamp(F.lit(BEGINNING)))
    if table is None:
        return first.withColumn(MATCHED, F.lit(False))
    key = ids.columns[0]
    named = table.named.withColumn(MATCHED, F.lit(True))
    if not table.dated:
        return first.join(named, key, "left").withColumn(MATCHED, F.col(f"`{MATCHED}`").isNotNull())
    has = named.select(key, MATCHED).distinct()
    first = first.join(has, key, "left").withColumn(MATCHED, F.col(f"`{MATCHED}`").isNotNull())
    return first.unionByName(ids.join(named, key), allowMissingColumns=True)


def newest(versions: DataFrame, moment: datetime) -> DataFrame:
    """The version of each id that held just before a moment. One row an id: the first column."""
    key = versions.columns[0]
    rest = [name for name in versions.columns if name not in (key, VALID_FROM)]
    values = F.max(F.struct(VALID_FROM, *map(column, rest))).alias("newest")
    held = versions.where(F.col(VALID_FROM) < F.lit(moment)).groupBy(key).agg(values)
    return held.select(key, *(F.col("newest").getField(name).alias(name) for name in rest))


def _wanted(side: str, field: ColumnField) -> Wanted:
    meaning: Meaning = "text"
    if field.kind == "numeric":
        meaning = "number"
    elif field.kind == "vector":
        meaning = "numbers"
    elif field.kind == "multi" or field.delimiter:
        meaning = "texts"
    return Wanted(f"{side}.fields.{field.name}", field.column, meaning, delimiter=field.delimiter)


def _reason(table: InputTable, source: Attributes, side: str) -> Column:
    """Why a row may not be used, null where it may."""
    key = id_of(side)
    reasons: list[tuple[Column, Column | str]] = [
        (F.col(PROBLEM).isNotNull(), F.col(PROBLEM)),
        (F.col(f"`{failed(key)}`"), f"`{side}.id` cannot be computed"),
        (F.col(key).isNull(), "the id is null or empty"),
    ]
    if source.valid_from is not None:
        reasons.append((F.col(f"`{failed(VALID_FROM)}`"), f"`{side}.valid_from` cannot be computed"))
        reasons.append((F.col(VALID_FROM).isNull(), "`valid_from` is missing or not a time"))
    for n, field in enumerate(source.fields):
        reasons.append((F.col(f"`{failed(_own(n))}`"), f"the field {field.name} cannot be computed"))
        if field.size is not None:
            odd = F.exists(_own(n), lambda each: each.isNull() | F.isnan(each) | (F.abs(each) == float("inf")))
            wrong = F.coalesce((F.size(_own(n)) != field.size) | odd, F.lit(False))
            reasons.append((wrong, f"the field {field.name} is not a list of {field.size} finite numbers"))
    texts = [_own(n) for n, field in enumerate(source.fields) if field.kind != "numeric"]
    kinds = dict(table.rows.dtypes)
    broken = [F.col(name).contains(REPLACED) for name in (key, *texts) if kinds[name] == "string"]
    reasons.append((reduce(Column.__or__, broken), "a text is not valid in the encoding"))
    return reduce(lambda chain, each: chain.when(*each), reasons[1:], F.when(*reasons[0]))


def _own(number: int) -> str:
    """A column of ours for a field, which may have any name."""
    return f"field_{number}"
