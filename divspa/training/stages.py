"""Stages `train_base` and `train_divspa`: Delta in, a checkpoint and embeddings out."""

from datetime import date

import numpy as np
import torch
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from divspa.arrow import matrix
from divspa.augmentation.settings import DivSPA
from divspa.config import Config
from divspa.errors import InputError, MissingTableError
from divspa.features.settings import ColumnField, FeatureField
from divspa.lake.tables import Lake
from divspa.lake.training_split import held_out_clicks, newest_of
from divspa.models.checkpoint import DIVSPA, Checkpoint, checkpoint_folder
from divspa.models.layout import FieldSlot, Layout
from divspa.models.registry import with_all_settings
from divspa.progress import step
from divspa.schemas import (
    AUGMENTED_POSITIVES,
    EXAMPLES,
    ITEM_EMBEDDINGS,
    ITEM_FEATURES,
    TRAINING_RUNS,
    USER_EMBEDDINGS,
    USER_FEATURES,
    VOCABULARY,
)
from divspa.schemas.contract import Table
from divspa.schemas.vocabulary import FIRST_INDEX, ITEM_FIELD
from divspa.settings import fingerprint
from divspa.training.embed import embed_items, embed_users
from divspa.training.fit import Job
from divspa.training.launch import launch
from divspa.training.rates import best_of
from divspa.training.tracking import TrainedModel, require_tracking, track
from divspa.training.validation import Validation


def train_base(lake: Lake, config: Config, ds: date) -> None:
    """Train the base model on the day's training examples (Eq. 1), and write its checkpoint and embeddings.

    Raises InputError when the day has none.
    """
    version = lake.version(EXAMPLES)
    try:
        day = lake.read_day(EXAMPLES, ds, version, split="train")
    except MissingTableError:
        lake.read_day(EXAMPLES, ds, version)  # which says so where the day has not been built at all
        remedy = "read more of the log, or hold out less (`split`)"
        raise InputError(
            f"There is nothing to learn from on {ds}: no click is left before the cutoff", remedy=remedy
        ) from None
    files = [lake.files(EXAMPLES, ds, version, split="train")]
    _train_and_publish(lake, config, ds, config.model.name, None, files, day, reads=EXAMPLES)


def train_divspa(lake: Lake, config: Config, ds: date) -> None:
    """Train again on the augmented positives with the mix-up loss (Eq. 2 or 3), and write checkpoint and embeddings."""
    version = lake.version(AUGMENTED_POSITIVES)
    day = lake.read_day(AUGMENTED_POSITIVES, ds, version)
    draws = day.agg(F.max("draw") + 1).first()[0]  # pyright: ignore[reportOptionalSubscript]
    files = [lake.files(AUGMENTED_POSITIVES, ds, version, draw=draw) for draw in range(draws)]
    first = day.where("draw = 0")
    _train_and_publish(lake, config, ds, DIVSPA, config.divspa, files, first, reads=AUGMENTED_POSITIVES)


def _train_and_publish(
    lake: Lake,
    config: Config,
    ds: date,
    name: str,
    divspa: DivSPA | None,
    files: list[list[str]],
    draw: DataFrame,
    reads: Table,
) -> None:
    require_tracking()
    versions = {
        table.name: lake.version(table) for table in (reads, EXAMPLES, ITEM_FEATURES, USER_FEATURES, VOCABULARY)
    }
    if config.training.threads:
        torch.set_num_threads(config.training.threads)
    rows, mean_weight = draw.agg(F.count("*"), F.avg("weight")).head()  # pyright: ignore[reportGeneralTypeIssues]
    folder, model = checkpoint_folder(lake.root, ds, name), with_all_settings(config.model)
    start_from, since = _start(lake, config, ds, name)
    job = Job(
        model=model,
        layout=read_layout(lake, config, ds),
        training=config.training,
        divspa=divspa,
        seed=config.seed,
        files=files,
        rows=rows,
        item_files=lake.files(ITEM_FEATURES, ds, versions[ITEM_FEATURES.name]),
        folder=folder,
        fingerprint=fingerprint(model, config.training, divspa, config.seed, ds, sorted(versions.items())),
        validation=read_validation(lake, config, ds, versions[EXAMPLES.name]),
        mean_weight=mean_weight if config.clicks.is_weighted else None,
        start_from=start_from,
        fresh={} if since is None else given_since(lake, ds, since),
    )
    rates = config.learning_rates
    with step(f"training {name}", len(rates) * config.training.epochs * rows) as advance:
        kept = best_of(job, rates, lambda each: launch(lake.spark, each, advance))
    progress = kept.progress
    checkpoint = Checkpoint.load(folder)
    _publish_embeddings(lake, ds, name, checkpoint, lake.read_day(ITEM_FEATURES, ds))
    trained = TrainedModel(ds, name, checkpoint.version, folder.removeprefix(lake.root + "/"), versions)
    run = (
        trained.model_version,
        trained.checkpoint,
        config.with_training(learning_rate=kept.rate).model_dump_json(),
        trained.versions,
        progress.losses,
        progress.scores,
        progress.best_epoch,
        progress.examples,
        progress.seconds,
        progress.resumed,
        {f"{rate:g}": score for rate, score in kept.scores.items()} or None,
    )
    lake.replace_day_with(TRAINING_RUNS, [run], ds, model=name)
    track(trained, config, progress)


