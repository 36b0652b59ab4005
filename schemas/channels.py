"""`channels`: what could be published of a day, what was, and why."""

from divspa.schemas.contract import DS, MODEL_VERSION, Column, Table

CHANNELS = Table(
    name="channels",
    written_by="evaluate",
    read_for="what is published of a day, and why",
    grain="One row a channel: a model, or two of them fused with the best of the weights tried",
    columns=(
        DS,
        Column("channel", "STRING", "Its models, joined by +"),
        Column("models", "ARRAY<STRING>", "The same as a list"),
        Column("weights", "ARRAY<DOUBLE>", "Weight of each model's list in the fusion; 1 for a single one"),
        MODEL_VERSION,
        Column("criterion", "STRING", "By what it is chosen on the split valid"),
        Column("valid", "DOUBLE", "Its figure there; null where nothing is held out", nullable=True),
        Column("events", "BIGINT", "Held-out clicks that were ranked"),
        Column("metric", "STRING", "What is compared on the test period"),
        Column("test", "DOUBLE", "Its figure there; null where it was not ranked. It chooses nothing", nullable=True),
        Column("published", "BOOLEAN", "Whether export_recall publishes it; none of a day that is held back"),
        Column("reason", "STRING", "Why it is published, or what would have been", nullable=True),
    ),
    key=("channel",),
)
