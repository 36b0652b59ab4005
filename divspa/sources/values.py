"""How ids, texts, numbers and times are written: the same way, whatever type carries them."""

from collections.abc import Iterable

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql import types as T

from divspa.errors import ConfigError
from divspa.sources.settings import TimeUnit

SECONDS = {"seconds": 1_000_000, "milliseconds": 1_000, "microseconds": 1}
NESTED = (T.ArrayType, T.MapType, T.StructType, T.VariantType)
# From here on a double no longer tells whole numbers apart.
EXACT = 1 << 53
# White space, and the byte order mark that some programs leave at the start of a text.
SPACES = " \t\r\n\f\v\ufeff"
# What a decoder puts in the place of bytes that mean nothing in an encoding.
REPLACED = "\ufffd"
ORDER = T.DecimalType(38, 9)


def plain_text(value: Column, kind: T.DataType, null_values: Iterable[str], option: str) -> Column:
    """A value as a text without spaces around it, null where it says nothing.

    A whole number has no fraction, a decimal no trailing zeros: 53, 53.0 and 53.00 are one id. Texts stay as they are,
    leading zeros too. Raises ConfigError for lists and structs.
    """
    if isinstance(kind, NESTED):
        raise ConfigError(
            f"The option {option} is of a nested type", expected="one value a row", found=kind.simpleString()
        )
    if isinstance(kind, T.FloatType | T.DoubleType):
        number = value.cast("double")
        whole = (F.abs(number) < EXACT) & (number == F.floor(number))
        finite = ~F.isnan(number) & (F.abs(number) < float("inf"))
        return F.when(finite, F.when(whole, number.try_cast("bigint").cast("string")).otherwise(number.cast("string")))
    if isinstance(kind, T.DecimalType) and kind.scale:
        written = value.cast("string")
        fraction = F.when(written.contains("E"), written).otherwise(F.rtrim(written, F.lit("0")))
        return F.when(value == F.floor(value), value.cast(T.DecimalType(38, 0)).cast("string")).otherwise(fraction)
    text = trimmed(value.cast("string"))
    if isinstance(kind, T.StringType | T.BinaryType):
        return F.when(~says_nothing(text, null_values), text)
    return text


def plain_texts(
    value: Column, kind: T.DataType, delimiter: str | None, null_values: Iterable[str], option: str
) -> Column:
    """A list of texts as in `plain_text`, those that say nothing left out; null stays null.

    An array is one; a text is parted by the delimiter or else, where it is a JSON array, by that; anything else is a
    list of one. Raises ConfigError for lists of lists.
    """
    if isinstance(kind, T.ArrayType):
        texts = F.transform(value, lambda each: plain_text(each, kind.elementType, null_values, option))
    elif not isinstance(kind, T.StringType):
        texts = F.array(plain_text(value, kind, null_values, option))
    else:
        several = F.split(value, "\\Q" + delimiter + "\\E") if delimiter else F.from_json(value, "array<string>")
        one = F.lit(delimiter is None) & ~looks_like_list(trimmed(value))
        parts = F.when(one, F.array(value)).otherwise(several)
        texts = F.transform(parts, lambda each: plain_text(each, T.StringType(), null_values, option))
    return F.when(value.isNotNull(), F.filter(texts, lambda each: each.isNotNull()))


def looks_like_list(text: Column) -> Column:
    """Whether a trimmed text is a list in brackets."""
    return text.startswith("[") & text.endswith("]")


def trimmed(text: Column) -> Column:
    """A text without white space, line ends and byte order marks around it."""
    return F.btrim(text, F.lit(SPACES))


def says_nothing(text: Column, null_values: Iterable[str]) -> Column:
    """Whether a trimmed text is empty or one of the spellings of null, in any case."""
    spelled = sorted({"", *(spelling.strip().lower() for spelling in null_values)})
    # Most ids are longer than any spelling of nothing, and lower-casing all of them costs more than their length.
    return (F.octet_length(text) <= max(len(each.encode()) for each in spelled)) & F.lower(text).isin(spelled)


