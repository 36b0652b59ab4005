"""`experiment_trials`: one training of an experiment, and where it ranked every test event."""

from divspa.schemas.contract import DS, MODEL, Column, Table

DATA_SET = Column("data_set", "STRING", "The click log's name in the suite")
TRIAL = Column("trial", "STRING", "Hash of everything that the trial depends on")
SEED = Column("seed", "INT", "Seed of weights, negatives, batches and sampled positives")

EXPERIMENT_TRIALS = Table(
    name="experiment_trials",
    grain="One row a data set, settings and seed",
    written_by="divspa experiment",
    read_for="what an experiment trained, and where it ranked every test event",
    columns=(
        DS,
        DATA_SET,
        TRIAL,
        SEED,
        MODEL,
        Column("settings", "STRING", "The configuration as JSON"),
        Column("validation", "DOUBLE", "Best score on the split valid; null without a training", nullable=True),
        Column("losses", "ARRAY<DOUBLE>", "Mean training loss of each epoch"),
        Column("scores", "ARRAY<DOUBLE>", "Validation score of each epoch"),
        Column("seconds", "DOUBLE", "Wall seconds of the stages that were run for it"),
        Column("user_keys", "ARRAY<BIGINT>", "The user of each test event"),
        Column("ranks", "ARRAY<INT>", "The rank of each test event in the whole catalogue, from 0"),
        Column(
            "valid_ranks",
            "ARRAY<INT>",
            "The same of each event of the split valid, by the weights that were kept; null without a training",
            nullable=True,
        ),
    ),
    key=("data_set", "trial"),
    partitioned_by=("ds", "data_set", "trial"),
)
