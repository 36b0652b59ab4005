"""`augmented_positives`: every positive pair with the positives that were found for it. Other teams read this first."""

from divspa.schemas.contract import (
    DS,
    EXAMPLE_ID,
    HISTORY,
    HISTORY_LENGTH,
    ITEM_ID,
    ITEM_INDEX,
    MODEL_VERSION,
    USER_FEATURES,
    USER_ID,
    WEIGHT,
    Column,
    Table,
)

# The least that Eq. 3 takes a score for, by teacher and student alike: the paper leaves negative ones undefined.
SCORE_FLOOR = 1e-3

AUGMENTED_POSITIVES = Table(
    name="augmented_positives",
    grain="One row a positive pair and draw; sampled arrays are m times divspa.ways long and pad with weight 0",
    written_by="augment",
    read_for="to train a model of your own on diversified positives, without a join",
    columns=(
        DS,
        Column("draw", "INT", "Number of the independent draw, from 0; epoch e learns from draw e mod draws"),
        EXAMPLE_ID,
        USER_ID,
        ITEM_ID,
        ITEM_INDEX,
        USER_FEATURES,
        HISTORY,
        HISTORY_LENGTH,
        WEIGHT,
        Column("sampled_item_ids", "ARRAY<STRING>", "The added positives, as the click log names them; '' is padding"),
        Column("sampled_item_indices", "ARRAY<INT>", "The same as vocabulary indices; 0 is padding"),
        Column("sampled_scores", "ARRAY<FLOAT>", "s(u, v_i): the model's own score of user and item"),
        Column("sampled_weights", "ARRAY<FLOAT>", "Normalised scores (Eq. 3); they sum to 1 over the row"),
        Column("sampled_sources", "ARRAY<STRING>", "The ways that found the item, joined by +, for example u2i+i2i"),
        MODEL_VERSION,
        Column("settings_hash", "STRING", "Hash of the augmentation's settings, seed, day and model version"),
        Column("source_versions", "STRING", "Delta version of each table that was read, as JSON"),
    ),
    key=("draw", "example_id"),
    partitioned_by=("ds", "draw"),
    checks={
        "lengths_equal": "size(sampled_item_ids) = size(sampled_weights)"
        " AND size(sampled_item_indices) = size(sampled_weights)"
        " AND size(sampled_scores) = size(sampled_weights)"
        " AND size(sampled_sources) = size(sampled_weights)",
        "weights_sum_to_one": "abs(aggregate(sampled_weights, 0D, (total, w) -> total + w) - 1) < 1e-3"
        " OR aggregate(sampled_weights, 0D, (total, w) -> total + w) = 0",
    },
)
