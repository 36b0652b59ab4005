"""Which score of held-out clicks chooses best: `python -m divspa.experiments.regret OUT` after an experiment there.

What a criterion would have chosen among the trials of a data set that augment one base, and what that costs on the test
period, whose figures choose nothing but the criterion.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import Row
from pyspark.sql import functions as F

from divspa.config import Config
from divspa.experiments.suite import Trial
from divspa.gains import gains
from divspa.lake.session import spark_session
from divspa.lake.settings import Spark
from divspa.lake.tables import Lake
from divspa.models.checkpoint import DIVSPA
from divspa.schemas import EXAMPLES, EXPERIMENT_METRICS, EXPERIMENT_TRIALS
from divspa.tuning.rounds import ahead

CRITERIA = ("ndcg", "ndcg@200", "ndcg@100", "hr@50", "hr@100", "hr@200", "mrr")
JUDGES = ("hr@50", "ndcg@50")
# Of the held-out events the newest, in turn; and of their users a half, by a hash.
NEWEST = (1.0, 0.5)


@dataclass(frozen=True)
class Held:
    """A trained setting: its ranks of E held-out events, and its figures on the test period."""

    name: str
    ranks_E: NDArray[np.int64]
    test: dict[str, float]


@dataclass(frozen=True)
class Events:
    """Whose the E held-out events are, and when they were, in the order of the ranks."""

    users_E: NDArray[np.int64]
    clicked_E: NDArray[np.datetime64]

    def newest(self, share: float) -> NDArray[np.bool_]:
        """Which events are among about this share, the newest."""
        return self.clicked_E >= np.quantile(self.clicked_E, 1 - share, method="nearest")

    def half(self) -> NDArray[np.bool_]:
        """The events of every other user."""
        _, user_E = np.unique(self.users_E, return_inverse=True)
        return user_E % 2 == 0


def main(out: str) -> None:
    """Print the tables of every data set that an experiment's folder has."""
    results = Lake(spark_session(Spark(master="local[2]", driver_memory="2g", partitions=2)), out)
    trials = results.read(EXPERIMENT_TRIALS).where("valid_ranks IS NOT NULL").orderBy("data_set", "trial").collect()
    metrics = results.read(EXPERIMENT_METRICS).where(F.col("slice") == "all").collect()
    for data_set in dict.fromkeys(trial["data_set"] for trial in trials):
        here = [trial for trial in trials if trial["data_set"] == data_set]
        events = _events(results, data_set, here[0])
        print("\n".join(tables(data_set, [_held(trial, metrics) for trial in here], events)))
    results.spark.stop()


def tables(data_set: str, every: list[Held], events: Events) -> Iterator[str]:
    """The settings with their figures, and what each criterion chooses of them."""
    yield f"\n{data_set}: {len(events.users_E)} held-out events of {len(np.unique(events.users_E))} users\n"
    yield f"| setting | test {' | test '.join(JUDGES)} | valid {' | valid '.join(CRITERIA)} |"
    yield f"| --- {'| --- ' * (len(JUDGES) + len(CRITERIA))}|"
    for each in sorted(every, key=lambda held: -held.test[JUDGES[0]]):
        scores = [gains(each.ranks_E, criterion).mean() for criterion in CRITERIA]
        yield f"| {each.name} | {' | '.join(f'{value:.4f}' for value in [*map(each.test.get, JUDGES), *scores])} |"
    yield f"\n| events | users | criterion | chooses | regret {' | regret '.join(JUDGES)} | best over base, errors |"
    yield f"| --- | --- | --- | --- {'| --- ' * len(JUDGES)}| --- |"
    halves = {"": np.ones(len(events.users_E), bool), ", of half of the users": events.half()}
    for share in NEWEST:
        for half, half_E in halves.items():
            chosen_E = events.newest(share) & half_E
            for criterion in CRITERIA:
                yield _row(f"{f'newest {share:.0%}' if share < 1 else 'all'}{half}", every, events, chosen_E, criterion)


def _row(what: str, every: list[Held], events: Events, chosen_E: NDArray[np.bool_], criterion: str) -> str:
    found = {each.name: gains(each.ranks_E[chosen_E], criterion) for each in every}
    chosen = max(every, key=lambda each: found[each.name].mean())
    regrets = [1 - chosen.test[judge] / max(each.test[judge] for each in every) for judge in JUDGES]
    best, users_E = max(every, key=lambda each: each.test[JUDGES[0]]), events.users_E[chosen_E]
    lead = ahead(found[best.name], found["base"], users_E) if "base" in found else float("nan")
    cells = " | ".join(f"{regret:.1%}" for regret in regrets)
    return f"| {what} | {len(np.unique(users_E))} | {criterion} | {chosen.name} | {cells} | {lead:+.1f} |"


def _held(trial: Row, metrics: list[Row]) -> Held:
    name, divspa = "base", json.loads(trial["settings"])["divspa"]
    if trial["model"] == DIVSPA:
        chosen = " chosen by the day" if divspa.get("choose") == "auto" else ""
        name = f"{'+'.join(divspa['ways'])}, beta {divspa['beta']}, discount {divspa['popularity_discount']:g}{chosen}"
    own = [row for row in metrics if row["trial"] == trial["trial"] and row["data_set"] == trial["data_set"]]
    test = {row["metric"]: row["value"] for row in own if row["metric"] in JUDGES}
    return Held(name, np.array(trial["valid_ranks"]), test)


def _events(results: Lake, data_set: str, trial: Row) -> Events:
    """From the lake in which the trial was made, in the order of the ranks."""
    ds: date = trial["ds"]
    made = Trial(data_set, ds, "", None, None, Config.model_validate_json(trial["settings"]))
    lake = Lake(results.spark, f"{results.root}/lakes/{data_set}-{made.stages()['build_features']}")
    rows = lake.read_day(EXAMPLES, ds, split="valid").orderBy("example_id").select("user_key", "clicked_at").toArrow()
    return Events(*(rows[name].to_numpy() for name in ("user_key", "clicked_at")))


if __name__ == "__main__":
    main(sys.argv[1])
