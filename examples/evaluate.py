"""Metrics of any recommended lists, and what their difference is worth: here popular items against random ones."""

import numpy as np
import pandas as pd
from pyspark.sql import SparkSession

import divspa


def main(spark: SparkSession) -> divspa.Evaluation:
    """Two kinds of lists at the same events."""
    rng = np.random.default_rng(3)
    popularity = 1 / np.arange(1, 201)
    asked = rng.choice(200, size=(500, 2), p=popularity / popularity.sum())
    users = [f"u{user}" for user in range(len(asked))]
    events = pd.DataFrame({"user_id": np.repeat(users, 2), "item_id": [f"i{item}" for item in asked.ravel()]})
    popular = pd.DataFrame({"user_id": users, "item_ids": [[f"i{item}" for item in range(50)]] * len(users)})
    drawn = [[f"i{item}" for item in rng.permutation(200)[:50]] for _ in users]
    lists = {"popular": popular, "random": pd.DataFrame({"user_id": users, "item_ids": drawn})}
    frames = {name: spark.createDataFrame(frame) for name, frame in lists.items()}
    found = divspa.evaluate(frames, spark.createDataFrame(events), against="random", ks=(10, 50))
    print(found.table().to_string(index=False))
    return found


if __name__ == "__main__":
    main(SparkSession.builder.getOrCreate())
