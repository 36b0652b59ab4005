"""The three plans of a search on a real Spark, against brute force."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession

from divspa.errors import ConfigError, ContractError, TrainingError
from divspa.retrieval import SearchSettings, search, top_k, worker_errors

SCHEMA = "id bigint, vector array<float>"
EXCLUDING = SCHEMA + ", exclude array<int>"
EXACT = ["broadcast", "sharded"]
PLANS = [*EXACT, "routed"]
DIM = 6


def vectors_of(count: int, seed: int) -> np.ndarray:
    """Clustered vectors of differing length, some of them equal and one of them zero."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((15, DIM))
    vectors = centres[rng.integers(0, 15, count)] + 0.2 * rng.standard_normal((count, DIM))
    vectors[count // 2 : count // 2 + 30] = vectors[count // 2]
    vectors[count // 3] = 0
    return vectors.astype(np.float32)


def frame(spark: SparkSession, ids: np.ndarray, vectors: np.ndarray, exclude: list | None = None) -> DataFrame:
    columns = {"id": ids, "vector": list(vectors)} | ({} if exclude is None else {"exclude": exclude})
    return spark.createDataFrame(pd.DataFrame(columns), SCHEMA if exclude is None else EXCLUDING)


def rows_of(found: DataFrame) -> dict[int, list[tuple[int, float]]]:
    rows = found.collect()
    results = {row.id: list(zip(row.ids, row.scores, strict=True)) for row in rows}
    assert len(results) == len(rows), "one row a query"
    return results


def expected_rows(
    query_ids: np.ndarray, queries: np.ndarray, ids: np.ndarray, vectors: np.ndarray, k: int, exclude: list
) -> dict[int, list[tuple[int, float]]]:
    scores = (queries.astype(np.float64) @ vectors.astype(np.float64).T).astype(np.float32) + np.float32(0)
    order = np.lexsort((np.broadcast_to(ids, scores.shape), -scores), axis=1)
    return {
        int(q): [(int(ids[i]), float(scores[n, i])) for i in order[n] if ids[i] not in exclude[n]][:k]
        for n, q in enumerate(query_ids)
    }


@pytest.fixture(scope="module")
def ids() -> np.ndarray:
    return np.random.default_rng(1).permutation(2000) - 500


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return vectors_of(2000, 2)


@pytest.fixture(scope="module")
def index(spark: SparkSession, ids: np.ndarray, vectors: np.ndarray) -> DataFrame:
    return frame(spark, ids, vectors).repartition(3).cache()


@pytest.mark.parametrize("plan", PLANS)
def test_every_plan_finds_the_largest_inner_products(
    plan: str, spark: SparkSession, index: DataFrame, ids: np.ndarray, vectors: np.ndarray
) -> None:
    queries, query_ids = vectors_of(300, 3), np.arange(300)
    exclude = [ids[:n].tolist() if n % 3 == 0 else [] for n in range(299)] + [ids[:1900].tolist()]
    asked = frame(spark, query_ids, queries, exclude)
    # Every cluster is probed here, so that the routed plan must be exact too.
    settings = SearchSettings(plan=plan, clusters=20, nprobe=20 if plan == "routed" else 0)
    found, report = search(asked, index, 25, settings)
    expected = expected_rows(query_ids, queries, ids, vectors, 25, exclude)
    actual = rows_of(found)
    for query, pairs in expected.items():
        assert [i for i, _ in actual[query]] == [i for i, _ in pairs]
        assert [s for _, s in actual[query]] == pytest.approx([s for _, s in pairs], rel=1e-6, abs=1e-12)
    assert (report.plan, report.queries, report.rows, report.recall) == (plan, 300, 2000, 1.0)
    assert [field.dataType.simpleString() for field in found.schema] == ["bigint", "array<bigint>", "array<float>"]


@pytest.mark.parametrize("plan", PLANS)
def test_results_do_not_depend_on_partitions_shards_or_batches(
    plan: str, spark: SparkSession, index: DataFrame
) -> None:
    settings = SearchSettings(plan=plan, clusters=30)
    few = rows_of(top_k(index, index.coalesce(1), 10, settings, exclude_self=True))
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "170")
    try:
        many = rows_of(
            top_k(index.repartition(5), index, 10, settings.model_copy(update={"shards": 5}), exclude_self=True)
        )
    finally:
        spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "10000")
    assert many == few
    assert all(len(pairs) == 10 and query not in dict(pairs) for query, pairs in many.items())


