"""The lake inside the lake, in which the stage `refit` trains on all clicks what is served."""

from divspa.lake.tables import Lake

FOLDER = "refit"


def refit_lake(lake: Lake) -> Lake:
    """The lake that `refit` makes anew each day, under the lease of the lake around it."""
    again = Lake(lake.spark, f"{lake.root}/{FOLDER}")
    again.lease = lake.lease
    return again


def served_from(lake: Lake, *, refit: bool) -> Lake:
    """The lake with the models, items and users that are published."""
    return refit_lake(lake) if refit else lake
