"""The columns of a search as numpy arrays and back; nulls and odd lengths are errors."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from divspa.arrow import list_column, lists_of
from divspa.errors import ContractError
from divspa.lists import Lists
from divspa.retrieval.kernel import TopK


def ids_from(column: pa.Array) -> NDArray[np.int64]:
    """A BIGINT column (N,). Raises ContractError for a null."""
    require_no_null(column, "id")
    return column.to_numpy(zero_copy_only=False)


def vectors_from(column: pa.Array, dim: int) -> NDArray[np.float32]:
    """An ARRAY<FLOAT> column as (N, dim). Raises ContractError for a null or another length."""
    require_no_null(column, "vector")
    flat = column.flatten()
    require_no_null(flat, "vector")
    lengths_N = np.diff(column.offsets.to_numpy())
    if (wrong := lengths_N[lengths_N != dim]).size:
        raise ContractError("A vector has the wrong dimension", expected=str(dim), found=str(wrong[0]))
    return flat.to_numpy(zero_copy_only=False).reshape(len(column), dim)


def lists_from(column: pa.Array) -> Lists:
    """An ARRAY<BIGINT> column as lists; a null list is empty. Raises ContractError for a null inside a list."""
    require_no_null(column.flatten(), "exclude")
    return lists_of(column)


def result_batch(ids_N: NDArray[np.int64], found: TopK) -> pa.RecordBatch:
    """The columns id, ids and scores of a search's result."""
    return pa.RecordBatch.from_arrays(
        [pa.array(ids_N), list_column(found.ids_M, found.offsets_N1), list_column(found.scores_M, found.offsets_N1)],
        names=["id", "ids", "scores"],
    )


def require_no_null(column: pa.Array, name: str) -> None:
    """Raise ContractError when the column holds a null."""
    if column.null_count:
        raise ContractError(f"The column {name} of a search holds a null", expected="no nulls", found="a null")
