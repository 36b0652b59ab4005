"""Values of a field to integers: known values from 2 on, 1 for unknown, 0 for padding."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from divspa.schemas.vocabulary import FIRST_INDEX, PADDING, UNKNOWN


@dataclass(frozen=True)
class Codes:
    """The known values of a field as hashes in ascending order, and the index of each."""

    hashes: np.ndarray
    indices: np.ndarray


def encode_field(values: pa.Array, width: int, codes: Codes | None, bounds: Sequence[float] | None) -> np.ndarray:
    """Encode one column [rows, width]: numbers by bounds, hashes by codes, and without either they are indices."""
    if bounds is not None:
        number = values.to_numpy(zero_copy_only=False)
        place = np.searchsorted(np.asarray(bounds, float), number, side="right") + FIRST_INDEX
        return np.where(np.isnan(number), UNKNOWN, place).astype(np.int32)[:, None]
    if isinstance(values, pa.ListArray):
        row, value = np.repeat(np.arange(len(values)), np.diff(values.offsets)), values.flatten().to_numpy()
    else:
        row, value = np.flatnonzero(values.is_valid()), values.drop_null().to_numpy()
    return encode_values(row, value, len(values), width, codes)


def encode_vectors(values: pa.Array, size: int) -> np.ndarray:
    """Lists of floats at unit length [rows, size], as the bits of 32-bit floats; zeros where there is none.

    So one matrix of integers holds all fields of a row, from the table to the towers.
    """
    vectors_RS = np.zeros((len(values), size), np.float32)
    vectors_RS[np.flatnonzero(values.is_valid())] = values.flatten().to_numpy().reshape(-1, size)
    lengths_R = np.linalg.norm(vectors_RS, axis=1, keepdims=True)
    return (vectors_RS / np.where(lengths_R > 0, lengths_R, 1)).view(np.int32)


def encode_values(row: np.ndarray, value: np.ndarray, rows: int, width: int, codes: Codes | None) -> np.ndarray:
    """Encode known values [rows, width], each of a row, in order: hashes by codes, and without these indices."""
    if codes is not None:
        place = np.minimum(np.searchsorted(codes.hashes, value), len(codes.hashes) - 1)
        hit = codes.hashes[place] == value if len(codes.hashes) else np.zeros(len(value), bool)
        row, value = row[hit], codes.indices[place[hit]]
    nth = np.arange(len(row)) - np.searchsorted(row, row, side="left")
    fits = nth < width
    out = np.full((rows, width), PADDING, np.int32)
    out[row[fits], nth[fits]] = value[fits]
    out[out[:, 0] < FIRST_INDEX, 0] = UNKNOWN
    return out
