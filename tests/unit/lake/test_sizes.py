"""Sizes that nobody has set follow from the inputs and the machine."""

import os
from datetime import date, timedelta
from pathlib import Path

import pytest

from divspa.cli.options import days_of
from divspa.config import Config
from divspa.errors import ConfigError, InputError
from divspa.lake import sizes
from divspa.lake.settings import Spark
from divspa.lake.sizes import SMALL_BYTES, require_room, with_sizes

DAY = date(2024, 1, 2)
GB = 1 << 30
SMALL, LARGE = 1_000_000, SMALL_BYTES


def sized(folder: Path, bytes: int, form: str = "parquet", **spark) -> tuple[str | None, int | None]:
    file = folder / f"clicks-{DAY}.{form}"
    with file.open("wb") as opened:
        opened.truncate(bytes)
    log = {"path": str(folder / f"clicks-{{ds}}.{form}"), "format": form, "user": "u", "item": "i", "time": "t"}
    chosen = with_sizes(Config.model_validate({"clicks": log, "spark": spark}), [DAY]).spark
    return chosen.driver_memory, chosen.partitions


def test_sizes_grow_with_the_inputs_up_to_a_share_of_the_machine(tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.setattr(sizes, "machine_bytes", lambda: 24 * GB)
    monkeypatch.setattr(sizes.os, "cpu_count", lambda: 2)
    assert sized(tmp_path, 1) == ("3072m", 2), "a small log"
    assert sized(tmp_path, GB // 2) == ("5120m", 12)
    assert sized(tmp_path, 4 * GB) == ("9830m", 96)
    assert sized(tmp_path, 4 * GB, "csv") == ("8192m", 24)
    assert sized(tmp_path, GB, driver_memory="1g", partitions=7) == ("1g", 7)
    assert sized(tmp_path, GB, partitions=7) == ("8192m", 7)
    assert "8192m of memory, 7 partitions" in capfd.readouterr().err


def test_an_input_that_is_not_there_counts_nothing(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sizes, "machine_bytes", lambda: 4 * GB)
    log = {"path": str(tmp_path / "none"), "user": "u", "item": "i", "time": "t"}
    assert with_sizes(Config.model_validate({"clicks": log}), [DAY]).spark.driver_memory == "3072m"


def test_what_a_day_takes_is_known_before(tmp_path, monkeypatch) -> None:
    file = tmp_path / "clicks.parquet"
    file.write_bytes(b"0" * 1000)
    log = {"path": str(file), "user": "u", "item": "i", "time": "t"}
    config = Config.model_validate({"lake": str(tmp_path / "no" / "lake"), "clicks": log})
    monkeypatch.setattr(sizes.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": GB})())
    assert require_room(config, [DAY]) == "a day takes about 0.1 GB, 1.0 GB are free"
    os.truncate(file, GB // 20)
    with pytest.raises(InputError, match=r"too little room. Expected: 1.9 GB for a day. Found: 1.0 GB free"):
        require_room(config, [DAY])
    assert require_room(config.model_copy(update={"lake": "s3a://b/lake"}), [DAY]) == "a day takes about 1.9 GB"
    twice = Config.model_validate({"lake": "s3a://b/lake", "clicks": log, "publishing": {"refit": True}})
    assert require_room(twice, [DAY]) == "a day takes about 3.8 GB"
    large = Config.model_validate({"clicks": log, "spark": {"driver_memory": "9000g"}})
    with pytest.raises(ConfigError, match=r"`spark.driver_memory` is more than this machine has.*9000g"):
        require_room(large, [DAY])


def test_days_are_one_or_a_range() -> None:
    assert days_of("2024-02-28") == date(2024, 2, 28)
    assert days_of("2024-02-28..2024-03-01") == [date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1)]
    for wrong in ("2024-03-01..2024-02-28", "2024-02-30", "..", "2024-01-01..", "tomorrow"):
        with pytest.raises(ConfigError, match="--ds"):
            days_of(wrong)


def chosen(tmp_path: Path, days=(DAY,), name="clicks.parquet", **spark) -> Spark:
    log = {"path": str(tmp_path / name), "user": "u", "item": "i", "time": "t"}
    return with_sizes(
        Config.model_validate({"lake": str(tmp_path / "lake"), "clicks": log, "spark": spark}), days
    ).spark


def file_of(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)


def test_a_log_is_small_by_its_files_unless_it_is_said(tmp_path) -> None:
    assert not chosen(tmp_path).small_log, "a log that cannot be listed may have any size"
    file_of(tmp_path / "clicks.parquet", SMALL)
    assert chosen(tmp_path).small_log
    assert not chosen(tmp_path, small_log=False).small_log
    file_of(tmp_path / "clicks.parquet", LARGE)
    assert not chosen(tmp_path).small_log
    assert chosen(tmp_path, small_log=True).small_log


def test_of_a_file_a_day_the_days_before_and_all_days_to_be_run_count(tmp_path) -> None:
    days, name = [DAY + timedelta(days=n) for n in range(20)], "log-{ds}.parquet"
    for day in days:
        file_of(tmp_path / f"log-{day}.parquet", SMALL)
    assert chosen(tmp_path, name=name).small_log
    assert not chosen(tmp_path, days, name).small_log
    file_of(tmp_path / "lake" / "clicks" / f"ds={DAY}" / "part-0.parquet", LARGE)
    assert not chosen(tmp_path, name=name).small_log
