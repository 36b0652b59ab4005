"""The serving bundle against the batch job, over every kind of field, on a lake that real stages wrote."""

import json
import random
import shutil
import subprocess
import sys
import threading
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from divspa.config import Config
from divspa.encoding.hashing import xxhash64
from divspa.encoding.texts import plain_number, plain_text, plain_texts
from divspa.errors import DamagedError, InputError, MissingTableError
from divspa.features.build import build_features
from divspa.lake.tables import Lake
from divspa.models.checkpoint import DIVSPA, Checkpoint, checkpoint_folder
from divspa.models.registry import build_model, with_all_settings
from divspa.schemas import (
    CHANNELS,
    ITEM_EMBEDDINGS,
    ITEM_FEATURES,
    RECALL_FALLBACK,
    RECALL_U2I,
    USER_EMBEDDINGS,
    USER_FEATURES,
)
from divspa.serving import Recall, Request, Served
from divspa.serving.export import export_recall
from divspa.serving.new_items import new_items, with_new_items
from divspa.serving.pack import pack
from divspa.serving.user_lists import Published, user_lists
from divspa.sources import values
from divspa.training.embed import embed_items, embed_users
from divspa.training.stages import read_layout

DAY, BEGIN = date(2024, 1, 10), datetime(2024, 1, 1, tzinfo=UTC)
USERS, ITEMS = 60, 40
NULLS = ("null", "nan", "none", "\\n")


def written(folder: Path) -> Config:
    """A log with every kind of user field, baskets, and clicks after the cutoff on items that training never saw."""
    draw = random.Random(5)
    clicks = []
    for user in range(USERS):
        for basket in range(draw.randint(0, 5)):
            at = BEGIN + timedelta(hours=draw.randint(0, 200), milliseconds=basket)
            clicks += [(f"u{user}", draw.choice([f"i{draw.randint(0, ITEMS)}", "new"]), at) for _ in range(3)]
    clicks = [(user, item if at.day > 8 or item != "new" else "i0", at) for user, item, at in clicks]
    users = [
        {
            "user": f"u{n}",
            "plan": draw.choice(["free", "paid ", None, "NULL", "rare" if n == 7 else "free"]),
            "band": draw.choice([1.0, 2.0, 2.5, None]),
            "age": draw.choice([None, 17.0, 30.5, 64.0, 99.0]),
            "spent": draw.choice([None, 0.0, 5.0, 10.0, 1e9]),
            "tags": draw.choice([["a", "b"], ["b", " c ", "b"], [], None, ["never", "c"]]),
            "words": draw.choice(["x|y", "y|z|x", "", None, "|z"]),
            "listed": draw.choice(['["p", "q"]', "q", "[1, 2.0]", None]),
            "city": draw.choice(["Köln", "Paris", "a town with quite a long name, longer than a stripe", None]),
            "joined": draw.choice([date(2023, 1, 5), date(2023, 2, 6), None]),
            "taste": draw.choice([[0.5, -2.0, 1.0], [1e-3, 0.0, 4.0], [0.0, 0.0, 0.0], None]),
            "written": draw.choice(["[1, 2.5]", " [-1, 3]", "null", "", None]),
        }
        for n in range(USERS - 3)  # of three users nothing is known
    ]
    items = [
        (f"i{n}", f"k{n % 4}" if n % 5 else None, [f"t{n % 3}", f"t{n % 7}"], n % 2 == 0, [n / 9, 1.0])
        for n in range(ITEMS + 1)
    ]
    pd.DataFrame(clicks, columns=["user", "item", "time"]).to_parquet(folder / "clicks.parquet", coerce_timestamps="us")
    pq.write_table(pa.Table.from_pylist(users), folder / "users.parquet")
    pd.DataFrame(items, columns=["item", "kind", "tags", "stocked", "look"]).to_parquet(folder / "items.parquet")
    fields = [
        {"name": "plan", "min_count": 2},
        "band",
        {"name": "age", "kind": "numeric", "quantiles": 3},
        {"name": "spent", "kind": "numeric", "bounds": [0, 10]},
        {"name": "tags", "kind": "multi", "max_values": 2},
        {"name": "words", "kind": "multi", "max_values": 2, "delimiter": "|"},
        {"name": "listed", "kind": "multi", "max_values": 2},
        {"name": "city", "hash_buckets": 5},
        {"name": "shouted", "column": "upper(city)"},
        "joined",
        {"name": "taste", "kind": "vector", "size": 3},
        {"name": "written", "kind": "vector", "size": 2},
    ]
    return Config.model_validate(
        {
            "lake": str(folder / "lake"),
            "clicks": {"path": str(folder / "clicks.parquet"), "user": "user", "item": "item", "time": "time"},
            "users": {"path": str(folder / "users.parquet"), "id": "user", "fields": fields},
            "items": {
                "path": str(folder / "items.parquet"),
                "id": "item",
                "fields": [
                    "kind",
                    {"name": "tags_of", "column": "tags", "kind": "multi", "max_values": 2},
                    {"name": "look", "kind": "vector", "size": 2},
                ],
            },
            "split": {"by": "time", "at": (BEGIN + timedelta(days=7)).isoformat(), "validation_events": 0},
            "features": {
                "history_length": 4,
                "embed_user_id": True,
                "sequences": [
                    {"name": "kinds", "of": "kind", "max_values": 3},
                    {"name": "past_tags", "of": "tags_of", "max_values": 5},
                    {"name": "past_items", "of": "item_id", "max_values": 2},
                ],
                "gates": {"max_refused_share": None, "min_matched_items": None},
            },
            "recall": {
                "items_per_user": 10,
                "items_per_item": 5,
                "lists": {"stocked": "stocked", "one": "item = 'i3'"},
                "segments": ["plan", "shouted"],
                "segment_users": 4,
            },
        }
    )


