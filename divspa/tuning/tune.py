"""Stage `tune`: choose the day's ways, discount, whose scores weigh, and beta by trials on held-out clicks."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date

import numpy as np
from numpy.typing import NDArray

from divspa.augmentation.settings import DivSPA
from divspa.config import Config
from divspa.data.items import read_items
from divspa.errors import TrainingError
from divspa.gains import gains
from divspa.lake.tables import Lake
from divspa.models.checkpoint import Checkpoint, checkpoint_folder
from divspa.progress import console, step
from divspa.schemas import EXAMPLES, ITEM_FEATURES, TRAINING_RUNS, TUNING_TRIALS
from divspa.settings import fingerprint
from divspa.storage import remove
from divspa.training.fit import Job
from divspa.training.rates import with_rate
from divspa.training.stages import read_layout, read_validation
from divspa.training.validation import Validation
from divspa.tuning.choice import asked, earlier_choice, taken_over, to_try
from divspa.tuning.positives import Sample, drawn_positives
from divspa.tuning.rounds import CONTROL, MARGIN, ahead, best_first, plan, settled
from divspa.tuning.settings import CHOSEN
from divspa.tuning.trials import Bench, Outcome

# What is told of every trial, beside the criterion that chooses.
TOLD = ("ndcg", "ndcg@100", "ndcg@200", "hr@50", "hr@200", "mrr")
Gains = dict[int, NDArray[np.float64]]


def tune(lake: Lake, config: Config, ds: date) -> None:
    """Write tuning_trials of one day where `divspa.choose` is auto; nothing is done where it is fixed.

    An earlier day's choice is taken again while it is young enough and, in a short trial on this day, not behind the
    base that is trained on without added positives; else all candidates are tried. Clicks of the split `valid` choose,
    and none of the test period is read; where it has none, the settings that are given stay.
    """
    if config.divspa.choose == "fixed":
        return
    validation = read_validation(lake, config, ds, lake.version(EXAMPLES), config.tuning.newest)
    if validation is None or validation.users_E is None:
        _keep_what_is_given(lake, config, ds)
        return
    examples = lake.read_day(TRAINING_RUNS, ds, model=config.model.name).select("examples").head()[0]  # pyright: ignore[reportOptionalSubscript]
    pairs = lake.read_day(EXAMPLES, ds, split="train").count()
    settings = dict(enumerate(to_try(config)))
    rounds = plan(len(settings), config.tuning.budget * examples, pairs)
    with trial_bench(lake, with_rate(lake, config, ds), ds, validation, validation.users_E) as bench:
        if (earlier := earlier_choice(lake, config, ds)) is not None:
            again = {0: taken_over(config.divspa, earlier.settings)}
            outcomes = race(lake, config, ds, bench, again, Sample(rounds[:1], pairs, config.seed))
            if still_holds(outcomes, config, bench):
                _write(
                    lake,
                    config,
                    ds,
                    outcomes,
                    0,
                    earlier.made_on,
                    users_E=bench.users_E,
                    model_version=bench.model_version,
                )
                return
        outcomes = race(lake, config, ds, bench, settings, Sample(rounds, pairs, config.seed))
        chosen = settled(_gains(outcomes, len(rounds) - 1, config), bench.users_E)
        _write(lake, config, ds, outcomes, chosen, ds, users_E=bench.users_E, model_version=bench.model_version)


def race(
    lake: Lake, config: Config, ds: date, bench: Bench, settings: Mapping[int, DivSPA], sample: Sample
) -> list[Outcome]:
    """Every outcome in order: the control goes through all rounds, beside it the best settings of the round before."""
    drawn = drawn_positives(lake, config, ds, settings, sample, f"{bench.folder}/positives")
    # The base trained on without what was added, on the same pairs: a gain over it is more than more training gives.
    first = min(settings)
    settings, drawn = (
        {CONTROL: settings[first].model_copy(update={"beta": 0.0}), **settings},
        {CONTROL: drawn[first], **drawn},
    )
    outcomes: list[Outcome] = []
    kept = sorted(settings)
    for number, each in enumerate(sample.rounds):
        if number:
            kept = [CONTROL, *sorted(best_first(_gains(outcomes, number - 1, config))[: each.settings])]
        for trial in kept:
            with step(f"round {number + 1} of {len(sample.rounds)}, {_told(trial, settings[trial])}"):
                outcomes.append(bench.run(number, trial, settings[trial], drawn[trial]))
    return outcomes


def still_holds(outcomes: list[Outcome], config: Config, bench: Bench) -> bool:
    """Whether the one setting of a race is not behind its control, by more than the held-out events may be mistaken."""
    last = {outcome.trial: outcome for outcome in outcomes}
    if any(outcome.failure for outcome in last.values()):
        return False
    found, control = (gains(last[trial].ranks_E, config.tuning.criterion) for trial in (0, CONTROL))
    return ahead(found, control, bench.users_E) >= -MARGIN


@contextmanager
def trial_bench(
    lake: Lake, config: Config, ds: date, validation: Validation, users_E: NDArray[np.int64]
) -> Iterator[Bench]:
    """What all trials of a day share; their files lie in the lake, where every process can read them, and go again."""
    versions = {table.name: lake.version(table) for table in (EXAMPLES, ITEM_FEATURES)}
    layout, folder = read_layout(lake, config, ds), f"{lake.root}/tuning/ds={ds}"
    files = lake.files(ITEM_FEATURES, ds, versions[ITEM_FEATURES.name])
    start = checkpoint_folder(lake.root, ds, config.model.name)
    base = Checkpoint.load(start)
    job = Job(
        model=base.model,
        layout=layout,
        training=config.training.model_copy(update={"epochs": 1, "patience": 0, "schedule": "constant"}),
        divspa=config.divspa,
        seed=config.seed,
        files=[],
        rows=0,
        item_files=files,
        folder=folder,
        fingerprint=fingerprint(base.version, config.training, ds, sorted(versions.items())),
        start_from=start,
    )
    features_VF = read_items(files, layout.items).features_VF
    remove(folder)
    try:
        yield Bench(lake.spark, job, config.clicks.is_weighted, validation, users_E, features_VF, folder, base.version)
    finally:
        remove(folder)


def _keep_what_is_given(lake: Lake, config: Config, ds: date) -> None:
    why = "no clicks are held out to choose by: `split.validation_events` holds some out"
    untried = Outcome(0, 0, config.divspa, 0, 0.0, failure=why)
    base = Checkpoint.load(checkpoint_folder(lake.root, ds, config.model.name))
    console.print(why, soft_wrap=True, highlight=False, markup=False)
    _write(lake, config, ds, [untried], 0, ds, users_E=np.zeros(0, np.int64), model_version=base.version)


def _gains(outcomes: list[Outcome], number: int, config: Config) -> Gains:
    """The gains of the held-out events by the criterion, of every setting that went through a round.

    Raises TrainingError when no setting could be trained.
    """
    went = [each for each in outcomes if each.round == number and each.trial != CONTROL]
    if all(each.failure for each in went):
        raise TrainingError("No setting that was tried could be trained", found=str(went[0].failure))
    return {each.trial: gains(each.ranks_E, config.tuning.criterion) for each in went if not each.failure}


def _write(
    lake: Lake,
    config: Config,
    ds: date,
    outcomes: list[Outcome],
    chosen: int,
    made_on: date,
    *,
    users_E: NDArray[np.int64],
    model_version: str,
) -> None:
    last, criterion = max(each.round for each in outcomes), config.tuning.criterion
    controls = {each.round: each for each in outcomes if each.trial == CONTROL and not each.failure}
    rows = []
    for each in outcomes:
        scores, lead = {}, None
        if not each.failure:
            scores = {name: float(gains(each.ranks_E, name).mean()) for name in dict.fromkeys((criterion, *TOLD))}
            if each.round in controls:
                control_E = gains(controls[each.round].ranks_E, criterion)
                lead = ahead(gains(each.ranks_E, criterion), control_E, users_E)
        is_chosen = (each.round, each.trial) == (last, chosen)
        told = each.settings.model_dump_json(), each.pairs, scores, each.ranks_E.tolist(), lead
        end = each.seconds, each.failure, is_chosen, made_on, asked(config), model_version
        rows.append((each.round, each.trial, *told, *end))
    lake.replace_day_with(TUNING_TRIALS, rows, ds)
    settings = next(each.settings for each in outcomes if each.trial == chosen)
    again = "" if made_on == ds else f", as on {made_on}"
    console.print(f"chosen{again}: {_told(chosen, settings)}", soft_wrap=True, highlight=False, markup=False)


def _told(trial: int, settings: DivSPA) -> str:
    if trial == CONTROL:
        return "control"
    values = {name: getattr(settings, name) for name in CHOSEN}
    return ", ".join(f"{name} {'+'.join(v) if isinstance(v, tuple) else v}" for name, v in values.items())
