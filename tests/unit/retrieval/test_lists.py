"""Ragged lists behave like Python's, and survive the way through Arrow."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import as_lists

from divspa.arrow import packed, packed_rows, padded, unpacked
from divspa.errors import ContractError
from divspa.lists import Lists
from divspa.retrieval.columns import ids_from, lists_from, vectors_from

ragged = st.lists(st.lists(st.integers(-(2**60), 2**60), max_size=5), max_size=8)


def plain(lists: Lists) -> list[list[int]]:
    return [lists.values_M[a:b].tolist() for a, b in zip(lists.offsets_N1, lists.offsets_N1[1:], strict=False)]


@given(ragged, st.data())
def test_take_keep_append_and_pad(values: list[list[int]], data: st.DataObject) -> None:
    lists = as_lists(values)
    rows = data.draw(st.lists(st.integers(0, len(values) - 1), max_size=9)) if values else []
    assert plain(lists.take(np.array(rows, np.int64))) == [values[row] for row in rows]
    assert plain(lists.take(np.array(rows, np.int64), np.full(len(rows), 2))) == [values[row][:2] for row in rows]
    even = lists.values_M % 2 == 0
    assert plain(lists.keep(even)) == [[v for v in value if v % 2 == 0] for value in values]
    assert plain(lists.append(np.arange(len(values)))) == [[*value, i] for i, value in enumerate(values)]
    assert lists.owners.tolist() == [i for i, value in enumerate(values) for _ in value]
    width = max(map(len, values), default=0)
    assert lists.padded(-7).tolist() == [value + [-7] * (width - len(value)) for value in values]
    assert lists.padded(-7, 2).tolist() == [[*value, -7, -7][:2] for value in values]


@given(ragged, st.data())
def test_lists_survive_arrow_even_from_a_slice(values: list[list[int]], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(values)))
    assert plain(unpacked(packed(as_lists(values)).slice(start), np.int64)) == values[start:]
    column = pa.array(values, pa.list_(pa.int64())).slice(start)
    assert plain(lists_from(column)) == values[start:]
    assert padded(column, 3, 0).tolist() == [(value + [0] * 3)[:3] for value in values[start:]]


def test_a_null_list_is_empty() -> None:
    column = pa.array([[1], None, [2, 3]], pa.list_(pa.int64()))
    assert plain(lists_from(column)) == [[1], [], [2, 3]]
    assert padded(column, 1, 0).tolist() == [[1], [0], [2]]


def test_vectors_survive_arrow_even_from_a_slice() -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    column = pa.array(vectors.tolist(), pa.list_(pa.float32())).slice(1)
    assert np.array_equal(vectors_from(column, 3), vectors[1:])
    assert np.array_equal(unpacked(packed_rows(vectors), np.float32).values_M.reshape(4, 3), vectors)


@pytest.mark.parametrize(
    ("values", "message"),
    [([[1.0, 2.0], None], "null"), ([[1.0, None]], "null"), ([[1.0]], r"dimension.*Expected: 2.*Found: 1")],
)
def test_broken_vectors_are_an_error(values: list, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        vectors_from(pa.array(values, pa.list_(pa.float32())), 2)


def test_null_ids_are_an_error() -> None:
    with pytest.raises(ContractError, match="id of a search holds a null"):
        ids_from(pa.array([1, None]))