def model_of(lake: Lake, config: Config, seed: int) -> tuple[Checkpoint, DataFrame, DataFrame]:
    """A model as it begins, with layers that say something, and its items and users: no training is needed."""
    torch.manual_seed(seed)
    described = with_all_settings(config.model)
    model = build_model(described, read_layout(lake, config, DAY))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    checkpoint = Checkpoint.of(described, model)
    items = lake.read_day(ITEM_FEATURES, DAY).select("item_id", "item_index", "item_features")
    users = lake.read_day(USER_FEATURES, DAY).select("as_of", "user_id", "user_key", "user_features", "history")
    version = F.lit(checkpoint.version)
    embedded = (embed_items(items, checkpoint), embed_users(users, checkpoint).where("as_of = 'latest'"))
    return checkpoint, *(rows.withColumn("model_version", version) for rows in embedded)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("serving")


@pytest.fixture(scope="module")
def config(folder) -> Config:
    return written(folder)


@pytest.fixture(scope="module")
def lake(spark, config) -> Lake:
    lake = Lake(spark, config.lake)
    build_features(lake, config, DAY)
    checkpoint, items, users = model_of(lake, config, 1)
    checkpoint.save(checkpoint_folder(lake.root, DAY, DIVSPA))
    lake.replace_day(ITEM_EMBEDDINGS, items, DAY, model=DIVSPA)
    lake.replace_day(USER_EMBEDDINGS, users, DAY, model=DIVSPA)
    best = ("divspa", ["divspa"], [1.0], "v", "ndcg@200", 0.1, 10, "hr@50", 0.1, True, "best on held-out clicks")
    lake.replace_day_with(CHANNELS, [best], DAY)
    export_recall(lake, config, DAY)
    return lake


@pytest.fixture(scope="module")
def day(lake) -> str:
    return f"{lake.root}/serving/ds={DAY}"


def bundle_of(day: str) -> Path:
    """The folder of the newest bundle."""
    return Path(day) / json.loads((Path(day) / "newest.json").read_text())["version"]


@pytest.fixture(scope="module")
def recall(day) -> Recall:
    return Recall.load(day)


