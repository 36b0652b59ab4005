"""`recall_fallback`: the items to recall for users whom nobody knows."""

from divspa.schemas.contract import DS, Column, Table

RECALL_FALLBACK = Table(
    name="recall_fallback",
    grain="One row a segment of users that is large enough, and one, `{}`, of all users",
    written_by="export_recall",
    read_for="to recall items for a user without a row in recall_u2i: by the longest segment that has a row",
    columns=(
        DS,
        Column(
            "segment",
            "STRING",
            'The first of `recall.segments` with their values, as JSON in that order: {"country":"FR","age":"20"}',
        ),
        Column("users", "BIGINT", "Users in the segment"),
        Column("item_ids", "ARRAY<STRING>", "What most of them clicked, then what most of all users did"),
        Column(
            "scores", "ARRAY<DOUBLE>", "Share of the segment's users who clicked the item; 0 where all users' follow"
        ),
    ),
    key=("segment",),
    checks={"lengths_equal": "size(item_ids) = size(scores)"},
    change_feed=True,
)
