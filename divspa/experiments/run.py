"""Run a suite's trials, as few stages as their settings need, and keep what each one ranked."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from divspa.data.items import read_items
from divspa.evaluation.test_set import POPULARITY, RANDOM, Ranking, TestSet
from divspa.experiments.outside import rank_outside
from divspa.experiments.suite import Run, Settings, Suite, Trial, runs_of, trial
from divspa.lake.tables import Lake
from divspa.linear.train import LINEAR
from divspa.models.checkpoint import Checkpoint, checkpoint_folder
from divspa.pipeline import STAGES
from divspa.progress import step
from divspa.publishing.channels import Channel
from divspa.schemas import EXAMPLES, EXPERIMENT_METRICS, EXPERIMENT_TRIALS, ITEM_FEATURES, TRAINING_RUNS
from divspa.training.stages import read_validation

DONE = "experiment.json"


@dataclass(frozen=True)
class Result:
    """The trials of one run on one data set, a seed each, with the searched settings that were chosen."""

    data_set: str
    run: Run
    chosen: Settings
    trials: list[Row]


@dataclass(frozen=True)
class Experiment:
    """A suite and the local folder that holds its results and, for each data set, a lake of its own.

    With `made_only` nothing is trained: the results are of the trials that the folder has.
    """

    suite: Suite
    spark: SparkSession
    out: str
    made_only: bool = False

    def run(self) -> list[Result]:
        """Make every trial that the results lack; killed at any moment, it goes on with the next trial."""
        return [result for data_set in self.suite.data_sets for result in self._run_on(data_set)]

    def _run_on(self, data_set: str) -> list[Result]:
        chosen: dict[str, Settings] = {}
        runs = list(runs_of(self.suite, data_set))
        trials: dict[str, list[Row]] = {run.name: [] for run in runs}
        for seed in dict.fromkeys(seed for run in runs for seed in self.suite.seeds_of(run)):
            for run in runs:
                if seed not in self.suite.seeds_of(run):
                    continue
                if run.name not in chosen:
                    chosen[run.name] = self._choose(data_set, run, chosen)
                if run.outside is None or not trials[run.name]:
                    wanted = trial(self.suite, data_set, run, seed, chosen, chosen[run.name])
                    trials[run.name] += self._rows(wanted)
        return [Result(data_set, run, chosen[run.name], trials[run.name]) for run in runs if trials[run.name]]

    def _choose(self, data_set: str, run: Run, chosen: Mapping[str, Settings]) -> Settings:
        """The searched settings with the best validation score on the first seed; ties go to the earlier."""
        candidates = run.candidates()
        if len(candidates) == 1:
            return candidates[0]
        first = self.suite.seeds_of(run)[0]
        tried = [trial(self.suite, data_set, run, first, chosen, settings) for settings in candidates]
        rows = [self._rows(candidate) for candidate in tried]
        scores = [row[0]["validation"] if row else -math.inf for row in rows]
        return candidates[scores.index(max(scores))]

    def _rows(self, wanted: Trial) -> list[Row]:
        """The trial's row of experiment_trials, made now when it is not there; none if it is not to be made."""
        results = Lake(self.spark, self.out)
        if results.exists(EXPERIMENT_TRIALS):
            rows = results.read(EXPERIMENT_TRIALS).where(
                (F.col("ds") == F.lit(wanted.ds))
                & (F.col("data_set") == wanted.data_set)
                & (F.col("trial") == wanted.key)
            )
            if found := rows.collect():
                return found
        if self.made_only:
            return []
        with step(f"{wanted.data_set}, {wanted.run}, seed {wanted.seed}"):
            self._make(wanted, results)
        return self._rows(wanted)

    def _make(self, wanted: Trial, results: Lake) -> None:
        folder = Path(self.out) / "lakes" / f"{wanted.data_set}-{wanted.stages()['build_features']}"
        lake = Lake(self.spark, str(folder))
        seconds = run_needed(lake, wanted, folder / DONE)
        test = TestSet.of(lake, wanted.config, wanted.ds)
        ranking, training = _ranked(test, wanted), {"losses": [], "scores": [], "valid_ranks": None}
        if wanted.outside is None:
            training = lake.read_day(TRAINING_RUNS, wanted.ds, model=wanted.model).collect()[0].asDict()
            training["valid_ranks"] = valid_ranks(lake, wanted)
        self._write(results, wanted, test, ranking, training, seconds)
        test.close()

    def _write(
        self,
        results: Lake,
        wanted: Trial,
        test: TestSet,
        ranking: Ranking,
        training: Mapping[str, Any],
        seconds: float,
    ) -> None:
        """The metrics first, then the trial, which says that all is there."""
        own = wanted.seed, wanted.model
        metrics = [(*own, part, metric, value) for (part, metric), value in test.metrics(ranking).items()]
        place = {"data_set": wanted.data_set, "trial": wanted.key}
        results.replace_day_with(EXPERIMENT_METRICS, metrics, wanted.ds, **place)
        row = (
            *own,
            wanted.config.model_dump_json(),
            max(training["scores"], default=None),
            training["losses"],
            training["scores"],
            seconds,
            ranking.user_key_T.tolist(),
            ranking.rank_T.tolist(),
            training["valid_ranks"],
        )
        results.replace_day_with(EXPERIMENT_TRIALS, [row], wanted.ds, **place)


def valid_ranks(lake: Lake, wanted: Trial) -> list[int] | None:
    """Where the trained model ranks the events of the split `valid`; None where nothing is held out."""
    validation = read_validation(lake, wanted.config, wanted.ds, lake.version(EXAMPLES))
    if validation is None:
        return None
    checkpoint = Checkpoint.load(checkpoint_folder(lake.root, wanted.ds, wanted.model))
    files = lake.files(ITEM_FEATURES, wanted.ds, lake.version(ITEM_FEATURES))
    items = read_items(files, checkpoint.layout.items)
    return validation.ranks(checkpoint.restore(), items.features_VF).tolist()


def run_needed(lake: Lake, wanted: Trial, done: Path) -> float:
    """Run the stages whose results in the lake are of other settings, and say how many seconds they took.

    `done` remembers what the lake holds, a stage at a time; a stage's key holds those of the stages that it reads.
    """
    held: dict[str, str] = json.loads(done.read_text()) if done.exists() else {}
    started = time.perf_counter()
    for stage, key in wanted.stages().items():
        if held.get(stage) != key:
            held.pop(stage, None)
            done.parent.mkdir(parents=True, exist_ok=True)
            done.write_text(json.dumps(held))
            with step(stage, tracker=lake.spark.sparkContext.statusTracker()):
                STAGES[stage](lake, wanted.config, wanted.ds)
            held[stage] = key
            done.write_text(json.dumps(held))
    return time.perf_counter() - started


def _ranked(test: TestSet, wanted: Trial) -> Ranking:
    if wanted.outside is None:
        return test.rank(Channel((wanted.model,)))
    if wanted.outside == LINEAR:
        return test.rank(Channel((LINEAR,)))
    if wanted.outside in (POPULARITY, RANDOM):
        popular = test.rank_popularity()
        return popular if wanted.outside == POPULARITY else test.rank_random(popular, wanted.seed)
    return rank_outside(test, wanted.outside, wanted.seed)
