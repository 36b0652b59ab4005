"""Exact search of an index small enough to be held whole by every worker."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame

from divspa.retrieval.checks import checked
from divspa.retrieval.columns import ids_from, lists_from, result_batch, vectors_from
from divspa.retrieval.inputs import RESULT_SCHEMA, Request
from divspa.retrieval.kernel import build_shard, search
from divspa.retrieval.worker import start_task


def search_broadcast(request: Request) -> DataFrame:
    """One row a query: id, ids and scores of its k best rows of the index. Each task holds the whole index once."""
    dim, k, exclude_self = request.sizes.dim, request.k, request.exclude_self
    table = request.index.toArrow()
    ids = ids_from(table["id"].combine_chunks())
    vectors = vectors_from(table["vector"].combine_chunks(), dim)
    shared = request.index.sparkSession.sparkContext.broadcast(build_shard(ids, vectors))

    def search_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        start_task()
        shard = shared.value
        for batch in batches:
            query_ids, exclude = ids_from(batch["id"]), lists_from(batch["exclude"])
            exclude = exclude.append(query_ids) if exclude_self else exclude
            found = search(shard, vectors_from(batch["vector"], dim), k, exclude)
            yield result_batch(query_ids, checked(found, query_ids, exclude_self))

    return request.queries.mapInArrow(search_batches, RESULT_SCHEMA)
