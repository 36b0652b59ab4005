"""The 10 nearest of 5,000 vectors for each of 2,000 others, on Spark."""

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession

import divspa


def vectors(spark: SparkSession, rows: int, seed: int) -> DataFrame:
    """Random directions, as id and vector."""
    made = np.random.default_rng(seed).normal(size=(rows, 32)).astype(np.float32)
    frame = pd.DataFrame({"id": range(rows), "vector": list(made / np.linalg.norm(made, axis=1, keepdims=True))})
    return spark.createDataFrame(frame, "id bigint, vector array<float>")


def main(spark: SparkSession) -> DataFrame:
    """One row a query: id, ids, scores."""
    found, report = divspa.search(vectors(spark, 2000, 1).persist(), vectors(spark, 5000, 2).persist(), 10)
    print(f"plan {report.plan}, recall {report.recall:.3f}")
    found.orderBy("id").show(3)
    return found


if __name__ == "__main__":
    main(SparkSession.builder.getOrCreate())
