"""What a suite plans: which trials, in which order, from which stages, and what it refuses."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from divspa.errors import ConfigError
from divspa.experiments.run import Experiment
from divspa.experiments.suite import DataSet, Suite, Trial, load_suite, part_of, runs_of, trial

SUITES = Path(__file__).parents[3] / "conf" / "suites"
LOG = {"clicks": {"path": "x", "user": "u", "item": "i", "time": "t"}}
RUNS = [
    {"name": "popularity", "outside": "popularity"},
    {"name": "base", "set": {"training.epochs": 3}, "search": {"training.learning_rate": [0.1, 0.2]}},
    {"name": "fm", "set": {"model": "fm"}},
    {"name": "divspa", "over": "base"},
    {"name": "wide", "over": "base", "set": {"divspa.beta": 0.9}},
    {"name": "i2i", "over": "base", "set": {"divspa.ways": ["i2i"]}},
]


def suite(folder: Path, **changes: Any) -> Suite:
    (folder / "log.yaml").write_text(yaml.safe_dump(LOG))
    data = {
        "name": "x",
        "set": {"divspa": "fixed"},
        "data_sets": {"log": {"config": "log.yaml", "ds": "2024-01-05"}},
        "seeds": [1, 2],
        "runs": RUNS,
    }
    (folder / "suite.yaml").write_text(yaml.safe_dump(data | changes))
    return load_suite(folder / "suite.yaml", folder / "out")


def trials(loaded: Suite, seed: int = 1) -> dict[str, Any]:
    chosen = {"base": {"training.learning_rate": 0.2}}
    return {run.name: trial(loaded, "log", run, seed, chosen, chosen.get(run.name, {})) for run in loaded.runs}


def test_what_augments_a_base_follows_it_at_once_and_inherits_its_settings(tmp_path: Path) -> None:
    loaded = suite(tmp_path)
    names = [run.name for run in runs_of(loaded, "log")]
    assert names == ["popularity", "base", "divspa", "wide", "i2i", "fm"]
    made = trials(loaded)
    assert made["wide"].config.training == made["base"].config.training
    assert {each.config.divspa.choose for each in made.values()} == {"fixed"}, "as the suite sets it for all"
    assert (made["wide"].config.training.epochs, made["wide"].config.training.learning_rate) == (3, 0.2)
    assert made["base"].ds == date(2024, 1, 5) and (made["base"].model, made["wide"].model) == ("youtube_dnn", "divspa")


def test_stages_are_shared_as_far_as_settings_agree(tmp_path: Path) -> None:
    made = {name: trial.stages() for name, trial in trials(suite(tmp_path)).items()}
    assert list(made["popularity"]) == ["build_features"]
    assert list(made["divspa"]) == ["build_features", "train_base", "augment", "train_divspa"]
    assert made["divspa"]["train_base"] == made["base"]["train_base"] != made["fm"]["train_base"]
    assert made["wide"]["augment"] == made["divspa"]["augment"] != made["i2i"]["augment"]
    assert made["wide"]["train_divspa"] != made["divspa"]["train_divspa"]
    other_seed = trials(suite(tmp_path), seed=2)["divspa"].stages()
    assert [other_seed[name] == key for name, key in made["divspa"].items()] == [True, False, False, False]


def test_a_trial_is_known_by_all_that_its_ranking_depends_on(tmp_path: Path) -> None:
    first, again = trials(suite(tmp_path)), trials(suite(tmp_path))
    assert [trial.key for trial in first.values()] == [trial.key for trial in again.values()]
    assert len({trial.key for trial in first.values()}) == len(RUNS)
    assert first["popularity"].key == trials(suite(tmp_path), seed=2)["popularity"].key
    assert first["base"].key != trials(suite(tmp_path), seed=2)["base"].key


def test_a_run_that_chooses_is_tuned_after_all_that_it_may_choose(tmp_path: Path) -> None:
    runs = [{"name": "base"}, {"name": "auto", "over": "base", "set": {"divspa": "auto"}}]
    runs.append({"name": "other", "over": "base", "set": {"divspa.choose": "auto", "tuning.criterion": "hr@50"}})
    loaded = suite(tmp_path, runs=runs)
    auto, other = (trial(loaded, "log", run, 1, {}, {}).stages() for run in loaded.runs[1:])
    assert list(auto) == ["build_features", "train_linear", "train_base", "tune", "augment", "train_divspa"]
    assert auto["train_base"] == other["train_base"] and auto["tune"] != other["tune"]
    assert auto["augment"] != other["augment"]


def test_a_part_keeps_the_bases_of_its_runs_and_the_trials_of_the_whole(tmp_path: Path) -> None:
    whole = suite(tmp_path)
    part = part_of(whole, ["log"], ["wide", "popularity"], 1)
    assert [run.name for run in part.runs] == ["popularity", "base", "wide"] and part.seeds == (1,)
    assert trials(part)["wide"].key == trials(whole)["wide"].key
    assert part_of(whole, [], [], 0) == whole
    with pytest.raises(ConfigError, match="has no wider"):
        part_of(whole, [], ["wider"], 0)
    with pytest.raises(ConfigError, match="has no logs"):
        part_of(whole, ["logs"], [], 0)


def test_a_run_may_have_seeds_of_its_own(tmp_path: Path) -> None:
    whole = suite(
        tmp_path, runs=[{"name": "base", "seeds": [4, 5, 6]}, {"name": "divspa", "over": "base", "seeds": [5]}]
    )
    assert [whole.seeds_of(run) for run in whole.runs] == [(4, 5, 6), (5,)]
    assert [run.seeds for run in part_of(whole, [], [], 2).runs] == [(4, 5), (5,)]


def test_each_run_is_made_with_its_own_seeds_and_settings_are_searched_with_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, int, float]] = []

    def pretend(_: Experiment, wanted: Trial) -> list[Any]:
        rate = wanted.config.training.learning_rate
        made.append((wanted.run, wanted.seed, rate))
        return [{"validation": rate}]

    monkeypatch.setattr(Experiment, "_rows", pretend)
    popularity, base, *_ = RUNS
    runs = [popularity, base | {"seeds": [4, 5]}, {"name": "divspa", "over": "base", "seeds": [5]}]
    loaded = suite(tmp_path, seeds=[1], runs=runs)
    results = Experiment(loaded, None, str(tmp_path)).run()  # pyright: ignore[reportArgumentType]
    assert [(run, seed) for run, seed, _ in made] == [
        ("popularity", 1),
        ("base", 4),
        ("base", 4),
        ("base", 4),
        ("base", 5),
        ("divspa", 5),
    ]
    assert [rate for *_, rate in made[1:]] == [0.1, 0.2, 0.2, 0.2, 0.2]
    assert [len(result.trials) for result in results] == [1, 2, 1]


def test_a_suite_runs_on_a_log_of_ones_own(tmp_path: Path) -> None:
    suite(tmp_path, runs=[*RUNS, {"name": "apart", "data_sets": ["log"]}])
    (tmp_path / "mine.yaml").write_text((tmp_path / "log.yaml").read_text())
    own = DataSet(config=str(tmp_path / "mine.yaml"), ds=date(2024, 3, 4))
    loaded = load_suite(tmp_path / "suite.yaml", tmp_path / "out", own)
    assert list(loaded.data_sets) == ["mine"] and "apart" not in [run.name for run in loaded.runs]
    made = trial(loaded, "mine", loaded.runs[0], 1, {}, {})
    assert (made.data_set, made.ds) == ("mine", date(2024, 3, 4))


@pytest.mark.parametrize("name", sorted(path.stem for path in SUITES.glob("*.yaml")))
def test_the_suites_that_are_shipped_plan_their_trials(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIVSPA_DATA", str(tmp_path))
    shipped = load_suite(SUITES / f"{name}.yaml", tmp_path)
    for data_set in shipped.data_sets:
        for run in runs_of(shipped, data_set):
            assert trial(shipped, data_set, run, 1, {}, {}).key


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runs": [{"name": "a"}, {"name": "a"}]}, "two runs are named a"),
        ({"runs": [{"name": "a", "over": "b"}]}, "over b, which is no earlier run of a base"),
        ({"runs": [{"name": "a"}, {"name": "b", "over": "a"}, {"name": "c", "over": "b"}]}, "c is over b"),
        ({"runs": [{"name": "a", "outside": "popularity"}, {"name": "b", "over": "a"}]}, "b is over a"),
        ({"runs": [{"name": "a", "data_sets": ["other"]}]}, "unknown data set other"),
        ({"data_sets": {"log": {"config": "log.yaml"}}}, "either `config` and `ds`, or `generate`"),
        ({"runs": [{"name": "a"}, {"name": "b", "over": "a", "seeds": [2, 3]}]}, r"seeds that its base a lacks: \[3\]"),
        ({"seeds": []}, "seeds"),
        ({"seed": 1}, "unknown key"),
    ],
)
def test_a_suite_that_makes_no_sense_is_refused(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        suite(tmp_path, **changes)


def test_a_run_with_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    loaded = suite(tmp_path, runs=[{"name": "a", "set": {"training.epoch": 1}}])
    with pytest.raises(ConfigError, match="did you mean"):
        trials(loaded)