@pytest.fixture(scope="module")
def requests(lake, folder) -> dict[str, Request]:
    """A request for every user, from the files that the features were made of."""
    clicks = pd.read_parquet(folder / "clicks.parquet").groupby("user")
    rows = {row.pop("user"): row for row in pq.read_table(folder / "users.parquet").to_pylist()}
    made = {}
    for (user,) in lake.read_day(USER_FEATURES, DAY, as_of="latest").select("user_id").collect():
        fields = {"user_id": user, **rows.get(user, {})}
        fields["shouted"] = fields["city"].upper() if fields.get("city") else None
        own = clicks.get_group(user)
        made[user] = Request(fields, list(zip(own["item"], own["time"], strict=True)))
    return made


def test_a_users_raw_fields_and_clicks_become_the_vector_of_the_batch_job(lake, recall, requests) -> None:
    table = lake.read_day(USER_EMBEDDINGS, DAY, model=DIVSPA, as_of="latest").select("user_id", "vector").collect()
    batch = {row["user_id"]: row["vector"] for row in table}
    features = {
        row["user_id"]: (list(row["user_features"]), list(row["history"]))
        for row in lake.read_day(USER_FEATURES, DAY, as_of="latest").collect()
    }
    encoded, histories = recall.encoder.encode(list(requests.values()))
    served = recall.vectors(list(requests.values()))
    for n, user in enumerate(requests):
        assert (encoded[n].tolist(), histories[n].tolist()) == features[user], user
        assert served[n] == pytest.approx(batch[user], abs=1e-5), user
    # Nothing above is empty: every place of every field takes more than one value.
    assert all(len(np.unique(column)) > 1 for column in encoded.T)
    assert len(requests) > 40


def test_alone_a_user_has_the_same_vector_and_the_published_list(lake, recall, requests) -> None:
    lists = {row["user_id"]: row for row in lake.read_day(RECALL_U2I, DAY).collect()}
    together = recall.vectors(list(requests.values()))
    for n, (user, request) in enumerate(requests.items()):
        assert recall.vectors([request])[0] == pytest.approx(together[n], abs=1e-5)
        found = recall.candidates(request.fields, request.clicks, 10)
        assert found.scores == pytest.approx(lists[user]["scores"], abs=1e-5)
        assert set(found.item_ids[:8]) <= set(lists[user]["item_ids"])


def test_users_whom_nobody_knows_have_lists_by_segment(lake, folder) -> None:
    clicks = pd.read_parquet(folder / "clicks.parquet").drop_duplicates(["user", "item"])
    users = pd.read_parquet(folder / "users.parquet").set_index("user").reindex(clicks["user"].unique())
    plan = users["plan"].str.strip().where(~users["plan"].isin(["NULL", "rare"]))
    both = plan.notna() & users["city"].notna()
    segments = [pd.Series("{}", users.index), plan.dropna().map(lambda plan: f'{{"plan":"{plan}"}}')]
    segments += ['{"plan":"' + plan[both] + '","shouted":"' + users["city"].str.upper()[both] + '"}']
    of_all = clicks["item"].value_counts()
    lists = {row["segment"]: row for row in lake.read_day(RECALL_FALLBACK, DAY).collect()}
    wanted = {}
    for members in segments:
        for segment, own in members.groupby(members):
            if len(own) >= 4:
                wanted[segment] = len(own), clicks[clicks["user"].isin(own.index)]["item"].value_counts()
    assert {segment: row["users"] for segment, row in lists.items()} == {name: n for name, (n, _) in wanted.items()}
    assert {name.count(":") for name in lists} == {0, 1, 2}
    for segment, (size, counts) in wanted.items():
        ids, scores = lists[segment]["item_ids"], lists[segment]["scores"]
        own = [item for item in ids if item in counts]
        assert ids[: len(own)] == own and len(ids) == len(set(ids)) == 10
        assert [round(score * size) for score in scores[: len(own)]] == sorted(counts, reverse=True)[: len(own)]
        assert [round(score * size) for score in scores[: len(own)]] == [counts[item] for item in own]
        assert len(own) == min(10, len(counts)) and all(score == 0 for score in scores[len(own) :])
        assert sorted(of_all[ids[len(own) :]], reverse=True) == list(of_all[ids[len(own) :]])


