"""Stage `refit`: the published models once more, on all clicks, so that the newest are in what is served.

What was evaluated has seen nothing after the cutoff. Here the day is made again without a test period, in a lake of
its own inside the lake, as if the evaluated day were the one before: places of the vocabulary stay, and the base starts
from the weights that were evaluated. Nothing is chosen here, and nothing is left to measure it by.
"""

from datetime import date, timedelta
from typing import Any

from pyspark.sql import functions as F

from divspa.augmentation.augment import augment
from divspa.augmentation.ways.registry import chosen_ways
from divspa.augmentation.ways.way import tables_of
from divspa.config import Config
from divspa.features.build import build_features
from divspa.features.settings import ClickLog, FeatureGates, Split
from divspa.lake.refitted import refit_lake
from divspa.lake.tables import Lake
from divspa.linear.train import LINEAR, train_linear
from divspa.models.checkpoint import DIVSPA, Checkpoint, checkpoint_folder
from divspa.schemas import CLICKS, ITEM_NEIGHBOURS, TRAINING_RUNS, USER_FEATURES, VOCABULARY
from divspa.serving.user_lists import Published
from divspa.storage import remove
from divspa.training.stages import train_base, train_divspa
from divspa.tuning.choice import with_choice


def refit(lake: Lake, config: Config, ds: date) -> None:
    """Train on all clicks of the day what `export_recall` publishes; nothing with `publishing.refit: false`.

    Raises MissingTableError before `evaluate`, and GateError for a day that is held back.
    """
    again = refit_lake(lake, ds)
    remove(again.root)
    if not config.publishing.refit:
        return
    published = Published.of(lake, ds)
    config = without_test(lake, with_choice(lake, config, ds), ds)
    models = {*published.channel.models, published.tower}
    as_of_the_day_before(lake, again, config.model.name, ds)
    build_features(again, config, ds)
    if models - {LINEAR}:
        passes = config.publishing.refit_passes  # to the last: nothing is held out to stop by
        train_base(again, config.with_training(start="previous", epochs=passes, patience=0), ds)
    taught_by = tables_of(chosen_ways(config.divspa).values()) if DIVSPA in models else {}
    if LINEAR in models or ITEM_NEIGHBOURS.name in taught_by:
        regularisation = config.linear.regularisations[best_epoch(lake, ds, LINEAR)]
        linear = config.linear.model_copy(update={"regularisations": (regularisation,)})
        train_linear(again, config.model_copy(update={"linear": linear}), ds)
    if DIVSPA in models:
        augment(again, config, ds)
        train_divspa(again, config.with_training(epochs=best_epoch(lake, ds, DIVSPA) + 1, patience=0), ds)
    remove(again.path(CLICKS))  # the whole log once more, which nobody reads from here


def without_test(lake: Lake, config: Config, ds: date) -> Config:
    """The configuration of the same day from the clicks that the lake has of it, all of which are learned from.

    Gates are off: what they hold back has been held back.
    """
    time = {"time": "clicked_at"} if config.clicks.has_times else {"time": "unix_micros(clicked_at)"}
    log: dict[str, Any] = {"path": lake.path(CLICKS), "format": "delta", "user": "user_id", "item": "item_id", **time}
    log |= {"time_unit": "timestamp" if config.clicks.has_times else "order", "positive": f"ds <= '{ds}'"}
    log |= {"earliest": config.clicks.earliest, "latest": config.clicks.latest, "null_values": ()}
    if config.clicks.is_weighted:
        log["weight"] = "weight"
    off = dict.fromkeys(name for name in FeatureGates.model_fields if name.startswith(("max_", "min_matched_")))
    length = lake.read_day(USER_FEATURES, ds).select(F.size("history")).head()[0]  # pyright: ignore[reportOptionalSubscript]
    features = {"history_length": length, "gates": FeatureGates.model_validate(off)}
    changed = {
        "clicks": ClickLog.model_validate(log),
        "split": Split(by="none", validation_events=0),
        "features": config.features.model_copy(update=features),
    }
    return config.model_copy(update=changed)


def as_of_the_day_before(lake: Lake, again: Lake, base: str, ds: date) -> None:
    """Give a lake the evaluated day's vocabulary and base as those of the day before."""
    before = ds - timedelta(days=1)
    again.replace_day(VOCABULARY, lake.read_day(VOCABULARY, ds), before, unique=True)
    again.replace_day(TRAINING_RUNS, lake.read_day(TRAINING_RUNS, ds, model=base), before, model=base)
    Checkpoint.load(checkpoint_folder(lake.root, ds, base)).save(checkpoint_folder(again.root, before, base))


def best_epoch(lake: Lake, ds: date, model: str) -> int:
    """The epoch, or regularisation, of the evaluated day's model that was kept."""
    (row,) = lake.read_day(TRAINING_RUNS, ds, model=model).select("best_epoch").collect()
    return row.best_epoch
