"""The reference of the feature benchmark: DuckDB makes the examples of a generated log."""

from pathlib import Path
from typing import Any

from divspa.config import Config
from divspa.errors import SetupError

CLICKS = """
CREATE TABLE clicks AS
SELECT DISTINCT trim(user_id) AS user_id, trim(item_id) AS item_id, timestamp AS clicked_at
FROM read_parquet('{clicks}/*.parquet')
WHERE trim(user_id) <> '' AND trim(item_id) <> '' AND epoch_us(timestamp) > 0
"""
CUTOFF = """
WITH counted AS (SELECT date_trunc('{grain}', clicked_at) AS bucket, count(*) AS n FROM clicks GROUP BY 1),
running AS (SELECT bucket, sum(n) OVER (ORDER BY bucket) - n AS earlier, sum(n) OVER () AS total FROM counted)
SELECT min(bucket) FROM running WHERE earlier >= total * (1 - {share})
"""
ITEMS = """
CREATE TABLE items AS
SELECT item_id, (1 + row_number() OVER (ORDER BY count(*) DESC, item_id))::INT AS item_index
FROM clicks WHERE clicked_at < $cutoff GROUP BY item_id
"""
VALUES = """
CREATE TABLE values_{field} AS
SELECT "{field}" AS value, (1 + row_number() OVER (ORDER BY count(*) DESC, "{field}"))::INT AS index
FROM read_parquet('{users}') SEMI JOIN (SELECT user_id FROM clicks WHERE clicked_at < $cutoff) USING (user_id)
WHERE trim("{field}") <> '' GROUP BY "{field}"
"""
USERS = """
CREATE TABLE users AS
SELECT user_id, [{codes}]::INT[] AS user_features FROM read_parquet('{users}') AS u {joins}
"""
PAST = """
CREATE TABLE past AS
SELECT user_id, list(item_index ORDER BY clicked_at) AS items
FROM clicks JOIN items USING (item_id) WHERE clicked_at < $cutoff GROUP BY user_id
"""
# Before the cutoff every item is known, so a click's rank among its user's says how many events lie before it.
PAIRS = """
CREATE TABLE pairs AS
WITH ranked AS (
  SELECT *, clicked_at >= $cutoff AS is_test, rank() OVER (PARTITION BY user_id ORDER BY clicked_at) - 1 AS earlier
  FROM clicks
)
SELECT user_id, item_id, is_test, min(clicked_at) AS clicked_at, min(earlier) AS earlier
FROM ranked GROUP BY user_id, item_id, is_test
"""
EXAMPLES = """
COPY (
  WITH placed AS (
    SELECT p.*, coalesce(i.item_index, 1) AS item_index, coalesce(past.items, []::INT[]) AS items,
      CASE WHEN is_test THEN len(coalesce(past.items, []::INT[])) ELSE earlier END AS before,
      is_test AND (p.user_id, p.item_id) IN (SELECT (user_id, item_id) FROM pairs WHERE NOT is_test) AS seen
    FROM pairs p LEFT JOIN items i USING (item_id) LEFT JOIN past ON past.user_id = p.user_id
  )
  SELECT if(is_test, 'test', 'train') AS split, hash(user_id, item_id, clicked_at) AS example_id,
    user_id, hash(user_id) AS user_key, item_id, item_index, clicked_at, seen, user_features,
    list_resize(items[greatest(before - {length} + 1, 1):before], {length}, 0)::INT[] AS history,
    least(before, {length})::INT AS history_length
  FROM placed JOIN users USING (user_id)
) TO '{out}' (FORMAT parquet)
"""
DIFFERENT = """
WITH ours AS (SELECT * FROM read_parquet({files}, hive_partitioning = true) WHERE hash(user_id) % {part} = 0),
theirs AS (SELECT * FROM read_parquet('{out}') WHERE hash(user_id) % {part} = 0)
SELECT count(*), count(*) FILTER (
  (a.item_index, a.clicked_at, a.seen, a.user_features, a.history, a.history_length) IS DISTINCT FROM
  (b.item_index, b.clicked_at, b.seen, b.user_features, b.history, b.history_length)
) FROM ours a FULL JOIN theirs b USING (split, user_id, item_id)
"""


class Reference:
    """DuckDB with its tables in a folder of its own. Raises SetupError when it is not installed."""

    def __init__(self, folder: Path) -> None:
        try:
            import duckdb
        except ImportError as error:
            raise SetupError(
                "The feature benchmark compares with DuckDB, which is not installed",
                remedy="uv pip sync -b requirements-build.lock requirements-test.lock",
            ) from error
        (folder / "spill").mkdir(parents=True)
        self.out = folder / "duckdb_examples.parquet"
        self.connection = duckdb.connect(str(folder / "reference.duckdb"))
        self.connection.execute(f"SET temp_directory = '{folder / 'spill'}'; SET TimeZone = 'UTC'")
        self.connection.execute("SET preserve_insertion_order = false; SET memory_limit = '8GB'")

    def __enter__(self) -> "Reference":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def make_examples(self, config: Config, threads: int) -> None:
        """From the log's files to one Parquet file of examples, with `repeats: first` and a split by share."""
        assert config.users is not None
        fields = [field.name for field in config.user_fields]
        places = {"clicks": config.clicks.location, "users": config.users.location, "out": self.out}
        self.connection.execute(f"SET threads = {threads}")
        self._execute(CLICKS, places)
        first, last = self._execute("SELECT min(clicked_at), max(clicked_at) FROM clicks", {}).fetchall()[0]
        grain = "hour" if (last - first).total_seconds() > 100 * 3600 else "second"
        sizes = {"grain": grain, "share": config.split.test_share, "length": config.features.history_length}
        cutoff = {"cutoff": self._execute(CUTOFF, sizes).fetchall()[0][0]}
        self._execute(ITEMS, {}, cutoff)
        for field in fields:
            self._execute(VALUES, places | {"field": field}, cutoff)
        codes = ", ".join(f"coalesce(values_{field}.index, 1)" for field in fields)
        joins = " ".join(f'LEFT JOIN values_{field} ON values_{field}.value = u."{field}"' for field in fields)
        self._execute(USERS, places | {"codes": codes, "joins": joins})
        self._execute(PAST, {}, cutoff)
        self._execute(PAIRS, {}, cutoff)
        self._execute(EXAMPLES, places | sizes)

    def compare(self, files: list[str], most: int) -> tuple[int, int]:
        """How many examples were compared with those of other Parquet files, and how many of them differ or lack."""
        total = self._execute("SELECT count(*) FROM read_parquet('{out}')", {"out": self.out}).fetchall()[0][0]
        part = max(1, total // most)
        return self._execute(DIFFERENT, {"files": files, "out": self.out, "part": part}).fetchall()[0]

    def _execute(self, query: str, names: dict[str, Any], values: dict[str, Any] | None = None) -> Any:
        return self.connection.execute(query.format(**names), values)
