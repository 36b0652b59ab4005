"""`augmentation_summary`: the numbers that tell whether an augmentation is healthy."""

from schemas.contract import DS, Column, Table

AUGMENTATION_SUMMARY = Table(
    name="augmentation_summary",
    grain="One row a way, and one row `all`",
    columns=(
        DS,
        Column("way", "STRING", "u2i, i2i, u2u2i, or all"),
        Column("pairs", "BIGINT", "Positive pairs, all draws together"),
        Column("sampled", "BIGINT", "Positives added by this way"),
        Column("sampled_per_pair", "DOUBLE", "Mean positives added to a pair; at most m, or 3*m for all"),
        Column("shared", "DOUBLE", "Share of the added positives that another way found too"),
        Column("distinct_items", "BIGINT", "Distinct items among the added positives"),
        Column("mean_score", "DOUBLE", "Mean s(u, v_i)", nullable=True),
        Column("mean_popularity", "DOUBLE", "Mean training clicks of the added items", nullable=True),
        Column("mean_popularity_clicked", "DOUBLE", "Mean training clicks of the clicked items, to compare"),
    ),
    key=("way",),
)
