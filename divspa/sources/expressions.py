"""What the configuration may ask of the columns of an input: a column by its name, or an expression that is safe.

An expression is Spark SQL over the columns of one row: no subqueries, windows or aggregates, and of functions only
those of functions.txt, which are deterministic and touch nothing outside the row.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from pyspark import SparkContext
from pyspark.errors.exceptions.base import PySparkException
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.classic.column import Column as ClassicColumn

from divspa.errors import ConfigError

LONGEST = 10_000
NODES = """
    Literal UnresolvedAttribute UnresolvedFunction UnresolvedExtractValue UnresolvedNamedLambdaVariable LambdaFunction
    Cast Not And Or EqualTo EqualNullSafe LessThan LessThanOrEqual GreaterThan GreaterThanOrEqual IsNull IsNotNull In If
    CaseWhen Like ILike RLike LikeAll LikeAny NotLikeAll NotLikeAny Add Subtract Multiply Divide IntegralDivide
    Remainder UnaryMinus UnaryPositive BitwiseAnd BitwiseOr BitwiseXor BitwiseNot Concat CreateNamedStruct CreateArray
    StringTrim StringTrimLeft StringTrimRight Substring
"""


@cache
def allowed_nodes() -> frozenset[str]:
    """The kinds of Spark's expressions that may stand in one."""
    return frozenset(NODES.split())


@cache
def allowed_functions() -> frozenset[str]:
    """The functions that may be called, of functions.txt."""
    lines = Path(__file__).with_name("functions.txt").read_text().splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.partition(":")[2].split())


def column(name: str) -> Column:
    """A column by its own name, whatever characters are in it."""
    return F.col("`" + name.replace("`", "``") + "`")


def parts_of(spark: SparkSession, text: str, option: str) -> set[str]:
    """The columns that an expression speaks of. Raises ConfigError for what is no safe expression."""
    if len(text) > LONGEST:
        raise _refused(option, text[:80] + "…", f"{len(text)} characters", f"at most {LONGEST} characters")
    session: Any = spark._jsparkSession  # pyright: ignore[reportAttributeAccessIssue]
    try:
        parsed = session.sessionState().sqlParser().parseExpression(text)
    except PySparkException as error:
        raise _refused(option, text, str(error).strip().partition("\n")[0][:200]) from error
    return set(_columns(parsed, text, option))


def guarded(value: Column) -> Column:
    """A struct of one field `value`, or null where the value cannot be computed: one bad row must not end a day."""
    jvm: Any = SparkContext._jvm
    convert = jvm.org.apache.spark.sql.classic.ExpressionUtils
    inner: Any = F.struct(value.alias("value"))
    attempt = jvm.org.apache.spark.sql.catalyst.expressions.TryEval(convert.expression(inner._jc))
    return ClassicColumn(convert.column(attempt))


def alike(name: str, names: Iterable[str]) -> str | None:
    """The name among `names` that is meant: the very same, or else the only one that differs in case alone."""
    names = list(names)
    if name in names:
        return name
    close = [other for other in names if other.lower() == name.lower()]
    return close[0] if len(close) == 1 else None


def _columns(node: Any, text: str, option: str) -> Iterator[str]:
    kind = node.getClass().getSimpleName()
    if kind not in allowed_nodes():
        raise _refused(option, text, "*" if kind == "UnresolvedStar" else str(kind))
    if kind == "UnresolvedAttribute":
        yield str(node.nameParts().apply(0))
    if kind == "UnresolvedFunction":
        parts = node.nameParts()
        name = ".".join(str(parts.apply(place)) for place in range(parts.length()))
        if name.lower() not in allowed_functions():
            raise _refused(option, text, f"the function {name}")
    children = node.children()
    for place in range(children.length()):
        yield from _columns(children.apply(place), text, option)


def _refused(option: str, text: str, found: str, expected: str = "") -> ConfigError:
    return ConfigError(
        f"The option {option} is neither a column nor a Spark SQL expression that may be used: {text}",
        expected=expected or "columns of one row, operators, and functions that depend on nothing else",
        found=found,
        remedy=f"mend `{option}`; the page on your own log lists the functions",
    )
