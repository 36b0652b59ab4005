"""`item_features`: the catalogue, encoded for the item tower."""

from divspa.schemas.contract import DS, ITEM_ID, ITEM_INDEX, Column, Table

ITEM_FEATURES = Table(
    name="item_features",
    grain="One row an item of the catalogue, which is every item in the vocabulary",
    written_by="build_features",
    read_for="the catalogue with its popularity, encoded for a model of your own",
    columns=(
        DS,
        ITEM_ID,
        ITEM_INDEX,
        Column(
            "item_features",
            "ARRAY<INT>",
            "Encoded item fields in the configuration's order, padded with 0; of a vector its floats' bits",
        ),
        Column(
            "popularity", "BIGINT", "Clicks before the cutoff, each by its weight; 0 of an item that nobody clicked"
        ),
        Column("train_clicks", "BIGINT", "Clicks before the cutoff, each counted once", nullable=True),
    ),
    key=("item_index",),
    checks={"index_past_reserved": "item_index >= 2"},
)