def test_clicks_without_times_are_taken_as_they_come(recall, requests) -> None:
    request = next(each for each in requests.values() if len({time for _, time in each.clicks}) > 2)
    ordered = recall.encoder.clicked(request)
    plain = Request(request.fields, [recall.names.get(item, "new") for item in ordered])
    assert recall.vectors([plain])[0] == pytest.approx(recall.vectors([request])[0], abs=1e-6)
    with pytest.raises(InputError, match="Some clicks have a time and others none"):
        recall.candidates({}, ["i1", ("i2", BEGIN)])


def test_exclusions_and_lists_leave_k_items(recall) -> None:
    everything = recall.candidates({}, ["i1"], ITEMS + 10).item_ids
    assert len(everything) == ITEMS and "i1" not in everything
    kept = recall.candidates({}, ["i1"], 10, exclude=everything[:10], new_only=False).item_ids
    assert len(kept) == 10 and not set(kept) & set(everything[:10])
    stocked = recall.candidates({}, ["i1"], 10, exclude=everything[:5], allowed="stocked").item_ids
    even = [item for item in everything if int(item[1:]) % 2 == 0 and item not in everything[:5]]
    assert stocked == even[:10]
    assert recall.candidates({}, [], 10, allowed="one").item_ids == ["i3"]
    assert recall.candidates({}, ["i3"], 10, allowed="one").item_ids == []
    with pytest.raises(InputError, match=r"There is no list cheap\. Expected: stocked, one"):
        recall.candidates({}, [], 10, allowed="cheap")
    with pytest.raises(InputError, match="unknown fields: plam"):
        recall.candidates({"plam": "free"})


def test_the_manifest_shows_a_request_with_its_answer_and_names_nobody(day, recall) -> None:
    manifest = json.loads(next(Path(day).glob("*/manifest.json")).read_text())
    asked = manifest["example"]["request"]
    found = recall.candidates(asked["fields"], asked["clicks"], asked["k"])
    assert found.item_ids == manifest["example"]["answer"]["item_ids"]
    assert manifest["index"]["recall"] == 1.0 and manifest["index"]["items"] == ITEMS + 1
    assert found.version == manifest["version"] == bundle_of(day).name
    held = [pq.read_table(file).column_names for file in Path(day).glob("*/fields/*user_id.parquet")]
    assert held == [["hash", "index"]]


def test_a_bundle_that_is_not_whole_is_refused_by_the_name_of_its_file(day, tmp_path) -> None:
    with pytest.raises(MissingTableError, match="run `export_recall`"):
        Recall.load(str(tmp_path))
    copied = shutil.copytree(day, tmp_path / "day")
    (file,) = copied.glob("*/items.faiss")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DamagedError, match=r"items\.faiss is damaged"):
        Recall.load(str(copied))
    file.unlink()
    with pytest.raises(DamagedError, match=r"items\.faiss is damaged.*Found: none"):
        Recall.load(str(copied))
    (manifest,) = copied.glob("*/manifest.json")
    manifest.write_text(manifest.read_text()[:100])
    with pytest.raises(DamagedError, match="a manifest"):
        Recall.load(str(copied))


WITHOUT_SPARK = """
import sys, time
sys.modules.update(dict.fromkeys({blocked!r}))  # an import of these fails as if they were not there
began, cpu = time.perf_counter(), time.process_time()
from divspa.serving import Recall
print(time.perf_counter() - began, time.process_time() - cpu)
recall = Recall.load(sys.argv[1])
print(len(recall.candidates({{"plan": "free", "tags": ["a"], "age": 30}}, ["i1", "i2"], 7).item_ids))
"""


