"""`tuning_trials`: what was tried to choose a day's settings of `divspa`, and what was chosen."""

from divspa.schemas.contract import DS, MODEL_VERSION, Column, Table

TUNING_TRIALS = Table(
    name="tuning_trials",
    written_by="tune",
    read_for="what a day tried, and what it chose",
    grain="One row a trial and round; later rounds go on from the weights of the earlier, on pairs not yet seen",
    columns=(
        DS,
        Column("round", "INT", "From 0; fewer settings are tried on more pairs in each"),
        Column("trial", "INT", "Place of the setting, from 0; -1 is the control: the base trained on, nothing added"),
        Column("settings", "STRING", "The section `divspa` of the trial as JSON"),
        Column("pairs", "BIGINT", "Positive pairs learned from, all rounds together"),
        Column("scores", "MAP<STRING, DOUBLE>", "Mean gain of the held-out events by criterion; empty if it failed"),
        Column("ranks", "ARRAY<INT>", "The rank of each held-out event in the whole catalogue, from 0"),
        Column("ahead", "DOUBLE", "Gain over the control in standard errors over users; null if failed", nullable=True),
        Column("seconds", "DOUBLE", "Wall seconds of training and ranking in this round"),
        Column("failure", "STRING", "Why the training failed", nullable=True),
        Column("chosen", "BOOLEAN", "Whether the day's settings are these; of one row"),
        Column("made_on", "DATE", "The day on which they were chosen, earlier where a choice is used again"),
        Column("asked", "STRING", "Hash of the candidates and of all that they were chosen for"),
        MODEL_VERSION,
    ),
    key=("round", "trial"),
)
