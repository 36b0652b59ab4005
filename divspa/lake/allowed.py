"""Which items may be recommended: a condition on their attributes, for example that they are in stock."""

from datetime import date

from pyspark.errors.exceptions.base import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from divspa.config import Attributes
from divspa.errors import ConfigError
from divspa.lake.source import read_source


def allowed_items(items: DataFrame, condition: str | None, source: Attributes | None, ds: date, key: str) -> DataFrame:
    """The rows of `items` (with item_id) whose attributes of the day meet an SQL condition; all rows without one.

    An item without attributes is not allowed; of several rows of an item one has to meet it. `key` names the condition
    in the configuration. Raises InputError when the table cannot be read, and ConfigError when none is declared, the
    condition cannot be evaluated, or no item meets it.
    """
    if condition is None:
        return items
    if source is None:
        raise ConfigError(f"The condition {key} needs attributes of items", remedy="declare `items`, or drop it")
    attributes = read_source(items.sparkSession, source, ds)
    try:
        meeting = attributes.where(F.expr(condition))
        ids = meeting.select(F.trim(F.col(f"`{source.id}`").cast("string")).alias("item_id"))
        allowed = items.join(ids, "item_id", "left_semi")
        nothing = allowed.isEmpty()
    except PySparkException as error:
        raise ConfigError(
            f"The condition {key} cannot be evaluated over {source.path}",
            expected="Spark SQL over the columns of the items table",
            found=f"{condition}: {str(error).partition(chr(10))[0][:200]}",
        ) from error
    if nothing:
        raise ConfigError(f"No item meets the condition {key}", found=condition, remedy="mend or drop it")
    return allowed