def test_it_needs_neither_spark_nor_petastorm_nor_pydantic_and_is_imported_at_once(day) -> None:
    blocked = {"pyspark", "delta", "petastorm", "pydantic", "scipy", "yaml", "rich", "typer", "safetensors"}
    code = WITHOUT_SPARK.format(blocked=blocked)
    done = subprocess.run([sys.executable, "-c", code, day], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    times, count = done.stdout.splitlines()
    _, cpu = map(float, times.split())
    assert cpu < 2, times  # of the processor: other work on the machine does not count
    assert count == "7"


def test_texts_are_written_in_a_request_as_spark_writes_them_in_a_log(spark) -> None:
    texts = [" a ", "", "NULL", "\\N", "\ufeffx", "é", '[1, 2.0, "b"]', "[]", "[broken", "a|b||c", "0042", "None "]
    doubles = [53.0, 53.5, -0.0, 1e-5, 2.5e-7, 1234567.25, 12345678.5, 1e20, 0.001, float("nan"), float("inf"), None]
    decimals = [Decimal("53.00"), Decimal("5.10"), Decimal("0.00"), Decimal("-1.25"), None]
    moments = [datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2024, 1, 2, 3, 4, 5, 120000, tzinfo=UTC), None]
    columns = [
        (T.StringType(), texts),
        (T.DoubleType(), doubles),
        (T.DecimalType(20, 2), decimals),
        (T.TimestampType(), moments),
        (T.DateType(), [date(2024, 2, 3), None]),
        (T.LongType(), [7, -3, None]),
        (T.BooleanType(), [True, False, None]),
    ]
    for kind, given in columns:
        schema = T.StructType([T.StructField("n", T.IntegerType()), T.StructField("v", kind)])
        text = values.plain_text(F.col("v"), kind, NULLS, "v").alias("text")
        lists = {
            f"by {by}": F.array_distinct(values.plain_texts(F.col("v"), kind, by, NULLS, "v")) for by in (None, "|")
        }
        rows = spark.createDataFrame(list(enumerate(given)), schema).orderBy("n")
        for row, each in zip(rows.select(text, *(v.alias(n) for n, v in lists.items())).collect(), given, strict=True):
            assert plain_text(each, NULLS, "v") == row["text"], (kind, each)
            for by in (None, "|") if each is not None else ():
                assert plain_texts(each, by, NULLS, "v") == (row[f"by {by}"] or []), (by, each)
    written_numbers = ["1.5", " 2 ", "1,5", "x", "", "1e3", "NaN", "1_000", "-Infinity", None]
    rows = spark.createDataFrame([(n, each) for n, each in enumerate(written_numbers)], "n int, v string")
    for decimal in (".", ","):
        number = values.number(F.col("v"), T.StringType(), decimal, "v")
        found = [row["x"] for row in rows.select("n", number.alias("x")).orderBy("n").collect()]
        assert [plain_number(each, decimal, "v") for each in written_numbers] == found


def test_a_hash_is_sparks_whatever_the_length(spark) -> None:
    texts = ["ü" * n for n in range(40)]
    rows = spark.createDataFrame([(n, each) for n, each in enumerate(texts)], "n bigint, v string")
    found = rows.select("v", F.xxhash64("v").alias("one"), F.xxhash64("v", "n", F.lit("u")).alias("three"), "n")
    for row in found.collect():
        assert (xxhash64(row["v"]), xxhash64(row["v"], row["n"], "u")) == (row["one"], row["three"])


@pytest.fixture(scope="module")
def versions(lake, config, day, tmp_path_factory) -> list[Path]:
    """The day's bundle, and that of another model whose index has clusters."""
    recall = {"exact_items": 10, "index_recall": 0.5, "lists": {"stocked": "stocked"}, "new_items": 2, "new_clicks": 5}
    changed = Config.model_validate(config.model_dump() | {"recall": recall})
    other = pack(lake, changed, DAY, *model_of(lake, config, 2))
    folder = tmp_path_factory.mktemp("versions")
    return [bundle_of(day), Path(other.write(str(folder)))]


def few_clicks(lake: Lake, below: int) -> set[int]:
    rows = lake.read_day(ITEM_FEATURES, DAY).select("item_index", "train_clicks").collect()
    return {index for index, clicks in rows if clicks < below}


