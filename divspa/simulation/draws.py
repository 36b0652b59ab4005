"""Random numbers as a pure function of a seed and of what they are for, so that no order of computation matters."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bits = NDArray[np.uint64]

GOLDEN = 0x9E3779B97F4A7C15


class Draws:
    """Counter-based draws: the number for (seed, purpose, keys) is the same in any chunk, thread or process."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def bits(self, purpose: str, *keys: Any) -> Bits:
        """64 random bits for each element of the keys, which are integers or broadcastable arrays of them."""
        digest = hashlib.sha256(f"{self.seed} {purpose}".encode()).digest()
        mixed = np.frombuffer(digest[:8], np.uint64)
        for key in keys:
            mixed = _mix(np.asarray(key).astype(np.uint64) * np.uint64(GOLDEN) + mixed)
        return mixed

    def uniform(self, purpose: str, *keys: Any) -> Floats:
        """A number in [0, 1) for each element of the keys."""
        return as_uniform(self.bits(purpose, *keys))

    def below(self, limit: Any, purpose: str, *keys: Any) -> Ints:
        """An integer in [0, limit) for each element of the keys."""
        return (self.uniform(purpose, *keys) * limit).astype(np.int64)


def as_uniform(bits: Bits) -> Floats:
    """The upper 53 bits as a number in [0, 1)."""
    return (bits >> np.uint64(11)) * 2.0**-53


def halves(bits: Bits) -> tuple[Floats, Floats]:
    """Two independent numbers in [0, 1) of 32 bits each: half the cost of two draws."""
    return (bits >> np.uint64(32)) * 2.0**-32, (bits & np.uint64(0xFFFFFFFF)) * 2.0**-32


def zipf_rank(uniform: Floats, size: Any, exponent: float) -> Ints:
    """Ranks in [0, size) whose frequency falls as rank to the power -exponent (by the continuous inverse)."""
    if exponent == 1:
        rank = np.exp(uniform * np.log(np.asarray(size) + 1.0)) - 1
    else:
        power = 1 - exponent
        top = np.power(np.asarray(size) + 1.0, power)
        rank = np.power(uniform * (top - 1) + 1, 1 / power) - 1
    # Rounding may reach `size` itself when uniform is just below one.
    return np.minimum(rank.astype(np.int64), np.asarray(size) - 1)


def shuffled(index: Ints, size: int) -> Ints:
    """A fixed permutation of [0, size), evaluated where it is needed: an affine map by a number coprime to size."""
    step = max(1, int(size * 0.6180339887))
    while np.gcd(step, size) != 1:
        step += 1
    return (index * step + size // 3) % size


def _mix(x: Bits) -> Bits:
    """The finaliser of splitmix64, in place."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x ^= x >> np.uint64(shift)
        x *= np.uint64(factor)
    x ^= x >> np.uint64(31)
    return x
