"""Stage `export_recall`: lists for users, items and segments of users, and the bundle that a service loads."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import date

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from divspa.config import Config
from divspa.errors import ContractError
from divspa.lake.refitted import served_from
from divspa.lake.tables import Lake
from divspa.linear.recommend import Weights, recommend
from divspa.linear.train import LINEAR
from divspa.models.checkpoint import Checkpoint, checkpoint_folder
from divspa.publishing.channels import Channel
from divspa.retrieval import search
from divspa.schemas import (
    ITEM_EMBEDDINGS,
    ITEM_NEIGHBOURS,
    RECALL_FALLBACK,
    RECALL_I2I,
    RECALL_U2I,
    TRAINING_RUNS,
    USER_EMBEDDINGS,
    USER_FEATURES,
    VOCABULARY,
)
from divspa.serving.fallback import fallback_lists, with_values
from divspa.serving.new_items import new_items, with_new_items
from divspa.serving.pack import pack
from divspa.serving.user_lists import Published, of_indices, user_lists
from divspa.sources.allowed import allowed_items


def export_recall(lake: Lake, config: Config, ds: date) -> None:
    """Write recall_u2i, recall_i2i, recall_fallback and, in `serving/ds=DAY/VERSION`, the bundle for `Recall`.

    With `publishing.refit` models, items and users are those of the stage `refit`, which has learned from all clicks.
    Lists are of the day's end: histories and clicked items hold the clicks after the cutoff too. What lists and index
    offer are items that meet `recall.allowed`. The lists of users are of the channel that `evaluate` chose; those of
    items, and the serving files, of its model with vectors, or the best such; items have lists of the linear model,
    too. Raises ContractError when embeddings and checkpoint are of two models, and GateError for a day that is held
    back.
    """
    published, source = Published.of(lake, ds), served_from(lake, ds, refit=config.publishing.refit)
    items = source.read_day(ITEM_EMBEDDINGS, ds, model=published.tower)
    allowed = allowed_items(items, config.recall.allowed, config.items, ds, "recall.allowed")
    checkpoint = Checkpoint.load(checkpoint_folder(source.root, ds, published.tower))
    require_same_model(items, checkpoint)
    settings = config.recall
    lists, recall = user_lists(source, ds, published.channel, allowed, settings.items_per_user, config.fusion_depth)
    if settings.new_items:
        new = new_items(source, ds, allowed, settings.new_clicks)
        lists = with_new_items(source, ds, published, lists, new, settings.items_per_user, settings.new_items)
    names = source.read_day(USER_FEATURES, ds, as_of="latest").select("user_id", F.col("user_key").alias("id"))
    version = version_of(source, ds, published.channel) if config.publishing.refit else published.version
    made = {"channel": published.channel.name, "model_version": version, "search_recall": recall}
    made = {name: F.lit(value) for name, value in made.items()}
    lake.replace_day(RECALL_U2I, with_item_names(lists.join(names, "id"), items).withColumns(made), ds, unique=True)
    i2i = nearest_items(items, allowed, config.recall.items_per_item, published.tower)
    linear = [each for each in (source, lake) if each.exists(ITEM_NEIGHBOURS)]
    if linear:
        neighbours = linear[0].read_day(ITEM_NEIGHBOURS, ds)
        i2i = i2i.unionByName(linear_items(neighbours, allowed, config.recall.items_per_item))
    lake.replace_day(RECALL_I2I, with_item_names(i2i, items), ds, unique=True)
    with ExitStack() as till_written:
        people = source.read_day(USER_FEATURES, ds, as_of="latest")
        people = with_values(people, config.user_columns, config.recall.segments, source.read_day(VOCABULARY, ds))
        lists = fallback_lists(till_written, people, allowed, config.recall)
        lake.replace_day(RECALL_FALLBACK, lists, ds, unique=True)
    users = source.read_day(USER_EMBEDDINGS, ds, model=published.tower, as_of="latest")
    pack(source, config, ds, checkpoint, allowed, users).write(f"{lake.root}/serving/ds={ds}")


def nearest_items(items: DataFrame, allowed: DataFrame, k: int, model: str) -> DataFrame:
    """The k of `allowed` nearest to each item by a model's vectors: rows of recall_i2i, with `ids` yet to be named."""
    every, index = (of.select(F.col("item_index").cast("bigint").alias("id"), "vector") for of in (items, allowed))
    found, report = search(every, index, k, exclude_self=True)
    return _of_model(of_indices(found), items, model, report.recall)


def linear_items(neighbours: DataFrame, allowed: DataFrame, k: int) -> DataFrame:
    """The k of `allowed` that a click on an item speaks for most, as `nearest_items`; some items speak for none."""
    asked = neighbours.select(F.col("item_index").cast("bigint").alias("id"), F.array("item_index").alias("clicked"))
    lists = recommend(asked, Weights.read(neighbours, allowed=allowed), k).where(F.size("ids") > 0)
    return _of_model(lists, neighbours, LINEAR, 1.0)


def _of_model(lists: DataFrame, items: DataFrame, model: str, recall: float) -> DataFrame:
    named = items.select(F.col("item_index").cast("bigint").alias("id"), "item_id", "model_version")
    return lists.join(named, "id").withColumns({"channel": F.lit(model), "search_recall": F.lit(recall)})


def version_of(source: Lake, ds: date, channel: Channel) -> str:
    """The version of a channel's models, as they were trained last in a lake."""
    runs = source.read_day(TRAINING_RUNS, ds).where(F.col("model").isin(*channel.models))
    return channel.version(dict(runs.select("model", "model_version").collect()))


def require_same_model(items: DataFrame, checkpoint: Checkpoint) -> None:
    """Raise ContractError when the embeddings are not the checkpoint's, as after a training cut short."""
    embedded = items.select("model_version").first()[0]  # pyright: ignore[reportOptionalSubscript]
    if embedded != checkpoint.version:
        raise ContractError(
            "The embeddings and the checkpoint are of different models",
            expected=f"model_version {checkpoint.version}",
            found=embedded,
            remedy="run `train_divspa` of this day again",
        )


def with_item_names(lists: DataFrame, items: DataFrame) -> DataFrame:
    """Add item_ids, the log's names of `ids`; the names of the catalogue are broadcast."""
    rows = items.select("item_index", "item_id").toPandas().set_index("item_index")["item_id"]
    names = pa.array(rows.reindex(range(int(np.max(rows.index)) + 1), fill_value=""), pa.string())
    shared = lists.sparkSession.sparkContext.broadcast(names)
    schema = T.StructType([*lists.schema.fields, T.StructField("item_ids", T.ArrayType(T.StringType()))])

    def name_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            ids = batch.column("ids")
            offsets = pa.array(np.r_[0, np.cumsum(ids.value_lengths().to_numpy())].astype(np.int32))
            named = pa.ListArray.from_arrays(offsets, shared.value.take(ids.flatten()))
            yield pa.RecordBatch.from_arrays([*batch.columns, named], [*batch.schema.names, "item_ids"])

    return lists.mapInArrow(name_batches, schema)
