"""The kernel of histories against a brute-force reading of what it promises."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from divspa.arrow import whole_groups
from divspa.features import examples
from divspa.features.examples import Shape, Users, example_rows, state_rows

LENGTH, WIDTH, TASTES = 3, 2, 4
# Codes of the items 0 to 6 for a sequence field of two places; 1 is unknown and 0 is padding.
CODES = np.array([[0, 0], [0, 0], [2, 3], [4, 0], [1, 0], [5, 2], [3, 0]], np.int32)
BEGINNING = -1000
CLICKS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(1, 6)), min_size=1, max_size=40)
VERSIONS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=5)
CUTS = st.lists(st.integers(0, 60), max_size=4)


def stream(clicks, versions, cutoffs) -> list[dict]:
    """Rows as Spark sorts them; item 1 stands for two items outside the catalogue, x and y."""
    users = sorted({user for user, _, _ in clicks})
    known = {(user, BEGINNING) for user in users} | {(user, at) for user, at in versions if user in users}
    rows = [
        {"user_key": user, "at": at, "user_id": f"u{user}", "user_features": [10 + at, user]} for user, at in known
    ] + [
        {
            "user_key": user,
            "at": at,
            "tie": place,
            "item_id": f"i{item}" if item > 1 else "xy"[place % 2],
            "item_index": item,
            "cutoff": cutoffs[user],
        }
        for place, (user, at, item) in enumerate(dict.fromkeys(clicks))
    ]
    return sorted(rows, key=lambda row: (row["user_key"], row["at"], row.get("tie", -1)))


def batches(rows: list[dict], cuts: list[int]) -> list[pa.RecordBatch]:
    time = pa.timestamp("us", "UTC")
    columns = {"user_key": pa.int64(), "at": time, "user_id": pa.string(), "user_features": pa.list_(pa.int32())}
    columns |= {"item_id": pa.string(), "item_index": pa.int32(), "cutoff": time}
    whole = pa.RecordBatch.from_pydict({c: pa.array([row.get(c) for row in rows], t) for c, t in columns.items()})
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    return [whole.slice(start, stop - start) for start, stop in pairwise(edges)]


def known_before(rows: list[dict], user: int, moment: int) -> dict:
    past = [row for row in rows if row["user_key"] == user and row["at"] < moment]
    events = [row["item_index"] for row in past if row.get("item_index", 0) >= 2]
    features = [row["user_features"] for row in past if "user_features" in row][-1]
    tastes = [int(code) for item in events for code in CODES[item] if code >= 2][-TASTES:] or [1]
    history = events[-LENGTH:]
    return {
        "user_id": f"u{user}",
        "user_key": user,
        "user_features": features + tastes + [0] * (TASTES - len(tastes)),
        "history": history + [0] * (LENGTH - len(history)),
        "history_length": len(history),
        "events": events,
    }


def expected_examples(rows: list[dict], first_only: bool) -> list[dict]:
    out, had = [], set()
    clicks = [row for row in rows if "item_id" in row]
    for row in clicks:
        user, is_test = row["user_key"], row["at"] >= row["cutoff"]
        key = (user, row["item_id"], is_test)
        skip = (first_only and key in had) or not (is_test or row["item_index"] >= 2)
        had.add(key)
        if skip:
            continue
        seen = is_test and any(
            c["at"] < c["cutoff"] and (c["user_key"], c["item_id"]) == (user, row["item_id"]) for c in clicks
        )
        known = known_before(rows, user, min(row["at"], row["cutoff"]))
        known.pop("events")
        trained = [c["at"] for c in clicks if c["user_key"] == user and c["at"] < c["cutoff"]]
        is_last = not is_test and row["at"] == max(trained) > min(trained)
        plain = {
            "is_test": is_test,
            "is_last": is_last,
            "item_id": row["item_id"],
            "item_index": row["item_index"],
            "seen": seen,
        }
        out.append(plain | {"clicked_at": row["at"]} | known)
    return out


def run(rows_of, rows: list[dict], cuts: list[int], first_only: bool) -> list[dict]:
    shape = Shape(LENGTH, WIDTH, first_only, ((TASTES, CODES),))
    found = [out for part in whole_groups(batches(rows, cuts), "user_key") for out in rows_of(Users(part), shape)]
    dicts = [row for batch in found for row in batch.to_pylist()]
    return [row | {k: int(v.timestamp() * 1e6 + 0.5) for k, v in row.items() if k == "clicked_at"} for row in dicts]


@given(CLICKS, VERSIONS, st.tuples(*[st.integers(0, 12)] * 4), CUTS, st.booleans(), st.sampled_from([1, 2, 20_000]))
def test_examples_know_what_lay_strictly_before_wherever_batches_are_cut(
    clicks, versions, cutoffs, cuts, first_only, block
) -> None:
    rows = stream(clicks, versions, cutoffs)
    before, examples.BLOCK = examples.BLOCK, block
    try:
        assert run(example_rows, rows, cuts, first_only) == expected_examples(rows, first_only)
    finally:
        examples.BLOCK = before


@given(CLICKS, VERSIONS, st.tuples(*[st.integers(0, 12)] * 4), CUTS)
def test_states_at_the_cutoff_and_at_the_end(clicks, versions, cutoffs, cuts) -> None:
    rows = stream(clicks, versions, cutoffs)
    found = run(state_rows, rows, cuts, first_only=True)
    assert len(found) == 2 * len({user for user, _, _ in clicks})
    for row in found:
        moment = cutoffs[row["user_key"]] if row.pop("as_of") == "cutoff" else 1000
        known = known_before(rows, row["user_key"], moment)
        assert row == known | {"clicked": sorted(set(known.pop("events")))}


def test_a_user_of_a_million_clicks_half_of_them_on_one_item() -> None:
    count = 1_000_000
    item = np.where(np.arange(count) % 2, 6, np.arange(count) // 2 + 7).astype(np.int32)
    at = pa.array(np.arange(count)).cast(pa.timestamp("us", "UTC"))
    never = pa.array([None] * count, pa.string())
    clicks = [pa.array(np.zeros(count, np.int64)), at, never, pa.array([None] * count, pa.list_(pa.int32()))]
    clicks += [pa.array(item).cast(pa.string()), pa.array(item), pa.array(np.full(count, count)).cast(at.type)]
    version = batches(stream([(0, 0, 2)], [], [0]), [])[0].slice(0, 1)
    whole = pa.RecordBatch.from_arrays(clicks, version.schema.names)
    parts = [version, *(whole.slice(start, 10_000) for start in range(0, count, 10_000))]
    shape = Shape(50, WIDTH, first_only=True, sequences=())
    (user,) = whole_groups(parts, "user_key")
    blocks = list(example_rows(Users(user), shape))
    assert max(block.num_rows for block in blocks) <= examples.BLOCK
    assert sum(block.num_rows for block in blocks) == count // 2 + 1
    last = blocks[-1].slice(blocks[-1].num_rows - 1).to_pylist()[0]
    assert last["history"] == item[count - 52 : count - 2].tolist()
