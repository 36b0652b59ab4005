"""Arrow list columns to and from numpy, without a Python object for each value."""

import numpy as np
import pyarrow as pa


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


def padded(column: pa.ListArray, width: int, fill: float) -> np.ndarray:
    """A ragged list column as a matrix [R, width]: cut, or padded with `fill`, at the right; a null list is empty."""
    lengths = np.nan_to_num(np.asarray(column.value_lengths().to_numpy(zero_copy_only=False), float)).astype(np.int64)
    values = column.flatten().to_numpy(zero_copy_only=False)
    starts = np.cumsum(lengths) - lengths
    out = np.full((len(column), width), fill, values.dtype)
    taken = np.arange(width) < lengths[:, None]
    out[taken] = values[(starts[:, None] + np.arange(width))[taken]]
    return out
