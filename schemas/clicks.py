"""`clicks`: the valid positive events, each in the day that first saw it."""

from divspa.schemas.contract import DS, EVENT, ITEM_ID, USER_ID, WEIGHT, Column, Table

CLICKS = Table(
    name="clicks",
    grain="One row a user, item and instant; repeats at other instants stay",
    written_by="build_features",
    read_for="the log as divspa understood it: clean, deduplicated, in UTC",
    columns=(
        DS,
        USER_ID,
        ITEM_ID,
        Column(
            "clicked_at", "TIMESTAMP", "When the click happened (UTC); of a log of order only its place, from 1970 on"
        ),
        Column("tie_break", "BIGINT", "Hash that orders clicks of one instant, so that file order cannot leak"),
        WEIGHT,
        EVENT,
    ),
    key=("user_id", "item_id", "clicked_at"),
    checks={"ids_not_empty": "user_id <> '' AND item_id <> ''", "not_in_the_future": "clicked_at < date_add(ds, 1)"},
)
