"""`recall_u2i`: the items to recall for each user."""

from divspa.schemas.contract import DS, MODEL_VERSION, SEARCH_RECALL, USER_ID, Column, Table

RECALL_U2I = Table(
    name="recall_u2i",
    grain="One row a user, with items not yet clicked, best first",
    written_by="export_recall",
    read_for="to recall items for a known user",
    columns=(
        DS,
        USER_ID,
        Column("item_ids", "ARRAY<STRING>", "Items, best first"),
        Column("scores", "ARRAY<FLOAT>", "s(u, v), or of fused lists the sum of their gains; non-increasing"),
        MODEL_VERSION,
        SEARCH_RECALL,
        Column("channel", "STRING", "The published channel: its models, joined by +", nullable=True),
        Column(
            "sources",
            "ARRAY<STRING>",
            "For each item the models whose lists hold it, joined by +, or `new`",
            nullable=True,
        ),
    ),
    key=("user_id",),
    change_feed=True,
    checks={"lengths_equal": "size(item_ids) = size(scores)"},
)
