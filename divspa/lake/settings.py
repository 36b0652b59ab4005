"""Spark as divspa starts it, and how long the lake keeps what it holds."""

from typing import Annotated

from pydantic import Field, StringConstraints

from divspa.settings import Place, Section, Text

FEWEST_TASKS, LEAST_MEMORY = 4, "3g"
Memory = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}[kmgtKMGT][bB]?$")]


class Spark(Section):
    """The few Spark settings that divspa sets by itself; spark-submit's own options win over them.

    Without `driver_memory`, `partitions` and `small_log` these follow from the inputs and the machine
    (divspa.lake.sizes).
    """

    master: Text = "local[*]"
    driver_memory: Memory | None = None
    partitions: Annotated[int, Field(ge=1)] | None = None
    small_log: bool | None = None
    event_log: Place | None = "event_logs"

    @property
    def tasks(self) -> int:
        """The partitions of a shuffle, also where nothing has been said and no input looked at."""
        return self.partitions or FEWEST_TASKS


class Maintain(Section):
    """How long the lake keeps what it holds."""

    keep_days: Annotated[int, Field(ge=0)] = 0
    pinned_days: Annotated[int, Field(ge=1, le=30)] = 7
    vacuum_hours: Annotated[float, Field(ge=0)] = 168.0
    file_mb: Annotated[int, Field(ge=1)] = 128
