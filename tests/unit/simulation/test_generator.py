"""The files of a generated log: sizes, types, determinism, and a configuration that reads them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from divspa.config import load_config
from divspa.errors import ConfigError
from divspa.simulation import generator
from divspa.simulation.generator import PRESETS, GeneratorSettings, generate

SMALL = GeneratorSettings(users=500, items=200, clicks=8_000, fields=15, days=5, seed=3)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("log") / "new"
    generate(SMALL, out)
    return out


def test_sizes_are_exactly_those_asked_for(log: Path) -> None:
    clicks = pq.read_table(log / "clicks")
    assert clicks.num_rows == SMALL.clicks
    assert len(pc.unique(clicks["user_id"])) == SMALL.users, "every user clicks"
    assert pq.read_metadata(log / "users.parquet").num_rows == SMALL.users
    assert pq.read_metadata(log / "items.parquet").num_rows == SMALL.items


def test_columns_have_the_types_that_other_tools_expect(log: Path) -> None:
    utc = pa.timestamp("us", "UTC")
    assert pq.read_schema(next((log / "clicks").iterdir())) == pa.schema(
        {"user_id": pa.string(), "item_id": pa.string(), "timestamp": utc, "dwell_seconds": pa.int32()}
    )
    items = pq.read_schema(log / "items.parquet")
    assert items.field("category").type == pa.string()
    assert items.field("tags").type.value_type == pa.string()
    assert items.field("published").type == pa.date32()


def test_a_file_holds_the_clicks_of_its_day_only(log: Path) -> None:
    for day in range(SMALL.days):
        date = SMALL.start + timedelta(days=day)
        times = pq.read_table(log / "clicks" / f"part-{date}-000.parquet")["timestamp"]
        assert times.cast(pa.date32()).unique().to_pylist() == [date]


def test_every_click_is_of_a_known_user_and_a_published_item(log: Path) -> None:
    clicks, items, users = (pq.read_table(log / name) for name in ("clicks", "items.parquet", "users.parquet"))
    joined = clicks.join(items.select(["item_id", "category", "published"]), "item_id").join(users, "user_id")
    assert joined["category"].null_count == joined["age_band"].null_count == 0
    assert pc.all(pc.greater_equal(joined["timestamp"].cast(pa.date32()), joined["published"])).as_py()
    assert pc.sum(pc.greater(items["published"], pa.scalar(SMALL.start))).as_py() > 30, "cold items arrive"


def test_tags_are_lists_of_one_to_three_different_values(log: Path) -> None:
    lists = pq.read_table(log / "items.parquet")["tags"].to_pylist()
    assert {len(tags) for tags in lists} == {1, 2, 3}
    assert all(len(set(tags)) == len(tags) for tags in lists)


def test_the_configuration_is_accepted_and_maps_every_field(log: Path) -> None:
    config = load_config(log / "divspa.yaml", ["training.epochs=1"])
    fields = config.user_fields + config.item_fields
    assert len(fields) == SMALL.fields
    columns = {*pq.read_schema(log / "users.parquet").names, *pq.read_schema(log / "items.parquet").names}
    assert {field.column for field in fields} == columns - {"user_id", "item_id", "published"}
    assert [field.kind for field in fields if field.name == "tags"] == ["multi"]
    assert config.clicks.time_unit == "timestamp"
    assert Path(config.clicks.location).is_absolute()


def _content(folder: Path) -> dict[str, pa.Table]:
    return {str(f.relative_to(folder)): pq.read_table(f) for f in sorted(folder.rglob("*.parquet"))}


def test_the_seed_alone_decides(log: Path, tmp_path: Path) -> None:
    generate(SMALL, tmp_path / "same")
    generate(SMALL.model_copy(update={"seed": 4}), tmp_path / "other")
    assert _content(tmp_path / "same") == _content(log)
    other, ours = pq.read_table(tmp_path / "other" / "clicks"), pq.read_table(log / "clicks")
    assert np.mean(other["item_id"].to_numpy()[:500] == ours["item_id"].to_numpy()[:500]) < 0.1


def test_chunks_and_threads_change_nothing(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "CHUNK", 97)
    monkeypatch.setattr(generator, "THREADS", 1)
    generate(SMALL, tmp_path / "chunked")
    assert _content(tmp_path / "chunked") == _content(log)


def test_a_large_day_is_cut_into_parts(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "PART", 1000)
    generate(SMALL, tmp_path / "parts")
    assert len(list((tmp_path / "parts" / "clicks").iterdir())) > SMALL.days
    assert pq.read_table(tmp_path / "parts" / "clicks") == pq.read_table(log / "clicks")


def test_progress_adds_up_and_the_summary_tells_the_sizes(tmp_path: Path) -> None:
    written: list[int] = []
    summary = generate(SMALL, tmp_path, written.append)
    assert sum(written) == SMALL.clicks == summary["clicks"]
    assert summary["config"] == str(tmp_path / "divspa.yaml")
    assert summary["seconds"] > 0


def test_a_folder_that_holds_something_is_refused(log: Path) -> None:
    with pytest.raises(ConfigError, match="is not empty"):
        generate(SMALL, log)


@pytest.mark.parametrize("sizes", [{"users": 10, "clicks": 9, "days": 2}, {"users": 9, "days": 5}, {"fields": 6}])
def test_impossible_sizes_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        GeneratorSettings.model_validate(sizes)


def test_the_smallest_log_can_be_written(tmp_path: Path) -> None:
    generate(GeneratorSettings(users=2, items=8, clicks=2, fields=7, days=1), tmp_path)
    assert pq.read_table(tmp_path / "clicks").num_rows == 2


def test_presets_have_the_sizes_of_table_2() -> None:
    sizes = {name: (s.users, s.items, s.clicks, s.fields, s.features) for name, s in PRESETS.items()}
    assert sizes["video"] == (11_620_000, 420_000, 25_340_000, 57, 41_200_000)
    assert sizes["vfeeds"] == (1_340_000, 270_000, 13_580_000, 50, 20_600_000)


def test_features_asked_for_do_occur(tmp_path: Path) -> None:
    settings = GeneratorSettings(users=3000, items=500, clicks=9000, fields=31, features=20_000, days=2)
    generate(settings, tmp_path)
    users, items = pq.read_table(tmp_path / "users.parquet"), pq.read_table(tmp_path / "items.parquet").drop(["tags"])
    occurring = sum(len(pc.unique(column)) for column in [*users.columns, *items.drop(["published"]).columns])
    assert occurring == pytest.approx(20_000, rel=0.05)


def test_times_follow_the_hours_of_a_day(log: Path) -> None:
    times = pq.read_table(log / "clicks")["timestamp"]
    by_hour = np.bincount(pc.hour(times).to_numpy(), minlength=24)
    assert by_hour[19:22].mean() > 4 * by_hour[2:5].mean()
    assert pc.min(times).as_py() >= datetime(2024, 1, 1, tzinfo=UTC)
