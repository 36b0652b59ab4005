"""Numbers as fixed-width Arrow strings, built from buffers: tens of times faster than Python strings."""

import numpy as np
import pyarrow as pa

from divspa.simulation.draws import Ints

_TAIL = np.frombuffer("".join(f"{n:04d}" for n in range(10_000)).encode(), np.uint32)


def numbered(letter: str, numbers: Ints, limit: int) -> pa.Array:
    """`letter` and the number with leading zeros, as wide as any number below `limit` needs (3, 7 or 11 digits)."""
    head = np.frombuffer("".join(f"{letter}{n:03d}" for n in range(1000)).encode(), np.uint32)
    tails = 0
    while 1000 * 10_000**tails < limit:
        tails += 1
    words = np.empty((len(numbers), 1 + tails), np.uint32)
    rest = numbers.astype(np.int64)
    for column in range(tails, 0, -1):
        above = rest // 10_000
        words[:, column] = _TAIL[rest - above * 10_000]
        rest = above
    words[:, 0] = head[rest]
    offsets = np.arange(len(numbers) + 1, dtype=np.int32) * (4 * (1 + tails))
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(words))
