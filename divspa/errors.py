"""The few errors divspa raises; each message names the thing, what was expected, what was found and the remedy."""

import os
import re
from urllib.parse import unquote

# Where a Delta table keeps its log.
LOG = "_delta_log"


class DivSPAError(Exception):
    """Anything that a user can mend; the command line prints its message without a stack trace."""

    def __init__(self, what: str, *, expected: str = "", found: str = "", remedy: str = "") -> None:
        parts = [what.rstrip(".") + "."]
        parts += [
            f"{label}: {text.rstrip('.')}."
            for label, text in (("Expected", expected), ("Found", found), ("Remedy", remedy))
            if text
        ]
        super().__init__(" ".join(parts))


class ConfigError(DivSPAError):
    """A configuration file or option cannot be used."""


class InputError(DivSPAError):
    """A click log or attribute table is missing, unreadable or lacks a column."""


class MissingTableError(DivSPAError):
    """A stage needs a table, or a day of it, that no earlier stage has written."""


class ContractError(DivSPAError):
    """Rows break the contract of the table they are written to."""


class DamagedError(DivSPAError):
    """A file of the lake is missing, cut short or garbage, so what it held has to be made again."""

    @classmethod
    def of_file(cls, file: str, found: str) -> "DamagedError":
        """The error for a file of a table's data or of its log, with how to mend the table."""
        file = unquote(file)
        if f"/{LOG}/" in file:
            remedy = (
                "if it is the last entry of its log, remove it and the .crc beside it, which takes the table back a "
                "version, and run the day again; else bring it back from a copy, or begin the table anew"
            )
            return cls(f"The log entry {file} is broken", found=found, remedy=remedy)
        day = re.search(r"/ds=(\d{4}-\d{2}-\d{2})/", file)
        again = f"`divspa run --config FILE --ds {day[1]}`" if day else "the stage that wrote it"
        remedy = f"run {again} again, which writes the day's files anew"
        return cls(f"The file {file} is broken", found=found, remedy=remedy)


class ConflictError(DivSPAError):
    """Another run works on the same day, or writes the same part of a table, at the same time."""


class SetupError(DivSPAError):
    """The machine lacks something that divspa cannot install by itself, such as Java."""


class TrainingError(DivSPAError):
    """Training or scoring cannot go on, for example because a loss or a score is not finite."""


class GateError(DivSPAError):
    """What a stage made is not healthy enough to be published."""


def as_divspa_error(error: BaseException) -> str | None:
    """The message of a DivSPAError, also when it was raised inside a Spark worker and arrives as text; else None."""
    if isinstance(error, DivSPAError):
        return str(error)
    names = "|".join(kind.__name__ for kind in DivSPAError.__subclasses__())
    raised = re.search(rf"^divspa\.errors\.(?:{names}): (.+)$", str(error), re.MULTILINE)
    return raised.group(1) if raised else None


def one_line(error: BaseException) -> str:
    """An error's message on one line of at most 1000 characters, without credentials."""
    known = as_divspa_error(error)
    text = known or f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    for name, value in os.environ.items():
        if re.search("SECRET|TOKEN|PASSWORD|ACCESS_KEY", name.upper()) and len(value) >= 8:
            text = text.replace(value, "***")
    return " ".join(re.sub(r"://[^/@\s]+@", "://***@", text).split())[:1000]
