"""In which order an experiment makes its trials."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from divspa.experiments.run import Experiment
from divspa.experiments.suite import Trial, load_suite

LOG = {"clicks": {"path": "x", "user": "u", "item": "i", "time": "t"}}
RUNS = [
    {"name": "popularity", "outside": "popularity"},
    {"name": "base", "seeds": [4, 5], "search": {"training.learning_rate": [0.1, 0.2]}},
    {"name": "divspa", "over": "base", "seeds": [5]},
]


def test_each_run_is_made_with_its_own_seeds_and_settings_are_searched_with_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, int, float]] = []

    def pretend(_: Experiment, wanted: Trial) -> list[Any]:
        rate = wanted.config.training.learning_rate
        made.append((wanted.run, wanted.seed, rate))
        return [{"validation": rate}]

    monkeypatch.setattr(Experiment, "_rows", pretend)
    (tmp_path / "log.yaml").write_text(yaml.safe_dump(LOG))
    suite = {"name": "x", "data_sets": {"log": {"config": "log.yaml", "ds": "2024-01-05"}}, "seeds": [1], "runs": RUNS}
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(suite))
    results = Experiment(load_suite(tmp_path / "suite.yaml", tmp_path), None, str(tmp_path)).run()  # pyright: ignore[reportArgumentType]
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
