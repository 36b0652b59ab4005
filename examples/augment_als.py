"""Another library's model, Spark's ALS, trained again with what its own vectors add; prints what it gains."""

import numpy as np
import pandas as pd
from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

import divspa

BETA, K = 0.3, 20


def clicks(spark: SparkSession, users: int = 600, items: int = 600, each: int = 4) -> tuple[DataFrame, DataFrame]:
    """A sparse log of users with one of ten tastes: all but the last click of each, and the last ones."""
    rng = np.random.default_rng(7)
    user = np.repeat(np.arange(users), each)
    item = user % 10 * (items // 10) + rng.integers(0, items // 10, len(user))
    frame = pd.DataFrame({"user_id": user, "item_id": item, "weight": 1.0})
    last = np.arange(len(frame)) % each == each - 1
    known = frame[~last].drop_duplicates(["user_id", "item_id"])
    had = frame.set_index(["user_id", "item_id"]).index.isin(known.set_index(["user_id", "item_id"]).index)
    return tuple(spark.createDataFrame(part).persist() for part in (known, frame[last & ~had]))


def train(weighted: DataFrame) -> ALSModel:
    als = ALS(rank=16, maxIter=5, userCol="user_id", itemCol="item_id", ratingCol="weight", implicitPrefs=True, seed=1)
    return als.fit(weighted)


def vectors(factors: DataFrame, name: str) -> DataFrame:
    return factors.selectExpr(f"cast(id AS string) AS {name}", "features AS vector").persist()


def lists(model: ALSModel, known: DataFrame) -> DataFrame:
    """The K best of each user, without what the user clicked."""
    had = known.groupBy("user_id").agg(F.collect_set("item_id").alias("exclude"))
    users = model.userFactors.selectExpr("id AS user_id", "features AS vector").join(had, "user_id")
    index = model.itemFactors.withColumnRenamed("features", "vector").persist()
    found, _ = divspa.search(users.withColumnRenamed("user_id", "id").persist(), index, K)
    return found.selectExpr("cast(id AS string) AS user_id", "cast(ids AS array<string>) AS item_ids")


def main(spark: SparkSession) -> divspa.Evaluation:
    known, asked = clicks(spark)
    base = train(known)
    added = divspa.augment(known, vectors(base.userFactors, "user_id"), vectors(base.itemFactors, "item_id"))
    more = added.select("user_id", F.explode(F.arrays_zip("sampled_item_ids", "sampled_weights")).alias("one"))
    item, weight = "cast(one.sampled_item_ids AS bigint) item_id", f"{BETA} * one.sampled_weights weight"
    more = more.where("one.sampled_weights > 0").selectExpr("cast(user_id AS bigint) user_id", item, weight)
    both = known.unionByName(more).groupBy("user_id", "item_id").agg(F.sum("weight").alias("weight"))
    shown = {"als": lists(base, known), "als, augmented": lists(train(both), known)}
    found = divspa.evaluate(shown, asked, against="als", ks=(K,))
    print(found.table().to_string(index=False))
    return found


if __name__ == "__main__":
    main(SparkSession.builder.getOrCreate())
