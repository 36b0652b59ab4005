"""`clicks`: the valid positive events, each in the day that first saw it."""

from schemas.contract import DS, ITEM_ID, USER_ID, Column, Table

CLICKS = Table(
    name="clicks",
    grain="One row a user, item and instant; repeats at other instants stay",
    columns=(
        DS,
        USER_ID,
        ITEM_ID,
        Column("clicked_at", "TIMESTAMP", "When the click happened (UTC)"),
        Column("tie_break", "BIGINT", "Hash that orders clicks of one instant, so that file order cannot leak"),
    ),
    key=("user_id", "item_id", "clicked_at"),
    checks={"ids_not_empty": "user_id <> '' AND item_id <> ''", "not_in_the_future": "clicked_at < date_add(ds, 1)"},
)
