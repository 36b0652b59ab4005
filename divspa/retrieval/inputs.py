"""The two inputs of a search: their columns, and a first pass that measures and validates them on the workers."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import IntegralType

from divspa.errors import ContractError, DivSPAError, TrainingError
from divspa.retrieval.columns import ids_from, require_no_null
from divspa.retrieval.failures import as_text, raise_as_divspa_error, worker_errors
from divspa.retrieval.worker import start_task

UNEVEN = 1.5
TASKS_PER_CORE = 3
RESULT_SCHEMA = "id bigint, ids array<bigint>, scores array<float>"
MEASURES = ["is_query", "rows", "narrowest", "widest", "longest", "problem"]
MEASURES_SCHEMA = "is_query boolean, rows bigint, narrowest bigint, widest bigint, longest double, problem string"


@dataclass(frozen=True)
class Sizes:
    """What a plan is chosen from.

    `longest` is the largest length of an index vector, `fullest` the most queries in one partition.
    """

    queries: int
    rows: int
    dim: int
    longest: float
    fullest: int

    @property
    def megabytes(self) -> float:
        """The index's vectors in memory."""
        return self.rows * self.dim * 4 / 2**20


@dataclass(frozen=True)
class Request:
    """A search as asked for: conformed inputs, their sizes, and what is wanted."""

    queries: DataFrame
    index: DataFrame
    sizes: Sizes
    k: int
    exclude_self: bool

    @property
    def cores(self) -> int:
        """How many tasks Spark runs at a time."""
        return self.queries.sparkSession.sparkContext.defaultParallelism


def spread_evenly(request: Request) -> Request:
    """The request with its queries in some even partitions for each core; three files would leave one of two idle."""
    tasks = TASKS_PER_CORE * request.cores
    if request.sizes.fullest * tasks <= UNEVEN * request.sizes.queries:
        return request
    return replace(request, queries=request.queries.repartition(tasks, "id"))


def conform(queries: DataFrame, index: DataFrame) -> tuple[DataFrame, DataFrame]:
    """The columns of a search in their types; a missing `exclude` is empty. Raises ContractError where others lack."""
    for name, frame in (("queries", queries), ("index", index)):
        if missing := [column for column in ("id", "vector") if column not in frame.columns]:
            raise ContractError(
                f"The {name} of a search lack columns",
                expected="id BIGINT, vector ARRAY<FLOAT>",
                found=f"no {', '.join(missing)}",
            )
        if not isinstance(kind := frame.schema["id"].dataType, IntegralType):
            raise ContractError(
                f"The ids of the {name} of a search are no whole numbers",
                expected="id BIGINT",
                found=f"id {kind.simpleString().upper()}",
                remedy="give each row a number, or the xxhash64 of its id, and join the ids again to what is found",
            )
    exclude = F.col("exclude") if "exclude" in queries.columns else F.array()
    vectors = [F.col("id").cast("bigint").alias("id"), F.col("vector").cast("array<float>").alias("vector")]
    return queries.select(*vectors, exclude.cast("array<bigint>").alias("exclude")), index.select(*vectors)


def measure(queries: DataFrame, index: DataFrame) -> Sizes:
    """Count and validate both inputs in one pass.

    Raises TrainingError for a vector that is not finite, and ContractError for nulls or differing dimensions.
    """
    sides = [
        frame.select(F.lit(is_query).alias("is_query"), "id", "vector")
        for is_query, frame in ((True, queries), (False, index))
    ]
    with worker_errors():
        parts = sides[0].unionAll(sides[1]).mapInArrow(_measure_batches, MEASURES_SCHEMA).collect()
    for part in parts:
        raise_as_divspa_error(part.problem)
    dims = sorted({dim for part in parts for dim in (part.narrowest, part.widest)})
    if len(dims) > 1:
        raise ContractError(
            "The vectors of a search differ in dimension",
            expected="one dimension for queries and index",
            found=f"{dims[0]} and {dims[-1]}",
            remedy="search embeddings of one model version",
        )
    return Sizes(
        queries=sum(part.rows for part in parts if part.is_query),
        rows=sum(part.rows for part in parts if not part.is_query),
        dim=dims[0] if dims else 0,
        longest=max((part.longest for part in parts if not part.is_query), default=0.0),
        fullest=max((part.rows for part in parts if part.is_query), default=0),
    )


def _measure_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """One row a partition that is not empty; a fault is returned as text, since Spark would try a raised one again."""
    start_task()
    try:
        parts = [_measure_batch(batch) for batch in batches if batch.num_rows]
        problem = None
    except DivSPAError as error:
        parts = [(False, 0, 0, 0, 0.0)]
        problem = as_text(error)
    if parts:
        kinds, rows, narrowest, widest, longest = zip(*parts, strict=True)
        values = (kinds[0], sum(rows), min(narrowest), max(widest), max(longest), problem)
        kinds = (pa.bool_(), pa.int64(), pa.int64(), pa.int64(), pa.float64(), pa.string())
        columns = [pa.array([value], kind) for value, kind in zip(values, kinds, strict=True)]
        yield pa.RecordBatch.from_arrays(columns, MEASURES)


def _measure_batch(batch: pa.RecordBatch) -> tuple[bool, int, int, int, float]:
    is_query, ids_N, column = batch["is_query"][0].as_py(), ids_from(batch["id"]), batch["vector"]
    require_no_null(column, "vector")
    values = column.flatten()
    require_no_null(values, "vector")
    values_M = values.to_numpy(zero_copy_only=False)
    lengths_N = np.diff(column.offsets.to_numpy())
    if not np.isfinite(values_M).all():
        first = int(np.argmin(np.isfinite(values_M)))
        row = int(np.searchsorted(np.cumsum(lengths_N), first, side="right"))
        raise TrainingError(
            f"A vector of the {'queries' if is_query else 'index'} of a search is not finite",
            expected="numbers",
            found=f"{values_M[first]} for id {ids_N[row]}",
            remedy="look for a diverged training: lower the learning rate",
        )
    same = lengths_N.min() == lengths_N.max()
    squares = values_M.astype(np.float64).reshape(len(ids_N), -1) ** 2 if same else np.zeros((1, 0))
    longest = float(np.sqrt(squares.sum(axis=1).max()))
    return is_query, len(ids_N), int(lengths_N.min()), int(lengths_N.max()), longest
