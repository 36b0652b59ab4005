import numpy as np
import pyarrow as pa
import pytest

from divspa.encoding.codes import Codes, encode_field, encode_vectors

# The values -5, 3 and 9 (as hashes) have the indices 4, 2 and 3.
CODES = Codes(np.array([-5, 3, 9]), np.array([4, 2, 3], np.int32))


def test_one_value_is_known_unknown_or_missing() -> None:
    assert encode_field(pa.array([9, 7, None, -5]), 2, CODES, None).tolist() == [[3, 0], [1, 0], [1, 0], [4, 0]]


def test_of_several_values_the_known_ones_come_first_and_the_rest_is_cut() -> None:
    column = pa.array([[9, 7, 3], None, [], [7], [-5, 9, 3]], pa.list_(pa.int64()))
    expected = [[3, 2], [1, 0], [1, 0], [1, 0], [4, 3]]
    assert encode_field(column, 2, CODES, None).tolist() == expected
    assert encode_field(column.slice(3), 2, CODES, None).tolist() == expected[3:]


def test_a_bound_belongs_to_the_bucket_above_it() -> None:
    column = pa.array([-1e300, 0.0, 0.5, 2.0, float("inf"), None])
    assert encode_field(column, 1, None, [0.0, 2.0]).ravel().tolist() == [2, 3, 3, 4, 4, 1]
    assert encode_field(column, 1, None, []).ravel().tolist() == [2, 2, 2, 2, 2, 1]


def test_an_empty_vocabulary_knows_nothing_and_a_hash_needs_none() -> None:
    empty = Codes(np.zeros(0, np.int64), np.zeros(0, np.int32))
    assert encode_field(pa.array([3, None]), 1, empty, None).tolist() == [[1], [1]]
    assert encode_field(pa.array([2, None, 7], pa.int32()), 1, None, None).tolist() == [[2], [1], [7]]


def test_a_vector_is_held_as_the_bits_of_floats_of_unit_length() -> None:
    column = pa.array([[3, 4], None, [0, 0], [-2, 0]], pa.list_(pa.float32()))
    encoded = encode_vectors(column, 2)
    assert encoded.dtype == np.int32
    assert encoded.view(np.float32) == pytest.approx(np.array([[0.6, 0.8], [0, 0], [0, 0], [-1, 0]]))
    assert (encode_vectors(column.slice(2), 2) == encoded[2:]).all()
