"""`recall_u2i`: the items to recall for each user."""

from schemas.contract import DS, MODEL_VERSION, SEARCH_RECALL, USER_ID, Column, Table

RECALL_U2I = Table(
    name="recall_u2i",
    grain="One row a user, with items not yet clicked, best first",
    columns=(
        DS,
        USER_ID,
        Column("item_ids", "ARRAY<STRING>", "Items, best first"),
        Column("scores", "ARRAY<FLOAT>", "s(u, v), non-increasing"),
        MODEL_VERSION,
        SEARCH_RECALL,
    ),
    key=("user_id",),
    checks={"lengths_equal": "size(item_ids) = size(scores)"},
)
