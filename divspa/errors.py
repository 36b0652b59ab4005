"""The few errors divspa raises; each message names the thing, what was expected, what was found and the remedy."""

import re


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


class GateError(DivSPAError):
    """A day's features differ too much from what is sound, or from the day before, to be published."""


class SetupError(DivSPAError):
    """The machine lacks something that divspa cannot install by itself, such as Java."""


class TrainingError(DivSPAError):
    """Training or scoring cannot go on, for example because a loss or a score is not finite."""


def as_divspa_error(error: BaseException) -> str | None:
    """The message of a DivSPAError, also when it was raised inside a Spark worker and arrives as text; else None."""
    if isinstance(error, DivSPAError):
        return str(error)
    names = "|".join(kind.__name__ for kind in DivSPAError.__subclasses__())
    raised = re.search(rf"^divspa\.errors\.(?:{names}): (.+)$", str(error), re.MULTILINE)
    return raised.group(1) if raised else None
