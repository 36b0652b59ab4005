"""Synthetic embeddings on disk: clustered, of unit length, the same for the same seed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import SparkSession

from divspa.arrow import list_column
from divspa.augmentation.sampling import hashed_uniforms

CLUSTERS = 2000
NOISE = 0.7
FILE_ROWS = 100_000


@dataclass(frozen=True)
class Embeddings:
    """Vectors around centres that users and items share; large centres are more popular, as topics are."""

    dim: int
    seed: int

    def write(self, spark: SparkSession, path: str, rows: int, part: int) -> None:
        """Write `rows` rows (id BIGINT, vector ARRAY<FLOAT>) as parquet; `part` tells users from items."""
        files = -(-rows // FILE_ROWS)
        ids = spark.range(0, rows, 1, files)
        made = ids.mapInArrow(lambda batches: self.made(batches, part), "id bigint, vector array<float>")
        made.write.mode("overwrite").parquet(path)

    def centres(self, ids_N: NDArray[np.int64], part: int) -> NDArray[np.int64]:
        """The number of the centre that each row lies around."""
        return (CLUSTERS * hashed_uniforms([self.seed, part, ids_N]) ** 2).astype(np.int64)

    def made(self, batches: Iterable[pa.RecordBatch], part: int) -> Iterator[pa.RecordBatch]:
        """A vector for each id; a batch's noise depends on its first id."""
        centres_CD = np.random.default_rng(self.seed).standard_normal((CLUSTERS, self.dim))
        centres_CD /= np.linalg.norm(centres_CD, axis=1, keepdims=True)
        for batch in filter(len, batches):
            ids_N = batch["id"].to_numpy()
            rng = np.random.default_rng([self.seed, part, int(ids_N[0])])
            noise_ND = rng.standard_normal((len(ids_N), self.dim)) * (NOISE / self.dim**0.5)
            vectors_ND = centres_CD[self.centres(ids_N, part)] + noise_ND
            vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
            columns = [batch["id"], list_column(vectors_ND.astype(np.float32))]
            yield pa.RecordBatch.from_arrays(columns, ["id", "vector"])
