"""Errors that divspa raises inside Spark's workers, raised again on the driver as what they are."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.errors.exceptions.base import PySparkException

from divspa import errors

RAISED = re.compile(r"^divspa\.errors\.(\w+): (.+)$", re.MULTILINE)


def as_text(error: errors.DivSPAError) -> str:
    """The error as a traceback ends with it."""
    return f"divspa.errors.{type(error).__name__}: {error}"


def raise_as_divspa_error(text: str | None) -> None:
    """Raise the DivSPAError that the text of a traceback names; do nothing when it names none."""
    if found := RAISED.search(text or ""):
        raise getattr(errors, found[1], errors.DivSPAError)(found[2].strip())


@contextmanager
def worker_errors() -> Iterator[None]:
    """Around a Spark action: raise the DivSPAError of a worker instead of Spark's wrapping of it."""
    try:
        yield
    except PySparkException as error:
        raise_as_divspa_error(str(error))
        raise
