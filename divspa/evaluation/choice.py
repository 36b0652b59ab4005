"""Which channel is published: chosen by the held-out clicks, and given up where the test period contradicts."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divspa.evaluation.statistics import COMPARED, compare_all, holm, verdict
from divspa.gains import gains
from divspa.models.checkpoint import DIVSPA
from divspa.publishing.channels import Channel


@dataclass(frozen=True)
class Choice:
    """The best channel of each name with its score on so many held-out clicks, None where there are none; the one that
    these choose, and the one that stays when the test contradicts: what was published last, or the base.
    """

    best: dict[str, Channel]
    scores: dict[str, float | None]
    events: int
    chosen: Channel
    incumbent: Channel

    @property
    def ranked(self) -> list[Channel]:
        """Those of the fused channels that the test has to rank."""
        return [channel for channel in dict.fromkeys((self.chosen, self.incumbent)) if channel.is_fused]


def choose(ranks: Mapping[Channel, NDArray[np.int64]], criterion: str, last: str | None) -> Choice:
    """The channel with the best mean gain over held-out clicks, whose ranks are given; the simplest of equals.

    `last` names the channel published last. Without held-out clicks it is the model trained last, DivSPA where it is.
    """
    best: dict[str, Channel] = {}
    scores: dict[str, float | None] = {}
    for channel, ranks_E in ranks.items():
        score = float(gains(ranks_E, criterion).mean()) if len(ranks_E) else None
        known = scores.get(channel.name)
        if channel.name not in best or (score is not None and known is not None and score > known):
            best[channel.name], scores[channel.name] = channel, score
    first = next(iter(best.values()))
    if None in scores.values():
        chosen = best.get(DIVSPA, first)
    else:
        chosen = best[max(scores, key=lambda name: scores[name] or 0.0)]
    return Choice(best, scores, len(next(iter(ranks.values()))), chosen, best.get(last or "", first))


@dataclass(frozen=True)
class Answers:
    """The ranks of a channel at T test events, and their users."""

    rank_T: NDArray[np.integer]
    user_T: NDArray[np.int64]


def confirmed(choice: Choice, answers: Mapping[str, Answers], k: int, seed: int) -> tuple[Channel, str]:
    """The channel to publish, and why: the chosen one, unless it is worse than the incumbent on the test period.

    It is where hr@k or ndcg@k is, by the paired t-test over users at .05, corrected for both (Holm).
    """
    chosen, incumbent = choice.chosen, choice.incumbent
    if choice.scores[chosen.name] is None:
        return chosen, "no clicks are held out to choose by"
    if chosen == incumbent:
        return chosen, "best on held-out clicks"
    ours, theirs = answers[chosen.name], answers[incumbent.name]
    metrics = [f"{kind}@{k}" for kind in COMPARED]
    pairs = [(gains(ours.rank_T, metric), gains(theirs.rank_T, metric)) for metric in metrics]
    found = compare_all(pairs, ours.user_T, seed)
    corrected = holm([comparison.p_t for comparison in found])
    for metric, it, p_holm in zip(metrics, found, corrected, strict=True):
        if verdict(it.value - it.against, p_holm) == "worse":
            told = f"{100 * it.relative:+.1f} % {metric} on the test period (p {p_holm:.2g})"
            return incumbent, f"{chosen.name} was best on held-out clicks, but is worse: {told}"
    return chosen, f"best on held-out clicks, and not worse than {incumbent.name} on the test period"


def dropped(figure: float, before: float | None, max_drop: float, events: int) -> str:
    """How far a hit rate fell below the one before, where that is more than allowed (0: all is), and than chance makes
    of so many events on both days; else "".
    """
    noise = 2 * np.sqrt(2 * figure * (1 - figure) / events)
    if not max_drop or not before or figure + noise >= (1 - max_drop) * before:
        return ""
    return f"{figure:.4f} after {before:.4f}, {100 * (figure / before - 1):+.1f} %"
