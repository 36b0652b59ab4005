"""The settings that a day has chosen, for the stages that follow, and those of an earlier day that may serve again."""

import json
from dataclasses import dataclass
from datetime import date, timedelta

from pyspark.sql import Row
from pyspark.sql import functions as F

from divspa.augmentation.settings import DivSPA
from divspa.config import Config
from divspa.lake.tables import Lake
from divspa.schemas import TUNING_TRIALS
from divspa.settings import fingerprint
from divspa.training.rates import with_rate
from divspa.tuning.settings import CHOSEN


@dataclass(frozen=True)
class Choice:
    """Settings of `divspa`, and the day on which they were chosen."""

    settings: DivSPA
    made_on: date

    @classmethod
    def of(cls, row: Row) -> "Choice":
        """From a row of tuning_trials."""
        return cls(DivSPA.model_validate(json.loads(row.settings)), row.made_on)


def with_choice(lake: Lake, config: Config, ds: date) -> Config:
    """The configuration with what the day's `train_base` and `tune` chose; as it is where nothing is to be chosen.

    Raises MissingTableError when these stages have not run.
    """
    if config.divspa.choose == "fixed":
        return config
    config = with_rate(lake, config, ds)
    (row,) = lake.read_day(TUNING_TRIALS, ds).where("chosen").collect()
    return config.model_copy(update={"divspa": taken_over(config.divspa, Choice.of(row).settings)})


def taken_over(given: DivSPA, chosen: DivSPA) -> DivSPA:
    """The given settings with those that are chosen in their place."""
    return given.model_copy(update={name: getattr(chosen, name) for name in CHOSEN})


def to_try(config: Config) -> list[DivSPA]:
    """The settings to choose from, each once: first those that are given, then the candidates."""
    settings = [config.divspa, *(candidate.over(config.divspa) for candidate in config.tuning.candidates)]
    return [each for place, each in enumerate(settings) if each not in settings[:place]]


def asked(config: Config) -> str:
    """A hash of all that a choice is made for and among: one made for something else is not used again."""
    tuning, training = config.tuning.model_dump(exclude={"days"}), config.training
    return fingerprint(*to_try(config), sorted(tuning.items()), config.model, training, config.evaluation.events)


def earlier_choice(lake: Lake, config: Config, ds: date) -> Choice | None:
    """The choice of the newest earlier day that was asked for the same and is not too old; None if there is none."""
    if not lake.exists(TUNING_TRIALS):
        return None
    oldest = ds - timedelta(days=config.tuning.days - 1)
    rows = lake.read(TUNING_TRIALS).where(F.col("chosen") & (F.col("ds") < F.lit(ds)))
    row = rows.where((F.col("asked") == asked(config)) & (F.col("made_on") >= F.lit(oldest)))
    newest = row.orderBy(F.desc("ds")).head()
    return None if newest is None else Choice.of(newest)
