"""`recall_i2i`: the items most similar to each item."""

from divspa.schemas.contract import DS, ITEM_ID, MODEL_VERSION, SEARCH_RECALL, Column, Table

RECALL_I2I = Table(
    name="recall_i2i",
    grain="One row an item, with the items nearest to it, best first",
    written_by="export_recall",
    read_for="to recall items beside the one that is looked at",
    columns=(
        DS,
        ITEM_ID,
        Column("item_ids", "ARRAY<STRING>", "Items, best first, without the item itself"),
        Column("scores", "ARRAY<FLOAT>", "s(v, v'), non-increasing"),
        MODEL_VERSION,
        SEARCH_RECALL,
    ),
    key=("item_id",),
    checks={"lengths_equal": "size(item_ids) = size(scores)"},
)
