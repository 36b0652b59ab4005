"""`augmentation_summary`: the numbers that tell whether an augmentation is healthy."""

from divspa.schemas.contract import DS, Column, Table

AUGMENTATION_SUMMARY = Table(
    name="augmentation_summary",
    grain="One row a way, and one row `all`; what was added is that of the first draw",
    written_by="augment",
    read_for="whether the day's augmentation is healthy, before its rows are used",
    columns=(
        DS,
        Column("way", "STRING", "A way of divspa.ways, such as u2i, or all"),
        Column("pairs", "BIGINT", "Positive pairs"),
        Column("candidates_per_pair", "DOUBLE", "Mean candidates found for a pair; at most top_k for a way"),
        Column(
            "new",
            "DOUBLE",
            "Share of candidates among these and the clicked items that outranked them and were left out",
            nullable=True,
        ),
        Column("overlap", "DOUBLE", "Share of the candidates that another way found too", nullable=True),
        Column(
            "completed",
            "BIGINT",
            "Pairs for which a way from an item searched all items anew",
            nullable=True,
        ),
        Column("sampled", "BIGINT", "Positives added"),
        Column("sampled_per_pair", "DOUBLE", "Mean positives added to a pair; at most m, or m * the ways for all"),
        Column("shared", "DOUBLE", "Share of the added positives that another way drew too", nullable=True),
        Column("distinct_items", "BIGINT", "Distinct items among the added positives"),
        Column("distinct_items_clicked", "BIGINT", "Distinct items of the pairs, to compare"),
        Column("mean_score", "DOUBLE", "Mean s(u, v_i)", nullable=True),
        Column("mean_popularity", "DOUBLE", "Mean training clicks of the added items", nullable=True),
        Column("mean_popularity_clicked", "DOUBLE", "Mean training clicks of the clicked items, to compare"),
        Column("search_plan", "STRING", "Plan of the search: broadcast or sharded (exact), or routed", nullable=True),
        Column("search_recall", "DOUBLE", "Recall of that search against an exact one, measured", nullable=True),
        Column("search_nprobe", "INT", "Clusters that each query of a routed search looked into", nullable=True),
    ),
    key=("way",),
)