def test_the_bundle_has_a_list_of_the_new_items(lake, versions) -> None:
    served = Recall.load(str(versions[1]))
    found = served.candidates({}, [], ITEMS, allowed="new").item_ids
    assert sorted(served.encoder.items[item] for item in found) == sorted(few_clicks(lake, 5)) and len(found) > 2


@pytest.mark.parametrize("below", [0, 5, 7, 1000])
def test_the_last_places_of_a_list_are_kept_for_new_items(lake, below: int) -> None:
    k, places, few = 10, 4, few_clicks(lake, below)
    published, items = Published.of(lake, DAY), lake.read_day(ITEM_EMBEDDINGS, DAY, model=DIVSPA)
    lists, _ = user_lists(lake, DAY, published.channel, items, k, k)
    made = with_new_items(lake, DAY, published, lists, new_items(lake, DAY, items, below), k, places)
    before, after = ({row["id"]: row for row in rows.collect()} for rows in (lists, made))
    vectors = {row["item_index"]: np.array(row["vector"]) for row in items.collect()}
    assert before.keys() == after.keys()
    users = lake.read_day(USER_EMBEDDINGS, DAY, model=DIVSPA, as_of="latest").collect()
    clicked = {r["user_key"]: set(r["clicked"]) for r in lake.read_day(USER_FEATURES, DAY, as_of="latest").collect()}
    for user in users:
        own, row = before[user["user_key"]], after[user["user_key"]]
        scores = {item: float(vectors[item] @ np.array(user["vector"])) for item in few - clicked[user["user_key"]]}
        fresh = [
            item for item in sorted(scores, key=lambda each: -scores[each]) if item not in own["ids"][: k - places]
        ]
        fresh = fresh[:places]
        left = [item for item in own["ids"][k - places :] if item not in fresh][: places - len(fresh)]
        assert row["ids"] == [*own["ids"][: k - places], *left, *fresh]
        assert row["sources"] == [DIVSPA] * (k - len(fresh)) + ["new"] * len(fresh)
        assert row["scores"] == sorted(row["scores"], reverse=True)
        assert len(set(row["ids"])) == len(row["ids"])
    assert below < 5 or any("new" in row["sources"] for row in after.values())


def test_an_index_with_clusters_says_its_recall_and_keeps_k(versions) -> None:
    served = Recall.load(str(versions[1]))
    said = served.manifest["index"]
    assert said["clusters"] > said["probes"] >= 1 and 0.5 <= said["recall"] <= 1 and said["measured_on"] > 40
    for clicks in (["i1"], ["i2", "i3", "i9"], [f"i{n}" for n in range(20)]):
        assert len(served.candidates({}, clicks, 15).item_ids) == 15
        assert len(served.candidates({}, clicks, 30, new_only=False, allowed="stocked").item_ids) == ITEMS // 2 + 1


def test_a_new_version_is_taken_without_a_gap_and_no_answer_is_of_two(versions) -> None:
    folders, expected = [str(path) for path in versions], {}
    for each in folders:
        recall = Recall.load(each)
        expected[recall.version] = recall.candidates({"plan": "free"}, ["i1", "i2"], 5).item_ids
    assert len(set(map(tuple, expected.values()))) == 2
    served, answers, stop, errors = Served(folders[0]), [], threading.Event(), []

    def ask() -> None:
        while not stop.is_set():
            try:
                answers.append(served.recall.candidates({"plan": "free"}, ["i1", "i2"], 5))
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(4):
        served.reload(folders[(turn + 1) % 2])
    with pytest.raises(MissingTableError):
        served.reload(folders[0] + "/nowhere")
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors and {found.version for found in answers} == set(expected)
    assert all(found.item_ids == expected[found.version] for found in answers)


def test_the_same_model_gives_the_same_version_which_is_not_written_again(lake, config, day) -> None:
    again, first = pack(lake, config, DAY, *model_of(lake, config, 1)), bundle_of(day)
    written = (first / "manifest.json").stat().st_mtime_ns
    assert Path(again.write(day)) == first
    assert (first / "manifest.json").stat().st_mtime_ns == written, "a service may be reading it"
