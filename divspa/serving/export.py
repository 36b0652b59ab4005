"""Stage `export_recall`: recall lists, a FAISS index with its id map, and the user tower."""

import io
from collections.abc import Iterable, Iterator
from datetime import date

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from divspa.config import Config
from divspa.lake.allowed import allowed_items
from divspa.lake.tables import Lake
from divspa.models.checkpoint import DIVSPA, Checkpoint, checkpoint_folder
from divspa.models.two_tower import TwoTowerModule
from divspa.retrieval import search
from divspa.storage import write_file
from schemas import ITEM_EMBEDDINGS, RECALL_I2I, RECALL_U2I, USER_EMBEDDINGS, USER_FEATURES


def export_recall(lake: Lake, config: Config, ds: date) -> None:
    """Write recall_u2i, recall_i2i and, in `serving/ds=DAY`, items.faiss, item_ids.parquet and user_tower.pt2.

    Lists are of the day's end: histories and clicked items hold the clicks after the cutoff too. What lists and index
    offer are items that meet `recall.allowed`.
    """
    items = lake.read_day(ITEM_EMBEDDINGS, ds, model=DIVSPA)
    allowed = allowed_items(items, config.recall.allowed, config.items, ds, "recall.allowed")
    every, index = (of.select(F.col("item_index").cast("bigint").alias("id"), "vector") for of in (items, allowed))
    version = F.lit(items.select("model_version").first()[0])  # pyright: ignore[reportOptionalSubscript]
    clicked = lake.read_day(USER_FEATURES, ds, as_of="latest").select("user_key", F.col("clicked").alias("exclude"))
    users = lake.read_day(USER_EMBEDDINGS, ds, model=DIVSPA, as_of="latest").join(clicked, "user_key")
    queries = users.select(F.col("user_key").alias("id"), "vector", "exclude")
    names = users.select("user_id", F.col("user_key").alias("id"))
    u2i, report = search(queries, index, config.recall.items_per_user)
    made = {"model_version": version, "search_recall": F.lit(report.recall)}
    lake.replace_day(RECALL_U2I, with_item_names(u2i.join(names, "id"), items).withColumns(made), ds)
    i2i, report = search(every, index, config.recall.items_per_item, exclude_self=True)
    made["search_recall"] = F.lit(report.recall)
    i2i = i2i.join(items.select("item_id", F.col("item_index").cast("bigint").alias("id")), "id")
    lake.replace_day(RECALL_I2I, with_item_names(i2i, items).withColumns(made), ds)
    write_serving_files(
        f"{lake.root}/serving/ds={ds}", allowed, Checkpoint.load(checkpoint_folder(lake.root, ds, DIVSPA))
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


def write_serving_files(folder: str, items: DataFrame, checkpoint: Checkpoint) -> None:
    """Write what an online service loads: no divspa, Spark or pickle is needed to read it."""
    rows = items.orderBy("item_index").select("item_index", "item_id", "vector").toPandas()
    index = faiss.IndexIDMap2(faiss.IndexFlatIP(len(rows["vector"].iloc[0])))
    index.add_with_ids(np.stack(list(rows["vector"])), rows["item_index"].to_numpy(np.int64))
    id_map = io.BytesIO()
    pq.write_table(pa.table({"item_index": rows["item_index"], "item_id": rows["item_id"]}), id_map)
    files = {
        "items.faiss": faiss.serialize_index(index).tobytes(),
        "item_ids.parquet": id_map.getvalue(),
        "user_tower.pt2": export_user_tower(checkpoint.restore()),
    }
    for name, content in files.items():
        write_file(f"{folder}/{name}", content)


class _UserTower(torch.nn.Module):
    def __init__(self, model: TwoTowerModule) -> None:
        super().__init__()
        self.model = model

    def forward(self, user_features: torch.Tensor, history: torch.Tensor) -> torch.Tensor:
        return self.model.encode_users(user_features, history)


def export_user_tower(model: TwoTowerModule) -> bytes:
    """The user tower as a torch.export archive: (user_features [B, F], history [B, L]) int32 -> vectors [B, D]."""
    width = sum(field.width for field in model.layout.user)
    example = (torch.ones(2, width, dtype=torch.int32), torch.zeros(2, model.layout.history_length, dtype=torch.int32))
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(_UserTower(model), example, dynamic_shapes=({0: batch}, {0: batch}))
    archive = io.BytesIO()
    torch.export.save(program, archive)
    return archive.getvalue()
