"""`user_features`: what is known of each user at the cutoff and at the end of the day."""

from divspa.schemas.contract import DS, HISTORY, HISTORY_LENGTH, USER_ID, USER_KEY, Column, Table
from divspa.schemas.contract import USER_FEATURES as ENCODED

USER_FEATURES = Table(
    name="user_features",
    grain="One row a user and moment: `cutoff` for augmentation and evaluation, `latest` for serving",
    written_by="build_features",
    read_for="what is known of a user: for a model of your own, and to leave out what was clicked",
    columns=(
        DS,
        Column("as_of", "STRING", "`cutoff`: only clicks before the cutoff; `latest`: all clicks up to the day's end"),
        USER_ID,
        USER_KEY,
        ENCODED,
        HISTORY,
        HISTORY_LENGTH,
        Column("clicked", "ARRAY<INT>", "item_index of every distinct item clicked by then, ascending"),
    ),
    key=("as_of", "user_key"),
    partitioned_by=("ds", "as_of"),
    checks={"as_of_known": "as_of IN ('cutoff', 'latest')"},
)
