"""Stages `train_base` and `train_divspa`: Delta in, a checkpoint and embeddings out."""

from collections.abc import Callable, Iterator
from datetime import date

import numpy as np
import torch
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from divspa.config import Config, FeatureField
from divspa.data.batches import Batch, read_batches
from divspa.lake.tables import Lake
from divspa.models.checkpoint import DIVSPA, Checkpoint, checkpoint_folder
from divspa.models.layout import FieldSlot, Layout
from divspa.models.registry import build_model
from divspa.progress import step
from divspa.training.embed import embed_items, embed_users
from divspa.training.loop import Progress, train
from schemas import (
    AUGMENTED_POSITIVES,
    EXAMPLES,
    ITEM_EMBEDDINGS,
    ITEM_FEATURES,
    TRAINING_RUNS,
    USER_EMBEDDINGS,
    USER_FEATURES,
    VOCABULARY,
)
from schemas.contract import Table
from schemas.vocabulary import FIRST_INDEX, ITEM_FIELD


def train_base(lake: Lake, config: Config, ds: date) -> None:
    """Train the base model on the day's training examples (Eq. 1), and write its checkpoint and embeddings."""
    version = lake.version(EXAMPLES)
    files = lake.files(EXAMPLES, ds, version, split="train")
    rows = lake.read_day(EXAMPLES, ds, version, split="train").count()

    def epoch_batches(epoch: int) -> Iterator[Batch]:
        return read_batches(files, config.training.batch_size, augmented=False, seed=config.seed + epoch)

    _train_and_publish(lake, config, ds, config.model.name, rows, epoch_batches, beta=0.0, reads=EXAMPLES)


def train_divspa(lake: Lake, config: Config, ds: date) -> None:
    """Train again on the augmented positives with the mix-up loss (Eq. 3), and write checkpoint and embeddings."""
    version = lake.version(AUGMENTED_POSITIVES)
    draws = lake.read_day(AUGMENTED_POSITIVES, ds, version).agg(F.max("draw") + 1).first()[0]  # pyright: ignore[reportOptionalSubscript]
    files = [lake.files(AUGMENTED_POSITIVES, ds, version, draw=draw) for draw in range(draws)]
    rows = lake.read_day(AUGMENTED_POSITIVES, ds, version, draw=0).count()

    def epoch_batches(epoch: int) -> Iterator[Batch]:
        return read_batches(files[epoch % draws], config.training.batch_size, augmented=True, seed=config.seed + epoch)

    beta = config.divspa.beta
    _train_and_publish(lake, config, ds, DIVSPA, rows, epoch_batches, beta, reads=AUGMENTED_POSITIVES)


def _train_and_publish(
    lake: Lake,
    config: Config,
    ds: date,
    name: str,
    rows: int,
    epoch_batches: Callable[[int], Iterator[Batch]],
    beta: float,
    reads: Table,
) -> None:
    versions = {table.name: lake.version(table) for table in (reads, ITEM_FEATURES, USER_FEATURES, VOCABULARY)}
    torch.manual_seed(config.seed)
    if config.training.threads:
        torch.set_num_threads(config.training.threads)
    items = lake.read_day(ITEM_FEATURES, ds)
    if name == DIVSPA and config.divspa.start == "base":
        model = Checkpoint.load(checkpoint_folder(lake.root, ds, config.model.name)).restore().requires_grad_(True)
    else:
        model = build_model(config.model, read_layout(lake, config, ds))
    features_VF = _item_features(items, model.layout)
    with step(f"training {name}", config.training.epochs * rows) as advance:

        def report(examples: int, loss: float) -> None:
            advance(examples, f"loss {loss:.3f}")

        progress = train(model, features_VF, epoch_batches, config.training, beta, config.seed, report)
    checkpoint = Checkpoint.of(config.model, model)
    checkpoint.save(checkpoint_folder(lake.root, ds, name))
    _publish_embeddings(lake, ds, name, checkpoint, items)
    run = _training_run(lake, config, ds, name, checkpoint, versions, progress)
    lake.replace_day(TRAINING_RUNS, run, ds, model=name)


def read_layout(lake: Lake, config: Config, ds: date) -> Layout:
    """The shape of the day's encoded data: fields in the configuration's order, sizes from the vocabulary."""
    sizes = lake.read_day(VOCABULARY, ds).groupBy("field").agg(F.max("index") + 1).collect()
    cardinality = dict(sizes)

    def slot(field: FeatureField) -> FieldSlot:
        width = 1 if field.name == "user_id" else field.max_values
        return FieldSlot(name=field.name, width=width, cardinality=cardinality.get(field.name, FIRST_INDEX))

    return Layout(
        items=cardinality[ITEM_FIELD],
        history_length=config.features.history_length,
        user=tuple(map(slot, config.user_fields)),
        item=tuple(map(slot, config.item_fields)),
    )


def _item_features(items: DataFrame, layout: Layout) -> torch.Tensor:
    """Encoded item fields by item index [V, F]; padding and unknown have none."""
    rows = items.select("item_index", "item_features").toPandas()
    features_VF = torch.zeros(layout.items, sum(field.width for field in layout.item), dtype=torch.int32)
    features_VF[rows["item_index"].to_numpy()] = torch.from_numpy(
        np.stack(list(rows["item_features"])).astype(np.int32)
    )
    return features_VF


def _publish_embeddings(lake: Lake, ds: date, name: str, checkpoint: Checkpoint, items: DataFrame) -> None:
    version = F.lit(checkpoint.version)
    item_rows = items.select("item_id", "item_index", "item_features")
    vectors = embed_items(item_rows, checkpoint).withColumn("model_version", version)
    lake.replace_day(ITEM_EMBEDDINGS, vectors, ds, model=name)
    for as_of in ("cutoff", "latest"):
        users = lake.read_day(USER_FEATURES, ds, as_of=as_of).select("user_id", "user_key", "user_features", "history")
        vectors = embed_users(users, checkpoint).withColumn("model_version", version)
        lake.replace_day(USER_EMBEDDINGS, vectors, ds, model=name, as_of=as_of)


def _training_run(
    lake: Lake,
    config: Config,
    ds: date,
    name: str,
    checkpoint: Checkpoint,
    versions: dict[str, int],
    progress: Progress,
) -> DataFrame:
    columns = "model_version string, checkpoint string, settings string, versions map<string, bigint>, "
    columns += "losses array<double>, examples bigint, seconds double"
    folder = checkpoint_folder(lake.root, ds, name).removeprefix(lake.root + "/")
    row = (
        checkpoint.version,
        folder,
        config.model_dump_json(),
        versions,
        progress.losses,
        progress.examples,
        progress.seconds,
    )
    return lake.spark.createDataFrame([row], columns)
