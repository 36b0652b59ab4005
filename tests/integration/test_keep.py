from datetime import date
from pathlib import Path

from divspa.experiments.keep import FURTHEST_RANK, TABLES, bring, keep
from divspa.lake.tables import Lake
from divspa.schemas import EXPERIMENT_METRICS, EXPERIMENT_TRIALS

DAY = date(2024, 1, 1)


def add_trial(results: Lake, data_set: str, trial: str, ranks: list[int]) -> None:
    place = {"data_set": data_set, "trial": trial}
    results.replace_day_with(EXPERIMENT_METRICS, [(1, "divspa", "all", "hr@50", 0.25)], DAY, **place)
    row = (1, "divspa", "{}", None, [0.5, 0.4], [], 12.5, [7, 7, 9], ranks, [300, 2])
    results.replace_day_with(EXPERIMENT_TRIALS, [row], DAY, **place)


def trials(results: Lake) -> list[tuple]:
    found = results.read(EXPERIMENT_TRIALS).select("data_set", "trial", "user_keys", "ranks", "losses", "validation")
    return sorted(tuple(row) for row in found.collect())


def test_kept_trials_are_known_on_another_machine_and_join_its_own(spark, tmp_path: Path) -> None:
    here, there = Lake(spark, f"{tmp_path}/here"), Lake(spark, f"{tmp_path}/there")
    add_trial(here, "a", "one", [0, FURTHEST_RANK - 1, 4_000])
    add_trial(here, "b", "two", [3, 2, 1])
    bring(here, tmp_path / "kept")  # nothing is kept yet
    keep(here, tmp_path / "kept")
    add_trial(there, "a", "one", [0, FURTHEST_RANK - 1, 4_000])
    add_trial(there, "a", "three", [5, 5, 5])
    bring(there, tmp_path / "kept")
    versions = [there.version(table) for table in TABLES]
    bring(there, tmp_path / "kept")
    assert [there.version(table) for table in TABLES] == versions
    rest = [7, 7, 9], [0.5, 0.4], None
    assert trials(there) == [
        ("a", "one", rest[0], [0, FURTHEST_RANK - 1, 4_000], *rest[1:]),
        ("a", "three", rest[0], [5, 5, 5], *rest[1:]),
        ("b", "two", rest[0], [3, 2, 1], *rest[1:]),
    ]
    assert there.read(EXPERIMENT_METRICS).count() == 3
    keep(there, tmp_path / "kept")
    anew = Lake(spark, f"{tmp_path}/anew")
    bring(anew, tmp_path / "kept")
    assert [row[1] for row in trials(anew)] == ["one", "three", "two"]
    assert trials(anew)[0][3] == [0, FURTHEST_RANK - 1, FURTHEST_RANK]
