"""Commits that lose against another run's: Delta lets one of two that touch the same part of a table win."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from py4j.protocol import Py4JJavaError
from pyspark.errors.exceptions.base import PySparkException

from divspa.errors import ConflictError
from divspa.progress import console

T = TypeVar("T")
TRIES, LONGEST = 6, 4.0
SPARK_ERRORS = (PySparkException, Py4JJavaError)
# Names that Delta gives them; they arrive as one of several Python exceptions, or as none of its own.
NAMES = (
    "DELTA_CONCURRENT_",
    "DELTA_METADATA_CHANGED",
    "DELTA_PROTOCOL_CHANGED",
    "DELTA_TABLE_ALREADY_EXISTS",
    "DELTA_PATH_EXISTS",
    # Another run makes the table at this moment: its folder is there, and its log is not yet.
    "DELTA_CREATE_TABLE_WITH_NON_EMPTY_LOCATION",
)


def is_conflict(error: BaseException) -> bool:
    """Whether a commit lost against another one, so that what it did has to be done again on the newest version."""
    return isinstance(error, SPARK_ERRORS) and any(name in str(error) for name in NAMES)


def retried(what: str, action: Callable[[], T]) -> T:
    """Do it again, some times and at random moments, while its commit loses against others.

    The action must change nothing unless its commit succeeds. Raises ConflictError when it always lost.
    """
    for turn in range(TRIES):
        try:
            return action()
        except SPARK_ERRORS as error:
            if not is_conflict(error):
                raise
            if turn == TRIES - 1:
                raise ConflictError(
                    f"Another run wrote {what} at the same time, {TRIES} times in a row",
                    found=str(error).partition("\n")[0][:300],
                    remedy="run the stage again when the other run has ended",
                ) from error
            console.print(f"Another run wrote {what} at the same time; trying again", highlight=False, soft_wrap=True)
            time.sleep(random.uniform(0, min(LONGEST, 0.25 * 2**turn)))  # noqa: S311 - no secret is drawn
    raise AssertionError("unreachable")
