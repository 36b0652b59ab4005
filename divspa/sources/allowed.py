"""Which items may be recommended: a condition on their attributes, for example that they are in stock."""

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from divspa.errors import ConfigError
from divspa.features.settings import Attributes
from divspa.sources.damage import Damage, read_whole
from divspa.sources.table import PROBLEM, Wanted, read_table


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
    wanted = {"item_id": Wanted("items.id", source.id, "id"), "allowed": Wanted(key, condition, "condition")}

    def read(damage: Damage) -> DataFrame:
        rows = read_table(items.sparkSession, source, wanted, ds, damage).rows
        ids = rows.where(F.col(PROBLEM).isNull() & F.col("allowed")).select("item_id").persist()
        ids.count()
        return ids

    ids = read_whole(source, read)
    allowed = items.join(ids, "item_id", "left_semi")
    if allowed.isEmpty():
        raise ConfigError(f"No item meets the condition {key}", found=condition, remedy="mend or drop it")
    return allowed
