"""The contracts of every Delta table that divspa writes: one module a table, and nothing but data."""

from schemas.attributes_quarantine import ATTRIBUTES_QUARANTINE
from schemas.augmentation_summary import AUGMENTATION_SUMMARY
from schemas.augmented_positives import AUGMENTED_POSITIVES
from schemas.channels import CHANNELS
from schemas.clicks import CLICKS
from schemas.clicks_quarantine import CLICKS_QUARANTINE
from schemas.comparisons import COMPARISONS
from schemas.contract import Column, Table
from schemas.event_ranks import EVENT_RANKS
from schemas.examples import EXAMPLES
from schemas.experiment_metrics import EXPERIMENT_METRICS
from schemas.experiment_trials import EXPERIMENT_TRIALS
from schemas.feature_gates import FEATURE_GATES
from schemas.item_embeddings import ITEM_EMBEDDINGS
from schemas.item_features import ITEM_FEATURES
from schemas.item_neighbours import ITEM_NEIGHBOURS
from schemas.job_runs import JOB_RUNS
from schemas.metrics import METRICS
from schemas.published import PUBLISHED
from schemas.recall_fallback import RECALL_FALLBACK
from schemas.recall_i2i import RECALL_I2I
from schemas.recall_u2i import RECALL_U2I
from schemas.training_runs import TRAINING_RUNS
from schemas.tuning_trials import TUNING_TRIALS
from schemas.user_embeddings import USER_EMBEDDINGS
from schemas.user_features import USER_FEATURES
from schemas.vocabulary import VOCABULARY

# The tables of a lake; those of an experiment lie in a folder of its own.
TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        CLICKS,
        CLICKS_QUARANTINE,
        ATTRIBUTES_QUARANTINE,
        VOCABULARY,
        ITEM_FEATURES,
        USER_FEATURES,
        EXAMPLES,
        FEATURE_GATES,
        TRAINING_RUNS,
        USER_EMBEDDINGS,
        ITEM_EMBEDDINGS,
        ITEM_NEIGHBOURS,
        TUNING_TRIALS,
        AUGMENTED_POSITIVES,
        AUGMENTATION_SUMMARY,
        EVENT_RANKS,
        METRICS,
        COMPARISONS,
        CHANNELS,
        RECALL_U2I,
        RECALL_I2I,
        RECALL_FALLBACK,
        PUBLISHED,
        JOB_RUNS,
    )
}

__all__ = [
    "ATTRIBUTES_QUARANTINE",
    "AUGMENTATION_SUMMARY",
    "AUGMENTED_POSITIVES",
    "CHANNELS",
    "CLICKS",
    "CLICKS_QUARANTINE",
    "COMPARISONS",
    "EVENT_RANKS",
    "EXAMPLES",
    "EXPERIMENT_METRICS",
    "EXPERIMENT_TRIALS",
    "FEATURE_GATES",
    "ITEM_EMBEDDINGS",
    "ITEM_FEATURES",
    "ITEM_NEIGHBOURS",
    "JOB_RUNS",
    "METRICS",
    "PUBLISHED",
    "RECALL_FALLBACK",
    "RECALL_I2I",
    "RECALL_U2I",
    "TABLES",
    "TRAINING_RUNS",
    "TUNING_TRIALS",
    "USER_EMBEDDINGS",
    "USER_FEATURES",
    "VOCABULARY",
    "Column",
    "Table",
]
