"""`recall_i2i`: the items most similar to each item."""

from divspa.schemas.contract import DS, ITEM_ID, MODEL_VERSION, SEARCH_RECALL, Column, Table

RECALL_I2I = Table(
    name="recall_i2i",
    grain="One row an item and model, with the items nearest to it, best first",
    written_by="export_recall",
    read_for="to recall items beside the one that is looked at",
    columns=(
        DS,
        ITEM_ID,
        Column("item_ids", "ARRAY<STRING>", "Items, best first, without the item itself"),
        Column("scores", "ARRAY<FLOAT>", "s(v, v'), or weights of the linear model; non-increasing"),
        MODEL_VERSION,
        SEARCH_RECALL,
        Column(
            "channel",
            "STRING",
            "The model whose items these are: that of the served index, or linear; null before contract 2: the former",
            nullable=True,
        ),
    ),
    key=("item_id", "channel"),
    version=2,
    change_feed=True,
    checks={"lengths_equal": "size(item_ids) = size(scores)"},
)
