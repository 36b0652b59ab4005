"""The lakes inside the lake, one a day, in which the stage `refit` trains on all clicks what is served."""

from datetime import date

from divspa.lake.tables import Lake
from divspa.storage import listed

FOLDER = "refit"


def refit_lake(lake: Lake, ds: date) -> Lake:
    """The lake that `refit` makes anew for a day, under the lease of the lake around it.

    Each day has its own: two days may run at once.
    """
    again = Lake(lake.spark, f"{lake.root}/{FOLDER}/ds={ds}")
    again.lease = lake.lease
    return again


def refit_lakes(lake: Lake) -> dict[date, Lake]:
    """Those of all days."""
    names = sorted(entry.name for entry in listed(f"{lake.root}/{FOLDER}") if entry.name.startswith("ds="))
    days = [date.fromisoformat(name.removeprefix("ds=")) for name in names]
    return {day: refit_lake(lake, day) for day in days}


def served_from(lake: Lake, ds: date, *, refit: bool) -> Lake:
    """The lake with the models, items and users that are published of a day."""
    return refit_lake(lake, ds) if refit else lake
