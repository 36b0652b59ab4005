"""Memory that one training step frees stays with the process for the next."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
MIB = 1 << 20
TRAINING = {M_MMAP_THRESHOLD: 256 * MIB, M_TRIM_THRESHOLD: 1024 * MIB}
# The most to which glibc raises both by itself.
AFTERWARDS = {M_MMAP_THRESHOLD: 32 * MIB, M_TRIM_THRESHOLD: 64 * MIB}


@contextmanager
def reused_memory() -> Iterator[None]:
    """Let malloc keep up to a gigabyte of freed memory, and give it back to the system at the end.

    glibc hands a freed tensor of more than 32 MiB back to the kernel, which clears its pages anew at every step: a
    fifth of the time of one with histories of 200. Other C libraries have no such call, and nothing happens.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        yield
        return
    for setting, value in TRAINING.items():
        libc.mallopt(setting, value)
    try:
        yield
    finally:
        for setting, value in AFTERWARDS.items():
            libc.mallopt(setting, value)
        libc.malloc_trim(0)
