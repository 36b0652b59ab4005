"""`examples`: the positives, ready for the trainer without a join."""

from divspa.schemas.contract import (
    DS,
    EVENT,
    EXAMPLE_ID,
    HISTORY,
    HISTORY_LENGTH,
    ITEM_ID,
    ITEM_INDEX,
    USER_FEATURES,
    USER_ID,
    USER_KEY,
    WEIGHT,
    Column,
    Table,
)

EXAMPLES = Table(
    name="examples",
    grain="One row a positive: a user, an item and the instant of the click",
    written_by="build_features",
    read_for="to train a model of your own on the plain positives",
    columns=(
        DS,
        Column("split", "STRING", "train (before the cutoff), valid (the last of it for some users) or test"),
        EXAMPLE_ID,
        USER_ID,
        USER_KEY,
        ITEM_ID,
        ITEM_INDEX,
        Column("clicked_at", "TIMESTAMP", "When the click happened (UTC)"),
        Column("seen", "BOOLEAN", "Whether the user had clicked the item before the cutoff already (not in train)"),
        USER_FEATURES,
        HISTORY,
        HISTORY_LENGTH,
        WEIGHT,
        EVENT,
    ),
    key=("example_id",),
    partitioned_by=("ds", "split"),
    checks={
        "split_known": "split IN ('train', 'valid', 'test')",
        "item_known": "split = 'test' OR item_index >= 2",
    },
)
