"""`item_neighbours`: the linear model, what a click on an item says about clicks on others."""

from divspa.schemas.contract import DS, ITEM_ID, ITEM_INDEX, MODEL_VERSION, Column, Table

ITEM_NEIGHBOURS = Table(
    name="item_neighbours",
    grain="One row an item that has any neighbours. A user's score of an item is the sum of its weights over the rows "
    "of what the user clicked",
    written_by="train_linear",
    read_for="what a click on an item says of others, by a linear model",
    columns=(
        DS,
        ITEM_ID,
        ITEM_INDEX,
        Column("neighbour_ids", "ARRAY<STRING>", "Items, as the click log names them, from the highest weight down"),
        Column("neighbour_indices", "ARRAY<INT>", "The same as vocabulary indices"),
        Column("weights", "ARRAY<FLOAT>", "Weight of each neighbour, non-increasing; below 0 it speaks against it"),
        MODEL_VERSION,
    ),
    key=("item_index",),
    checks={
        "lengths_equal": "size(neighbour_ids) = size(weights) AND size(neighbour_indices) = size(weights)",
        "has_neighbours": "size(weights) > 0",
    },
)