def read_validation(lake: Lake, config: Config, ds: date, version: int, newest: float = 1.0) -> Validation | None:
    """The held-out examples of a day that the models are stopped by, on the driver: some thousands.

    Of them about the share `newest` by the time of the click; None where nothing is held out.
    """
    examples = lake.read(EXAMPLES, version).where(F.col("ds") == F.lit(ds))
    rows = held_out_clicks(examples, config.evaluation.events)
    wanted = "user_features", "history", "item_index", "user_key", "clicked_at"
    rows = newest_of(rows.orderBy("example_id").select(*wanted).toArrow(), newest, config.clicks)
    if not rows.num_rows:
        return None
    features, history, items, users, _ = (column.combine_chunks() for column in rows.combine_chunks().columns)
    return Validation(matrix(features), matrix(history), items.to_numpy(), users.to_numpy())


def _start(lake: Lake, config: Config, ds: date, name: str) -> tuple[str | None, date | None]:
    """The checkpoint to start from, the base's, the newest of an earlier day, or none; and the earlier day."""
    if name == DIVSPA and config.divspa.start == "base":
        return checkpoint_folder(lake.root, ds, config.model.name), None
    newest = None
    if config.training.start == "previous":
        newest = lake.newest_day_before(TRAINING_RUNS, ds, model=name)
    return None if newest is None else checkpoint_folder(lake.root, newest, name), newest


def given_since(lake: Lake, ds: date, earlier: date) -> dict[str, torch.Tensor]:
    """The indices that mean something else than on an earlier day, or are new, by field."""
    rows = lake.read_day(VOCABULARY, ds).where(F.col("since") > F.lit(earlier))
    found = rows.select("field", "index").toArrow()
    names, index = found["field"].to_numpy(), torch.from_numpy(found["index"].to_numpy().copy())
    return {str(name): index[torch.from_numpy(names == name)] for name in np.unique(names)}


def read_layout(lake: Lake, config: Config, ds: date) -> Layout:
    """The shape of the day's encoded data: fields in the configuration's order, sizes from the vocabulary."""
    sizes = lake.read_day(VOCABULARY, ds).groupBy("field").agg(F.max("index") + 1).collect()
    cardinality = dict(sizes)

    def slot(field: FeatureField) -> FieldSlot:
        size = cardinality.get(field.name, FIRST_INDEX)
        vector = isinstance(field, ColumnField) and field.kind == "vector"
        return FieldSlot(name=field.name, width=field.max_values, cardinality=size, vector=vector)

    return Layout(
        items=cardinality[ITEM_FIELD],
        history_length=lake.read_day(USER_FEATURES, ds).select(F.size("history")).first()[0],  # pyright: ignore[reportOptionalSubscript]
        user=tuple(map(slot, config.user_fields)),
        item=tuple(map(slot, config.item_fields)),
    )


def _publish_embeddings(lake: Lake, ds: date, name: str, checkpoint: Checkpoint, items: DataFrame) -> None:
    version = F.lit(checkpoint.version)
    item_rows = items.select("item_id", "item_index", "item_features")
    vectors = embed_items(item_rows, checkpoint).withColumn("model_version", version)
    lake.replace_day(ITEM_EMBEDDINGS, vectors, ds, unique=True, model=name)
    users = lake.read_day(USER_FEATURES, ds).select("as_of", "user_id", "user_key", "user_features", "history")
    vectors = embed_users(users, checkpoint).withColumn("model_version", version)
    lake.replace_day(USER_EMBEDDINGS, vectors, ds, unique=True, model=name)
