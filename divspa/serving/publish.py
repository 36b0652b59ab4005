"""Stage `publish`, the last of a day: from here on it is the day that other teams read."""

from datetime import date

from divspa.config import Config
from divspa.lake.catalog import register
from divspa.lake.published import publish_day, published
from divspa.lake.tables import Lake
from divspa.progress import console
from divspa.serving.bundle import newest_of


def publish(lake: Lake, config: Config, ds: date) -> None:
    """Add a row to `published` that names the day's tables, models and bundle, unless a later day is published.

    Raises MissingTableError when the day has no lists or no bundle.
    """
    current = published(lake)
    if current is not None and current.ds > ds:
        told = f"{current.ds} stays published; `divspa publish` or `divspa rollback` goes back to {ds}"
        console.print(told, highlight=False, soft_wrap=True)
        return
    publish_anyway(lake, config, ds)


def publish_anyway(lake: Lake, config: Config, ds: date) -> None:
    """Publish a day, also one before that which is published, and name its tables in `catalog`.

    Raises as `publish`, and ConfigError when the catalogue cannot be used.
    """
    folder = newest_of(f"{lake.root}/serving/ds={ds}")
    publish_day(lake, config, ds, folder.removeprefix(lake.root + "/"))
    if config.catalog is not None:
        register(lake, config.catalog)
