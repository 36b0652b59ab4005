"""Arrow columns as numpy arrays and back, without a Python object per row."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from divspa.arrow import list_column
from divspa.errors import ContractError
from divspa.retrieval.kernel import TopK
from divspa.retrieval.lists import Lists, offsets_of


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
    flat = column.flatten()
    require_no_null(flat, "exclude")
    lengths_N = np.where(column.is_valid().to_numpy(zero_copy_only=False), np.diff(column.offsets.to_numpy()), 0)
    return Lists(offsets_of(lengths_N), flat.to_numpy(zero_copy_only=False))


def result_batch(ids_N: NDArray[np.int64], found: TopK) -> pa.RecordBatch:
    """The columns id, ids and scores of a search's result."""
    return pa.RecordBatch.from_arrays(
        [pa.array(ids_N), list_column(found.ids_M, found.offsets_N1), list_column(found.scores_M, found.offsets_N1)],
        names=["id", "ids", "scores"],
    )


def packed(lists: Lists) -> pa.Array:
    """Lists as a BINARY column: Spark copies it whole, where it would convert an array value by value."""
    size = lists.values_M.dtype.itemsize
    offsets, values = (lists.offsets_N1 * size).astype(np.int32), np.ascontiguousarray(lists.values_M)
    return pa.Array.from_buffers(pa.binary(), len(lists), [None, pa.py_buffer(offsets), pa.py_buffer(values)])


def packed_rows(values_ND: NDArray) -> pa.Array:
    """The rows of an array as a BINARY column."""
    count, width = values_ND.shape
    return packed(Lists(np.arange(count + 1) * width, values_ND.ravel()))


def unpacked(column: pa.Array, dtype: type) -> Lists:
    """The lists inside a BINARY column that `packed` made."""
    _, offsets, values = column.buffers()
    offsets_N1 = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1].astype(np.int64)
    everything = np.frombuffer(values if values is not None else b"", np.uint8)
    values_M = everything[offsets_N1[0] : offsets_N1[-1]].view(dtype)
    return Lists((offsets_N1 - offsets_N1[0]) // np.dtype(dtype).itemsize, values_M)


def require_no_null(column: pa.Array, name: str) -> None:
    """Raise ContractError when the column holds a null."""
    if column.null_count:
        raise ContractError(f"The column {name} of a search holds a null", expected="no nulls", found="a null")
