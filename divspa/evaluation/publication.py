"""What evaluation says of publishing: the table `channels`, and the gate that holds a day back."""

from dataclasses import dataclass
from datetime import date

from pyspark.sql import functions as F

from divspa.config import Config
from divspa.errors import GateError
from divspa.evaluation.choice import Answers, Choice, choose, confirmed, dropped
from divspa.evaluation.test_set import Ranking, TestSet
from divspa.gains import gains
from divspa.lake.tables import Lake
from divspa.publishing.channels import Channel, candidates
from divspa.publishing.held_out import HeldOut, ranks_of_channels, scorers_of
from divspa.schemas import CHANNELS


@dataclass(frozen=True)
class Before:
    """What was published last: the channel, the metric that was compared, and its figure."""

    channel: str
    metric: str
    test: float | None


def choose_channel(
    lake: Lake, config: Config, ds: date, test: TestSet, models: list[str], before: Before | None
) -> Choice:
    """The choice among what these models can make."""
    channels = list(candidates(models, config.publishing))
    needed = dict.fromkeys(model for channel in channels for model in channel.models)
    popularity_V, listed_V = test.by_index()
    events = HeldOut.of(lake, config, ds, listed_V)
    scorers = scorers_of(lake, ds, list(needed), popularity_V)
    ranks = ranks_of_channels(channels, scorers, events, config.fusion_depth)
    return choose(ranks, config.publishing.criterion, before and before.channel)


def last_published(lake: Lake, ds: date) -> Before | None:
    """Of the newest day before that published anything."""
    if not lake.exists(CHANNELS):
        return None
    rows = lake.read(CHANNELS).where(F.col("published") & (F.col("ds") < F.lit(ds))).orderBy(F.col("ds").desc())
    found = rows.select("channel", "metric", "test").head()
    return None if found is None else Before(**found.asDict())


@dataclass(frozen=True)
class Decision:
    """The rows of channels, in the order of its columns after ds; what falls too far behind the last published day."""

    rows: list[tuple]
    fell: str


def decide(
    config: Config, choice: Choice, rankings: list[Ranking], versions: dict[str, str], before: Before | None
) -> Decision:
    """What is published, once the test period has had its say."""
    k = config.evaluation.ks[0]
    metric = f"hr@{k}"
    answers = {ranking.model: Answers(ranking.rank_T, ranking.user_key_T) for ranking in rankings}
    figures = {name: float(gains(each.rank_T, metric).mean()) for name, each in answers.items()}
    published, reason = confirmed(choice, answers, k, config.seed)
    comparable = before.test if before is not None and before.metric == metric else None
    events = len(rankings[0].rank_T)
    fell = dropped(figures[published.name], comparable, config.publishing.max_drop, events)
    told = f"held back: {metric} of {fell}" if fell else reason

    def row(name: str, channel: Channel) -> tuple:
        made = name, list(channel.models), list(channel.weights), channel.version(versions)
        chosen_by = config.publishing.criterion, choice.scores[name], choice.events
        is_it = channel == published
        return *made, *chosen_by, metric, figures.get(name), is_it and not fell, told if is_it else None

    rows = [row(name, channel) for name, channel in choice.best.items()]
    return Decision(rows, f"{metric} of {published.name}, {fell}" if fell else "")


def require_no_drop(fell: str, config: Config) -> None:
    """Raise GateError for a day that may not follow the last published one."""
    if fell:
        raise GateError(
            "The lists of the day are worse than those published last",
            expected=f"a fall of at most {100 * config.publishing.max_drop:.0f} % (`publishing.max_drop`)",
            found=fell,
            remedy="look at the day's report; the last published day stays what it was",
        )
