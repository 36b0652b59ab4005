"""Memory that one training step frees stays with the process for the next."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
KIB, MIB = 1 << 10, 1 << 20
SETTINGS = {M_MMAP_THRESHOLD: 256 * MIB, M_TRIM_THRESHOLD: 1024 * MIB}
DEFAULTS = {M_MMAP_THRESHOLD: 128 * KIB, M_TRIM_THRESHOLD: 128 * KIB}


@contextmanager
def reused_memory() -> Iterator[None]:
    """Let malloc keep up to a gigabyte of freed memory, and give it back to the system at the end.

    glibc hands a freed tensor of some MiB back to the kernel, which clears its pages anew at every step: a third of the
    processor time of one. Other C libraries have no such call, and nothing happens.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        yield
        return
    for setting, value in SETTINGS.items():
        libc.mallopt(setting, value)
    try:
        yield
    finally:
        for setting, value in DEFAULTS.items():
            libc.mallopt(setting, value)
        libc.malloc_trim(0)
