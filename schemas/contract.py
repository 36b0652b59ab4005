"""What a Delta table promises: its columns, key, partitions and constraints, as plain data without Spark."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Column:
    """One column: its Spark SQL type, what it means, and whether it may be null."""

    name: str
    type: str
    comment: str
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """The contract of one Delta table.

    `grain` says what one row is; `key` names the columns that are unique within a day; `checks` maps the name of a
    CHECK constraint to its SQL expression. Every table is partitioned by `ds` first. `version` rises with each change
    that a reader may notice, such as a column that goes, is renamed or means something else; a new nullable column is
    none. A table with `change_feed` tells readers which rows changed from one version to the next. `written_by` names
    the stages, and `read_for` what a reader comes for.
    """

    name: str
    grain: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    partitioned_by: tuple[str, ...] = ("ds",)
    checks: dict[str, str] = field(default_factory=dict)
    written_by: str = ""
    read_for: str = ""
    version: int = 1
    change_feed: bool = False

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def names_within_day(self) -> list[str]:
        """The names of all columns but ds, which is the day that is replaced."""
        return [name for name in self.column_names if name != "ds"]


WEIGHT = Column("weight", "FLOAT", "What the click counts beside others; null: 1", nullable=True)
EVENT = Column("event", "STRING", "Kind of event, where the log has several", nullable=True)
DS = Column("ds", "DATE", "Logical day of the run that wrote the row (UTC)")
USER_ID = Column("user_id", "STRING", "User, as the click log names it")
ITEM_ID = Column("item_id", "STRING", "Item, as the click log names it")
USER_KEY = Column("user_key", "BIGINT", "xxhash64 of user_id: the same on every day")
ITEM_INDEX = Column("item_index", "INT", "Vocabulary index of item_id; 0 is padding and 1 is out of vocabulary")
MODEL = Column("model", "STRING", "Model name: the base model's, divspa or linear")
MODEL_VERSION = Column("model_version", "STRING", "Hash of the settings, seed and table versions that made the model")
EXAMPLE_ID = Column("example_id", "BIGINT", "xxhash64 of user_id, item_id and the time of the click")
SEARCH_RECALL = Column("search_recall", "DOUBLE", "Recall of the search against an exact one, measured; 1 if exact")
USER_FEATURES = Column(
    "user_features",
    "ARRAY<INT>",
    "Encoded user fields in the configuration's order, padded with 0; of a vector its floats' bits",
)
HISTORY = Column("history", "ARRAY<INT>", "item_index of past clicks, oldest first, padded with 0 to the set length")
HISTORY_LENGTH = Column("history_length", "INT", "How many entries of history are real")