def moment(value: Column, kind: T.DataType, unit: TimeUnit, option: str) -> Column:
    """A time, null where there is none. What is a timestamp or a date is one whatever the unit; so is its text.

    Raises ConfigError for numbers without a unit and for types that are no time.
    """
    if isinstance(kind, T.TimestampType | T.TimestampNTZType | T.DateType):
        return value.cast("timestamp")
    number = isinstance(kind, T.NumericType)
    if not (number or isinstance(kind, T.StringType | T.NullType)):
        raise ConfigError(f"The option {option} is no time", found=kind.simpleString())
    if unit == "timestamp":
        if number:
            raise ConfigError(
                f"The option {option}_unit is `timestamp`, but the time column holds numbers",
                found=kind.simpleString(),
                remedy=f"set {option}_unit to seconds, milliseconds, microseconds, nanoseconds or order",
            )
        return _dated(value)
    if number:
        return F.timestamp_micros(micros(value, kind, unit))
    exact = T.DecimalType(38, 9)
    return F.coalesce(F.timestamp_micros(micros(trimmed(value).try_cast(exact), exact, unit)), _dated(value))


def micros(value: Column, kind: T.DataType, unit: TimeUnit) -> Column:
    """A number of units as whole microseconds (BIGINT), null beyond what 64 bits hold."""
    if isinstance(kind, T.FloatType | T.DoubleType):
        return F.round(value.cast("double") * F.lit(1e-3 if unit == "nanoseconds" else SECONDS[unit])).try_cast(
            "bigint"
        )
    if isinstance(kind, T.DecimalType):
        if unit == "nanoseconds":
            return F.floor(value / F.lit(1000)).try_cast("bigint")
        return F.floor(F.try_multiply(value.try_cast(T.DecimalType(38, 9)), F.lit(SECONDS[unit]))).try_cast("bigint")
    whole = value.cast("bigint")
    if unit == "nanoseconds":
        return F.call_function("div", whole - F.pmod(whole, F.lit(1000)), F.lit(1000))
    return F.try_multiply(whole, F.lit(SECONDS[unit]).cast("bigint"))


def order(value: Column, kind: T.DataType, option: str) -> Column:
    """A place in an order as DECIMAL(38, 9), null where there is none; of a time its microseconds.

    Raises ConfigError for types that have no order.
    """
    if isinstance(kind, T.TimestampType | T.TimestampNTZType | T.DateType):
        return F.unix_micros(value.cast("timestamp")).cast(ORDER)
    if isinstance(kind, T.NumericType):
        return value.try_cast(ORDER)
    if not isinstance(kind, T.StringType | T.NullType):
        raise ConfigError(f"The option {option} has no order", expected="numbers or times", found=kind.simpleString())
    return F.coalesce(trimmed(value).try_cast(ORDER), F.unix_micros(_dated(value)).cast(ORDER))


def number(value: Column, kind: T.DataType, decimal: str, option: str) -> Column:
    """A number as DOUBLE, null where there is none. Raises ConfigError for types that are no number."""
    if isinstance(kind, T.NumericType | T.BooleanType):
        wide = value.cast("double")
        return F.when(~F.isnan(wide), wide)
    if not isinstance(kind, T.StringType | T.NullType):
        raise ConfigError(f"The option {option} is no number", found=kind.simpleString())
    wide = with_point(trimmed(value), decimal).try_cast("double")
    return F.when(~F.isnan(wide), wide)


def numbers(value: Column, kind: T.DataType, null_values: Iterable[str], option: str) -> Column:
    """A list of numbers as ARRAY<FLOAT>, null where there is none; a text is one as JSON, and empty if it is no list.

    Raises ConfigError for what is no list of numbers.
    """
    if isinstance(kind, T.ArrayType) and isinstance(kind.elementType, T.NumericType):
        return value.cast("array<float>")
    if not isinstance(kind, T.StringType | T.NullType):
        raise ConfigError(f"The option {option} is no list of numbers", found=kind.simpleString())
    text = trimmed(value.cast("string"))
    listed = F.coalesce(F.from_json(text, "array<float>"), F.array().cast("array<float>"))
    return F.when(~says_nothing(text, null_values), listed)


def condition(value: Column, kind: T.DataType, option: str) -> Column:
    """A condition. Raises ConfigError for what is neither true nor false."""
    if not isinstance(kind, T.BooleanType | T.NullType):
        raise ConfigError(
            f"The option {option} is no condition", expected="something true or false", found=kind.simpleString()
        )
    return value.cast("boolean")


def with_point(text: Column, decimal: str) -> Column:
    """The text of a number with a point before its fraction."""
    return text if decimal == "." else F.translate(text, decimal, ".")


def _dated(text: Column) -> Column:
    """A text as a time; one without a date, which Spark would take to be of today, is none."""
    return F.try_to_timestamp(F.when(trimmed(text).rlike("^[+-]?\\d{4}"), trimmed(text)))