def test_routed_reports_the_recall_that_it_has(
    spark: SparkSession, index: DataFrame, ids: np.ndarray, vectors: np.ndarray
) -> None:
    settings = SearchSettings(plan="routed", recall_floor=0.9, clusters=60)
    found, report = search(index, index, 10, settings, exclude_self=True)
    expected = expected_rows(ids, vectors, ids, vectors, 10, [[i] for i in ids])
    actual = rows_of(found)
    counted = [i for i, vector in zip(ids.tolist(), vectors, strict=True) if vector.any()]
    hits = [len({i for i, _ in actual[q]} & {i for i, _ in expected[q]}) / 10 for q in counted]
    assert report.recall == pytest.approx(float(np.mean(hits)), abs=1e-9)
    assert 0.9 <= report.recall < 1.0
    assert 1 <= report.nprobe < report.clusters <= 60
    with pytest.raises(TrainingError, match=r"misses its recall.*nprobe 1 of"):
        top_k(index, index, 10, settings.model_copy(update={"nprobe": 1, "recall_floor": 0.99}), exclude_self=True)


@pytest.mark.parametrize("plan", PLANS)
def test_edges(plan: str, spark: SparkSession) -> None:
    settings = SearchSettings(plan=plan)
    vectors = np.eye(3, DIM, dtype=np.float32)
    three, one = frame(spark, np.arange(3), vectors), frame(spark, np.array([-1]), vectors[:1])
    nothing = spark.createDataFrame([], SCHEMA)
    assert rows_of(top_k(three, three, 5, settings)) == {
        0: [(0, 1.0), (1, 0.0), (2, 0.0)],
        1: [(1, 1.0), (0, 0.0), (2, 0.0)],
        2: [(2, 1.0), (0, 0.0), (1, 0.0)],
    }
    assert rows_of(top_k(three, one, 5, settings)) == {0: [(-1, 1.0)], 1: [(-1, 0.0)], 2: [(-1, 0.0)]}
    assert rows_of(top_k(one, one, 5, settings, exclude_self=True)) == {-1: []}
    assert rows_of(top_k(three, nothing, 5, settings)) == {0: [], 1: [], 2: []}
    assert rows_of(top_k(nothing, three, 5, settings)) == {}


@pytest.mark.parametrize("plan", PLANS)
def test_equal_vectors_all_in_one_cluster_and_zero_queries(plan: str, spark: SparkSession) -> None:
    ids = np.random.default_rng(4).permutation(600)
    index = frame(spark, ids, np.ones((600, DIM), np.float32))
    queries = frame(
        spark, np.array([1, 2, 3]), np.array([[1] * DIM, [0] * DIM, [-1] * DIM], np.float32), [[0], [], None]
    )
    found = rows_of(top_k(queries, index, 4, SearchSettings(plan=plan)))
    assert found == {
        1: [(1, 6.0), (2, 6.0), (3, 6.0), (4, 6.0)],
        2: [(0, 0.0), (1, 0.0), (2, 0.0), (3, 0.0)],
        3: [(0, -6.0), (1, -6.0), (2, -6.0), (3, -6.0)],
    }


