"""The contracts of every Delta table that divspa writes: one module a table, and nothing but data."""

from divspa.schemas.attributes_quarantine import ATTRIBUTES_QUARANTINE
from divspa.schemas.augmentation_summary import AUGMENTATION_SUMMARY
from divspa.schemas.augmented_positives import AUGMENTED_POSITIVES
from divspa.schemas.channels import CHANNELS
from divspa.schemas.clicks import CLICKS
from divspa.schemas.clicks_quarantine import CLICKS_QUARANTINE
from divspa.schemas.comparisons import COMPARISONS
from divspa.schemas.contract import Column, Table
from divspa.schemas.event_ranks import EVENT_RANKS
from divspa.schemas.examples import EXAMPLES
from divspa.schemas.experiment_metrics import EXPERIMENT_METRICS
from divspa.schemas.experiment_trials import EXPERIMENT_TRIALS
from divspa.schemas.feature_gates import FEATURE_GATES
from divspa.schemas.item_embeddings import ITEM_EMBEDDINGS
from divspa.schemas.item_features import ITEM_FEATURES
from divspa.schemas.item_neighbours import ITEM_NEIGHBOURS
from divspa.schemas.job_runs import JOB_RUNS
from divspa.schemas.metrics import METRICS
from divspa.schemas.published import PUBLISHED
from divspa.schemas.recall_fallback import RECALL_FALLBACK
from divspa.schemas.recall_i2i import RECALL_I2I
from divspa.schemas.recall_u2i import RECALL_U2I
from divspa.schemas.training_runs import TRAINING_RUNS
from divspa.schemas.tuning_trials import TUNING_TRIALS
from divspa.schemas.user_embeddings import USER_EMBEDDINGS
from divspa.schemas.user_features import USER_FEATURES
from divspa.schemas.vocabulary import VOCABULARY

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
