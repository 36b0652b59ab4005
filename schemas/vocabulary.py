"""`vocabulary`: which index each value of each field is embedded by."""

from divspa.schemas.contract import DS, Column, Table

ITEM_FIELD = "item_id"
PADDING, UNKNOWN, FIRST_INDEX = 0, 1, 2

VOCABULARY = Table(
    name="vocabulary",
    grain="One row a field and value seen before the cutoff; a later day keeps the index of each value that stays",
    written_by="build_features",
    read_for="which index each value, bucket and bound is encoded by",
    columns=(
        DS,
        Column("field", "STRING", "Field name; item_id for the catalogue"),
        Column("value", "STRING", "Value as a string"),
        Column("index", "INT", "Row of the field's embedding table; 0 is padding and 1 is out of vocabulary"),
        Column(
            "count",
            "BIGINT",
            "Clicks before the cutoff by weight (item_id), or users or items that have it",
        ),
        Column("since", "DATE", "Day from which on the index means this value; null: always", nullable=True),
    ),
    key=("field", "value"),
    checks={"index_past_reserved": "`index` >= 2", "count_not_negative": "`count` >= 0"},
)
