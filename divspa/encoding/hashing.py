"""Spark's xxhash64 of a few values at a time: XXH64 with the seed 42 (Collet, xxHash fast digest algorithm)."""

SEED = 42
BITS = (1 << 64) - 1
P1, P2, P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P4, P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
STRIPE, LANE, HALF_LANE = 32, 8, 4


def xxhash64(*values: str | int) -> int:
    """The hash of some values as Spark has it: texts as UTF-8, whole numbers as BIGINT; a signed number of 64 bits."""
    code = SEED
    for value in values:
        data = value.encode() if isinstance(value, str) else value.to_bytes(8, "little", signed=True)
        code = _xxh64(data, code)
    return code - (1 << 64) if code >> 63 else code


def _xxh64(data: bytes, seed: int) -> int:
    at, end = 0, len(data)
    if end >= STRIPE:
        lanes = [(seed + P1 + P2) & BITS, (seed + P2) & BITS, seed, (seed - P1) & BITS]
        while at + STRIPE <= end:
            for n, lane in enumerate(lanes):
                lanes[n] = _round(lane, int.from_bytes(data[at + LANE * n : at + LANE * (n + 1)], "little"))
            at += STRIPE
        code = sum(_rotated(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True)) & BITS
        for lane in lanes:
            code = ((code ^ _round(0, lane)) * P1 + P4) & BITS
    else:
        code = (seed + P5) & BITS
    code = (code + end) & BITS
    while at + LANE <= end:
        code ^= _round(0, int.from_bytes(data[at : at + LANE], "little"))
        code = (_rotated(code, 27) * P1 + P4) & BITS
        at += LANE
    if at + HALF_LANE <= end:
        code ^= (int.from_bytes(data[at : at + HALF_LANE], "little") * P1) & BITS
        code = (_rotated(code, 23) * P2 + P3) & BITS
        at += HALF_LANE
    for byte in data[at:]:
        code = (_rotated(code ^ (byte * P5) & BITS, 11) * P1) & BITS
    code = ((code ^ (code >> 33)) * P2) & BITS
    code = ((code ^ (code >> 29)) * P3) & BITS
    return code ^ (code >> 32)


def _round(lane: int, value: int) -> int:
    return (_rotated((lane + value * P2) & BITS, 31) * P1) & BITS


def _rotated(value: int, by: int) -> int:
    return ((value << by) | (value >> (64 - by))) & BITS
