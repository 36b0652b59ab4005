"""`event_ranks`: where each model ranked each test event, so that anybody can slice, test and compare."""

from divspa.schemas.contract import DS, ITEM_INDEX, MODEL, MODEL_VERSION, USER_KEY, Column, Table

EVENT_RANKS = Table(
    name="event_ranks",
    grain="One row a model and test event, of at most about evaluation.users users",
    written_by="evaluate",
    read_for="to slice and test the evaluation in another way than `metrics` does",
    columns=(
        DS,
        MODEL,
        MODEL_VERSION,
        USER_KEY,
        Column("event", "INT", "Number of the event among the user's test events"),
        ITEM_INDEX,
        Column("rank", "INT", "Rank of the item in the whole catalogue, from 0; the catalogue's size when outside it"),
        Column("popularity", "BIGINT", "Training clicks of the item"),
        Column("train_items", "INT", "Distinct items that the user had before the cutoff"),
    ),
    key=("model", "user_key", "event"),
)