def test_broken_input_is_named_before_the_search(spark: SparkSession) -> None:
    def one(*vector: float | None) -> DataFrame:
        return spark.createDataFrame([(7, list(vector))], SCHEMA)

    good = one(1.0, 2.0)
    with pytest.raises(TrainingError, match=r"vector of the queries.*not finite.*Found: nan for id 7\. Remedy"):
        top_k(one(1.0, float("nan")), good, 1)
    with pytest.raises(TrainingError, match=r"vector of the index.*Found: inf for id 7"):
        top_k(good, one(float("inf"), 1.0), 1)
    with pytest.raises(ContractError, match=r"differ in dimension.*Found: 2 and 3"):
        top_k(good, one(1.0, 2.0, 3.0), 1)
    with pytest.raises(ContractError, match="vector of a search holds a null"):
        top_k(good, one(1.0, None), 1)
    with pytest.raises(ContractError, match=r"index of a search lack columns.*no vector"):
        top_k(good, good.select("id"), 1)
    with pytest.raises(ConfigError, match="k of 1 or more"):
        top_k(good, good, 0)
    with pytest.raises(ContractError, match="index of a search repeats an id"):
        top_k(good, good.unionAll(good), 1)


@pytest.mark.parametrize("plan", ["sharded", "routed"])
def test_a_repeated_query_is_named_by_the_job(plan: str, spark: SparkSession) -> None:
    row = spark.createDataFrame([(7, [1.0, 2.0])], SCHEMA)
    found = top_k(row.unionAll(row), row, 1, SearchSettings(plan=plan))
    with pytest.raises(ContractError, match=r"queries of a search repeat an id.*id 7"), worker_errors():
        found.collect()


def test_auto_goes_from_broadcast_to_shards_to_routes(spark: SparkSession, index: DataFrame) -> None:
    from divspa.retrieval.inputs import Sizes
    from divspa.retrieval.plans import choose_plan

    def plan(queries: int, rows: int, dim: int = 32) -> str:
        return choose_plan(Sizes(queries, rows, dim, longest=1.0, fullest=queries), SearchSettings())

    assert plan(100_000, 42_000) == "broadcast"
    assert plan(5_000_000, 42_000) == "broadcast"
    assert plan(1_000, 5_000_000) == "sharded"
    assert plan(1_000_000, 1_000_000) == "routed"
    assert plan(0, 1_000_000) == plan(1_000_000, 0) == "broadcast"
    assert search(index, index, 3)[1].plan == "broadcast"
    assert search(index, index, 3, SearchSettings(broadcast_mb=0))[1].plan == "sharded"


def test_a_task_that_fails_once_leaves_no_row_twice(tmp_path: Path) -> None:
    """Retries need a local master that allows them, hence a process of its own."""
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, str(Path(__file__)), str(tmp_path)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.stdout.splitlines()[-1:] == ["same rows after 1 failure"], done.stderr[-3000:]


def search_with_a_failure(folder: Path) -> None:
    """Search twice; the second time the first try of one task dies after it has given its first batch."""
    from divspa.lake.session import spark_session
    from divspa.lake.settings import Spark

    spark = spark_session(Spark(master="local[2,3]", driver_memory="1g", partitions=2))
    index = frame(spark, np.arange(400), vectors_of(400, 5))
    settings = SearchSettings(plan="sharded", shards=2)
    mark = str(folder / "failed")

    def failing(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield batch.slice(0, 1)
            context = TaskContext.get()
            if context is not None and context.attemptNumber() == 0 and not Path(mark).exists():
                Path(mark).touch()
                raise OSError("a disk died")
            yield batch.slice(1)

    expected = rows_of(top_k(index, index, 5, settings))
    found = top_k(index, index, 5, settings)
    doomed = top_k(index, index, 5, settings).mapInArrow(failing, found.schema)
    same = rows_of(doomed) == expected
    print(f"{'same' if same else 'other'} rows after {int(Path(mark).exists())} failure")


if __name__ == "__main__":
    import sys

    search_with_a_failure(Path(sys.argv[1]))
