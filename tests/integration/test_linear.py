"""The linear model on real Spark and Delta: its table, what may not reach it, its ways and its lists."""

import shutil
from datetime import date

import numpy as np
import polars as pl
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from divspa.augmentation.augment import augment
from divspa.bench.positives import Positives
from divspa.bench.vectors import Embeddings
from divspa.config import Config
from divspa.evaluation.test_set import TestSet
from divspa.lake.tables import Lake
from divspa.linear.recommend import Weights, recommend
from divspa.linear.train import LINEAR, train_linear
from divspa.publishing.channels import Channel
from divspa.schemas import AUGMENTED_POSITIVES, EXAMPLES, ITEM_NEIGHBOURS, TRAINING_RUNS, USER_FEATURES, Table

DAY = date(2024, 6, 30)
CLICKS = {"path": "-", "user": "-", "item": "-", "time": "-"}
WAYS = ["linear_u2i", "linear_i2i", "random"]


def config(**settings) -> Config:
    linear = {"regularisations": [20.0, 0.01], "max_dense_items": 60, "support": 8, "neighbours": 30}
    return Config.model_validate({"clicks": CLICKS, "spark": {"partitions": 2}, "linear": linear, **settings})


@pytest.fixture(scope="module")
def world(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """200 users, some clicks of whom are held out, and some of whom come again after the cutoff."""
    lake = Lake(spark, str(tmp_path_factory.mktemp("linear") / "lake"))
    Positives(2000, 200, 150, Embeddings(8, 5)).write(lake, DAY, config().model.name)
    examples = lake.read_day(EXAMPLES, DAY)
    valid = examples.where("user_key % 10 = 0 AND example_id % 4 = 0").withColumn("split", F.lit("valid"))
    later = examples.where("user_key % 3 = 0 AND example_id % 5 = 0").withColumns(
        {"split": F.lit("test"), "item_index": F.col("item_index") % 150 + 2, "example_id": F.col("example_id") + 1}
    )
    kept = examples.join(valid.select("example_id"), "example_id", "left_anti").select(examples.columns)
    save(lake, EXAMPLES, kept.unionByName(valid).unionByName(later))
    train_linear(lake, config(), DAY)
    return lake


def save(lake: Lake, table: Table, rows) -> None:
    rows = rows.localCheckpoint()
    rows.write.format("delta").mode("overwrite").option("overwriteSchema", "true").partitionBy(
        *table.partitioned_by
    ).save(lake.path(table))


def table(lake: Lake, name: str) -> pl.DataFrame:
    return pl.scan_delta(f"{lake.root}/{name}").collect()


def neighbours(lake: Lake) -> list[tuple]:
    written = table(lake, ITEM_NEIGHBOURS.name).drop("model_version")
    return sorted((row[1], row[2], row[3], row[4], [round(w, 5) for w in row[5]]) for row in written.rows())


def test_the_table_holds_the_weights_that_rank_the_held_out_clicks_best(world: Lake) -> None:
    written = table(world, ITEM_NEIGHBOURS.name)
    assert written["weights"].list.len().max() == 30
    assert (written["weights"].list.eval(pl.element().diff().fill_null(0) <= 0).list.all()).all()
    named = written.explode("neighbour_ids", "neighbour_indices")
    assert (named["neighbour_ids"] == "item-" + named["neighbour_indices"].cast(pl.String)).all()
    assert (written["item_id"] == "item-" + written["item_index"].cast(pl.String)).all()
    (run,) = table(world, TRAINING_RUNS.name).to_dicts()
    assert run["model"] == LINEAR and run["model_version"] == written["model_version"][0]
    assert len(run["scores"]) == 2 and run["best_epoch"] == int(np.argmax(run["scores"])) == 0


def test_nothing_held_out_or_after_the_cutoff_reaches_it(world: Lake, tmp_path) -> None:
    """A lake that never knew these clicks gives the same table."""
    bare = Lake(world.spark, str(shutil.copytree(world.root, tmp_path / "lake")))
    examples, users = world.read_day(EXAMPLES, DAY), world.read_day(USER_FEATURES, DAY)
    save(bare, EXAMPLES, examples.where("split = 'train'"))
    known = (
        examples.where("split = 'train'")
        .groupBy("user_key")
        .agg(F.array_sort(F.collect_set("item_index")).alias("own"))
    )
    users = users.join(known, "user_key").withColumn("clicked", F.col("own")).select(users.columns)
    latest = users.withColumns({"as_of": F.lit("latest"), "clicked": F.array(F.lit(2), F.lit(3))})
    save(bare, USER_FEATURES, users.unionByName(latest))
    train_linear(bare, config(linear={**config().linear.model_dump(), "regularisations": [20.0]}), DAY)
    assert neighbours(bare) == neighbours(world)


def test_partitions_change_nothing(world: Lake) -> None:
    before = neighbours(world)
    train_linear(world, config(spark={"partitions": 5}), DAY)
    assert neighbours(world) == before


def test_ways_offer_what_the_table_says_and_a_control_what_is_as_popular(world: Lake) -> None:
    augment(world, config(divspa={"ways": WAYS, "scored_by": "both", "popularity_discount": 0}), DAY)
    summary = {row["way"]: row for row in table(world, "augmentation_summary").to_dicts()}
    assert set(summary) == {*WAYS, "all"} and all(summary[way]["sampled_per_pair"] > 1 for way in WAYS)
    assert 0 < summary["linear_u2i"]["new"] < 1
    lists = ("sampled_item_indices", "sampled_sources", "sampled_weights")
    added = table(world, AUGMENTED_POSITIVES.name).explode(lists).filter(pl.col("sampled_item_indices") > 0)
    weights = Weights.read(world.read_day(ITEM_NEIGHBOURS, DAY)).rows_VV.toarray()
    users = table(world, USER_FEATURES.name).rows_by_key("user_id", named=True, unique=True)
    held_out = table(world, EXAMPLES.name).filter(pl.col("split") == "valid").group_by("user_id").agg("item_index")
    unknown = {user: set(items) for user, items in held_out.rows()}
    for row in added.sample(300, seed=3).to_dicts():
        clicked = [item for item in users[row["user_id"]]["clicked"] if item not in unknown.get(row["user_id"], ())]
        item, ways = row["sampled_item_indices"], row["sampled_sources"].split("+")
        assert item not in clicked
        scores = weights[clicked].sum(0)
        scores[clicked] = -1
        if "linear_u2i" in ways:
            assert scores[item] > 0 and (scores > scores[item] + 1e-5).sum() < 20
        if "linear_i2i" in ways:
            assert weights[row["item_index"], item] > 0
    popularity = dict(table(world, "item_features").select("item_index", "popularity").rows())
    random = added.filter(pl.col("sampled_sources") == "random")
    own, theirs = (np.array([popularity[item] for item in random[name]]) for name in ("item_index", lists[0]))
    ordered = np.sort(list(popularity.values()))
    lowest = ordered[np.maximum(np.searchsorted(ordered, own) - 60, 0)]
    highest = ordered[np.minimum(np.searchsorted(ordered, own, side="right") + 60, len(ordered) - 1)]
    assert (lowest <= theirs).all() and (theirs <= highest).all() and theirs.mean() < 1.2 * own.mean()
    assert added.group_by("example_id").agg(pl.sum("sampled_weights"))["sampled_weights"].to_numpy() == pytest.approx(1)


def test_of_many_users_some_are_drawn_with_all_their_events(world: Lake) -> None:
    whole, part = (TestSet.of(world, config(evaluation={"users": users}), DAY) for users in (None, 15))
    everyone, drawn = (test.rank(Channel((LINEAR,))) for test in (whole, part))
    users = np.unique(drawn.user_key_T)
    assert 5 < len(users) < 25 < len(np.unique(everyone.user_key_T))
    kept_T = np.isin(everyone.user_key_T, users)
    assert everyone.item_index_T[kept_T].tolist() == drawn.item_index_T.tolist()
    assert everyone.rank_T[kept_T].tolist() == drawn.rank_T.tolist()
    whole.close()
    part.close()


def test_it_is_ranked_like_a_model_and_recommends_the_same_lists(world: Lake) -> None:
    test = TestSet.of(world, config(), DAY)
    ranking = test.rank(Channel((LINEAR,)))
    figures = test.metrics(ranking)
    assert ranking.model == LINEAR and 0 < figures["all", "hr@50"] <= 1
    had = world.read_day(USER_FEATURES, DAY, as_of="cutoff").select(F.col("user_key").alias("id"), "clicked")
    # Items as popular stand in the order of the catalogue.
    popular = test.index_N[np.argsort(-test.popularity_N, kind="stable")].astype(np.int32)
    nobody = had.limit(1).withColumns({"id": F.lit(-1).cast("bigint"), "clicked": F.array().cast("array<int>")})
    weights = Weights.read(world.read_day(ITEM_NEIGHBOURS, DAY))
    found = recommend(had.unionByName(nobody), weights, 10, popular_P=popular).toPandas().set_index("id")
    assert found.loc[-1, "ids"].tolist() == popular[:10].tolist()
    for user in test.shown_S[:20]:
        assert found.loc[user, "ids"].tolist() == test.list_of(ranking, user, 10).tolist()
        assert (np.diff(found.loc[user, "scores"]) <= 0).all()
    test.close()
