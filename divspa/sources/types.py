"""The types of columns that files hold as texts: declared, or the ones that their values have."""

from collections.abc import Mapping, Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from divspa.errors import ConfigError
from divspa.sources.expressions import alike, column
from divspa.sources.headers import ColumnKind
from divspa.sources.settings import Source
from divspa.sources.values import says_nothing, trimmed, with_point

DECLARED: dict[str, T.DataType] = {
    "string": T.StringType(),
    "bigint": T.LongType(),
    "double": T.DoubleType(),
    "boolean": T.BooleanType(),
    "timestamp": T.TimestampType(),
    "date": T.DateType(),
}
# Types that a column of texts is tried for, the narrowest first.
INFERRED = ("bigint", "double", "boolean")
# A type fits when so large a share of the values have it; the other rows are refused.
MOSTLY = 0.9
# 007 is a name and not the number 7.
NAMED = "^[+-]?0[0-9]"


def text_types(
    parts: Sequence[tuple[DataFrame, Mapping[str, ColumnKind]]], source: Source, names: set[str]
) -> dict[str, T.DataType]:
    """The types of some columns, where they are held as texts: those of `types`, else found in one pass over all rows.

    Raises ConfigError when `types` names a column that is not there.
    """
    texts = {name for _, kinds in parts for name in names & kinds.keys() if kinds[name].text}
    declared: dict[str, T.DataType] = {}
    known = {name for _, kinds in parts for name in kinds}
    for name, kind in source.types.items():
        if (found := alike(name, known)) is None:
            raise ConfigError(f"`types` names the column {name}, which the input {source.path} lacks")
        declared[found] = DECLARED[kind]
    open_ones = sorted(texts - declared.keys())
    return declared | (_inferred(parts, source, open_ones) if open_ones else {})


def typed(text: Column, kind: T.DataType, source: Source) -> Column:
    """A text in a type, null where it is not of that type or says nothing."""
    said = F.when(~says_nothing(trimmed(text), source.null_values), text)
    if isinstance(kind, T.StringType):
        return said
    if isinstance(kind, T.DoubleType):
        said = with_point(said, str(source.options.get("decimal", ".")))
    return trimmed(said).try_cast(kind)


def _inferred(
    parts: Sequence[tuple[DataFrame, Mapping[str, ColumnKind]]], source: Source, names: Sequence[str]
) -> dict[str, T.DataType]:
    rows = reduce(
        DataFrame.unionByName,
        [
            frame.select(
                *((column(name) if name in kinds else F.lit(None).cast("string")).alias(name) for name in names)
            )
            for frame, kinds in parts
        ],
    )
    counts = []
    for place, name in enumerate(names):
        text = typed(column(name), T.StringType(), source)
        number = ~trimmed(text).rlike(NAMED)
        counts.append(F.count(text).alias(f"said {place}"))
        for kind in INFERRED:
            fits = typed(column(name), DECLARED[kind], source).isNotNull() & number
            counts.append(F.count_if(fits).alias(f"{kind} {place}"))
    row = rows.agg(*counts).head()
    assert row is not None
    types: dict[str, T.DataType] = {}
    for place, name in enumerate(names):
        said = row[f"said {place}"]
        fitting = [kind for kind in INFERRED if said and row[f"{kind} {place}"] >= MOSTLY * said]
        types[name] = DECLARED[fitting[0]] if fitting else T.StringType()
    return types
