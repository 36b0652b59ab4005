"""What a bundle holds, gathered from the tables of a day."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from importlib.metadata import version
from typing import Any

import faiss
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from divspa.arrow import matrix
from divspa.config import Config
from divspa.features.settings import ColumnField, places
from divspa.lake.tables import Lake
from divspa.models.checkpoint import Checkpoint
from divspa.schemas import ITEM_FEATURES, VOCABULARY
from divspa.schemas.vocabulary import ITEM_FIELD
from divspa.serving.bundle import CATALOGUE, INDEX, ITEM_IDS, USER_TOWER, USER_TOWER_ONNX, Bundle, parquet
from divspa.serving.encoder import USER_ID, FieldRule, Request, Rules, SequenceRule
from divspa.serving.index import MEASURED_AT, build_index
from divspa.serving.new_items import new_items
from divspa.serving.recall import Recall
from divspa.serving.settings import NEW
from divspa.serving.tower import export_onnx, export_user_tower
from divspa.sources.allowed import allowed_items

# The recall of an index is measured over so many users, and an example shows so many items.
MEASURED_ON, SHOWN = 1000, 10
MADE_WITH = ("divspa", "faiss-cpu", "numpy", "pyarrow", "torch")


def pack(lake: Lake, config: Config, ds: date, checkpoint: Checkpoint, allowed: DataFrame, users: DataFrame) -> Bundle:
    """The bundle of a day: the items of `allowed` (with their vectors), and how a user becomes a vector.

    `users` have vectors, of which some measure the recall of an index that is not exact. What is gathered on the driver
    is the catalogue and the vocabulary of the users' fields.
    """
    items = allowed.orderBy("item_index").select("item_index", "item_id", "vector").toArrow().combine_chunks()
    index, vectors = items["item_index"].to_numpy(), matrix(items["vector"].chunk(0))
    sample = users.orderBy(F.xxhash64("user_key")).limit(MEASURED_ON).select("vector").toArrow().combine_chunks()
    queries = matrix(sample["vector"].chunk(0)) if sample.num_rows else vectors[:0]
    settings = config.recall
    built = build_index(index, vectors, queries, settings.exact_items, settings.index_recall, config.seed)
    catalogue = lake.read_day(ITEM_FEATURES, ds)
    model = checkpoint.restore()
    rules, vocabulary = _rules(lake, config, ds, checkpoint), _vocabulary(lake, config, ds)
    lists = {
        name: (condition, allowed_items(allowed, condition, config.items, ds, f"recall.lists.{name}"))
        for name, condition in settings.lists.items()
    }
    if settings.new_items:
        told = f"fewer than {settings.new_clicks} clicks in training"
        lists[NEW] = told, new_items(lake, ds, allowed, settings.new_clicks)
    files = {_list_file(name): parquet(_sorted(chosen.select("item_index"))) for name, (_, chosen) in lists.items()}
    files |= {
        INDEX: faiss.serialize_index(built.index).tobytes(),
        ITEM_IDS: parquet({"item_index": items["item_index"], "item_id": items["item_id"]}),
        CATALOGUE: parquet(_sorted(catalogue.select("item_index", "item_id", "popularity"))),
        USER_TOWER: export_user_tower(model),
    }
    if settings.onnx:
        files[USER_TOWER_ONNX] = export_onnx(model)
    files |= {str(rule.file): _codes_file(vocabulary[rule.name], rule.name) for rule in rules.fields if rule.file}
    files |= {each.file: _item_codes(catalogue, config, each.of) for each in rules.sequences if each.file}
    said = {
        "ds": ds.isoformat(),
        "model": {"name": checkpoint.model.name, "version": checkpoint.version},
        "vectors": {"dim": vectors.shape[1], "score": "inner product"},
        "index": {
            "items": len(index),
            "exact_items": settings.exact_items,
            "clusters": built.clusters,
            "probes": built.probes,
            "recall": built.recall,
            "recall_at": MEASURED_AT,
            "measured_on": len(queries) if built.clusters else 0,
        },
        "request": asdict(rules),
        "allowed": {name: {"file": _list_file(name), "condition": told} for name, (told, _) in lists.items()},
        "made_with": {name: version(name) for name in MADE_WITH},
    }
    bundle = Bundle.of(said, files)
    return bundle.with_example(_example(bundle, rules, vocabulary))


def _rules(lake: Lake, config: Config, ds: date, checkpoint: Checkpoint) -> Rules:
    numeric = [field.name for field in config.user_columns if field.kind == "numeric"]
    rows = lake.read_day(VOCABULARY, ds).where(F.col("field").isin(numeric)).orderBy("field", "index").collect()
    bounds = {name: tuple(float(row["value"]) for row in rows if row["field"] == name)[1:] for name in numeric}
    fields = tuple(_field_rule(place, field, config, bounds) for place, field in enumerate(config.user_columns))
    sequences = tuple(
        SequenceRule(each.name, each.max_values, each.of, None if each.of == ITEM_FIELD else _file(place, each.name))
        for place, each in enumerate(config.features.sequences, len(fields))
    )
    nulls = _spelled(config.clicks.null_values)
    return Rules(fields, sequences, checkpoint.layout.history_length, nulls, config.clicks.time_unit)


def _field_rule(place: int, field: ColumnField, config: Config, bounds: Mapping[str, tuple[float, ...]]) -> FieldRule:
    # A user's own id is read as the click log has it.
    source = config.clicks if field.name == USER_ID or config.users is None else config.users
    return FieldRule(
        name=field.name,
        kind=field.kind,
        width=field.max_values,
        column=config.clicks.user if field.name == USER_ID else field.column,
        delimiter=field.delimiter,
        null_values=_spelled(source.null_values),
        decimal=str(source.options.get("decimal", ".")),
        buckets=field.hash_buckets,
        bounds=bounds.get(field.name),
        file=_file(place, field.name) if field.has_vocabulary else None,
    )


def _file(place: int, name: str) -> str:
    """A field's file: fields may have any name."""
    return f"fields/{place:02}_{re.sub('[^A-Za-z0-9_]', '_', name)}.parquet"


