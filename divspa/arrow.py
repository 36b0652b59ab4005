"""Arrow list and binary columns to and from numpy, without a Python object for each value."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from divspa.lists import Lists, offsets_of


def list_column(values: np.ndarray, offsets: np.ndarray | None = None) -> pa.ListArray:
    """A list column from a matrix, one list a row, or from flat values and their R + 1 offsets.

    Building it from Python lists is tens of times slower.
    """
    if offsets is None:
        rows, width = values.shape
        offsets = np.arange(rows + 1) * width
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(values.ravel()))


def matrix(column: pa.ListArray) -> np.ndarray:
    """A list column whose lists have one length, as a matrix [R, W]; writable."""
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1).copy()


def lists_of(column: pa.ListArray) -> Lists:
    """A ragged list column; a null list is empty."""
    lengths_N = np.where(column.is_valid().to_numpy(zero_copy_only=False), np.diff(column.offsets.to_numpy()), 0)
    return Lists(offsets_of(lengths_N), column.flatten().to_numpy(zero_copy_only=False))


def padded(column: pa.ListArray, width: int, fill: float) -> np.ndarray:
    """A ragged list column as a matrix [R, width]: cut, or padded with `fill`, at the right; a null list is empty."""
    return lists_of(column).padded(fill, width)


def packed(lists: Lists) -> pa.Array:
    """Lists as a BINARY column: Spark copies it whole, where it would convert an array value by value."""
    size = lists.values_M.dtype.itemsize
    offsets, values = (lists.offsets_N1 * size).astype(np.int32), np.ascontiguousarray(lists.values_M)
    return pa.Array.from_buffers(pa.binary(), len(lists), [None, pa.py_buffer(offsets), pa.py_buffer(values)])


def packed_rows(values_ND: np.ndarray) -> pa.Array:
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


def whole_groups(batches: Iterable[pa.RecordBatch], column: str) -> Iterator[pa.RecordBatch]:
    """Cut a stream that is sorted by a BIGINT column anew, so that no value is divided; one value's rows may wait."""
    waiting: list[pa.RecordBatch] = []
    for batch in filter(len, batches):
        keys = batch.column(column).to_numpy()
        last_starts = int(np.searchsorted(keys, keys[-1]))
        if last_starts or (waiting and waiting[-1].column(column)[0].as_py() != keys[-1]):
            yield from _joined([*waiting, batch.slice(0, last_starts)])
            waiting = []
        waiting.append(batch.slice(last_starts))
    yield from _joined(waiting)


def _joined(parts: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    return pa.Table.from_batches(parts).combine_chunks().to_batches() if parts else []


def joined_batch(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """Batches of one schema, end to end, as one; at least one of them holds rows."""
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
