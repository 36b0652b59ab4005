"""The lakes inside the lake, one a day, in which the stage `refit` trains on all clicks what is served."""

from datetime import date

from divspa.lake.tables import Lake
from divspa.storage import listed

FOLDER = "refit"


def folder_of(ds: date) -> str:
    """A day's, relative to the lake."""
    return f"{FOLDER}/{ds}"


def refit_lake(lake: Lake, ds: date) -> Lake:
    """The lake that `refit` makes anew for a day, under the lease of the lake around it.

    Each day has its own: two days may run at once. The folder is no `ds=DAY`, which readers would take for a column.
    """
    again = Lake(lake.spark, f"{lake.root}/{folder_of(ds)}")
    again.lease = lake.lease
    return again


def refit_lakes(lake: Lake) -> dict[date, Lake]:
    """Those of all days."""
    days = sorted(date.fromisoformat(entry.name) for entry in listed(f"{lake.root}/{FOLDER}"))
    return {day: refit_lake(lake, day) for day in days}


def served_from(lake: Lake, ds: date, *, refit: bool) -> Lake:
    """The lake with the models, items and users that are published of a day."""
    return refit_lake(lake, ds) if refit else lake