def _list_file(name: str) -> str:
    """The file of a list that a request may name."""
    return f"allowed/{name}.parquet"


def _spelled(null_values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(spelling.strip().lower() for spelling in null_values)


def _vocabulary(lake: Lake, config: Config, ds: date) -> dict[str, pa.Table]:
    """value, hash, index, count of each field of a user that has a vocabulary, in the order of the hashes."""
    names = [field.name for field in config.user_columns if field.has_vocabulary]
    rows = lake.read_day(VOCABULARY, ds).where(F.col("field").isin(names))
    table = rows.select("field", "value", F.xxhash64("value").alias("hash"), "index", "count").toArrow()
    by_field = table.sort_by([("field", "ascending"), ("hash", "ascending")]).combine_chunks()
    field_R = by_field["field"].to_numpy()
    return {name: by_field.filter(pa.array(field_R == name)).drop(["field"]) for name in names}


def _codes_file(rows: pa.Table, name: str) -> bytes:
    """The vocabulary of a field; of users' own ids their hashes alone, so that no bundle names a person."""
    kept = ("hash", "index") if name == USER_ID else ("value", "hash", "index")
    return parquet({column: rows[column] for column in kept})


def _item_codes(catalogue: DataFrame, config: Config, field: str) -> bytes:
    """item_index, codes: what the items have in one of their fields."""
    place = places(config.item_fields)[field]
    codes = F.slice("item_features", place.start + 1, len(place)).alias("codes")
    return parquet(_sorted(catalogue.select("item_index", codes)))


def _sorted(rows: DataFrame) -> dict[str, Any]:
    table = rows.orderBy("item_index").toArrow().combine_chunks()
    return {name: table[name] for name in table.column_names}


def _example(bundle: Bundle, rules: Rules, vocabulary: Mapping[str, pa.Table]) -> dict[str, Any]:
    """A request of nobody, with the most frequent values and items, and its answer."""
    catalogue = bundle.table(CATALOGUE).sort_by([("popularity", "descending"), ("item_index", "ascending")])
    fields = {rule.name: _usual(rule, vocabulary.get(rule.name)) for rule in rules.fields if rule.name != USER_ID}
    clicks = catalogue["item_id"].slice(0, 3).to_pylist()
    recall = Recall(bundle)
    found = recall.candidates(fields, clicks, SHOWN)
    return {
        "request": {"fields": fields, "clicks": clicks, "k": SHOWN},
        "vector": recall.vectors([Request(fields, clicks)])[0].tolist(),
        "answer": {"item_ids": found.item_ids, "scores": found.scores},
    }


def _usual(rule: FieldRule, values: pa.Table | None) -> object:
    if rule.bounds is not None:
        return rule.bounds[0] if rule.bounds else 0.0
    if rule.kind == "vector":
        return [1.0] * rule.width
    if values is None or not len(values):
        return "example"
    most = values.sort_by([("count", "descending"), ("value", "ascending")])["value"].slice(0, 2).to_pylist()
    if not rule.several:
        return most[0]
    return rule.delimiter.join(most) if rule.delimiter else most
