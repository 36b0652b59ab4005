from pathlib import Path
from typing import Any

import pytest
import yaml

from divspa.augmentation.settings import DivSPA
from divspa.cli import main
from divspa.config import Config, load_config
from divspa.errors import ConfigError
from divspa.features.settings import ColumnField
from divspa.models.registry import model_settings
from divspa.models.settings import Model

ROOT = Path(__file__).parents[2]
SMALL = {"clicks": {"path": "clicks", "user": "u", "item": "i", "time": "t"}}


def write(tmp_path: Path, data: object) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(data))
    return file


def test_the_template_holds_every_default(tmp_path: Path) -> None:
    template = load_config(ROOT / "divspa" / "config_template.yaml")
    plain = load_config(write(tmp_path, SMALL))
    for section in (
        "features",
        "split",
        "training",
        "divspa",
        "tuning",
        "evaluation",
        "recall",
        "spark",
        "seed",
        "lake",
    ):
        assert getattr(template, section) == getattr(plain, section), section
    assert model_settings(template.model) == model_settings(plain.model)


@pytest.mark.parametrize("file", sorted((ROOT / "conf").glob("*.yaml")), ids=lambda file: file.name)
def test_shipped_configurations_are_valid(file: Path) -> None:
    model_settings(load_config(file).model)


def test_overrides_are_typed_and_reach_new_sections(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, SMALL), ["divspa.beta=0.25", "training.epochs=3", "divspa.ways=[u2i]"])
    assert (config.divspa.beta, config.training.epochs, config.divspa.ways) == (0.25, 3, ("u2i",))


def test_an_override_of_a_model_named_by_a_word_keeps_the_name(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, SMALL | {"model": "youtube_dnn"}), ["model.dim=8"])
    assert config.model.name == "youtube_dnn"
    assert model_settings(config.model).model_dump()["dim"] == 8


def test_a_word_for_divspa_says_how_to_choose_and_leaves_the_rest(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, SMALL | {"divspa": "auto"})).divspa.choose == "auto"
    given = write(tmp_path, SMALL | {"divspa": {"m": 2, "top_k": 5}})
    divspa = load_config(given, ["divspa=auto", "divspa.beta=0.1"]).divspa
    assert (divspa.choose, divspa.m, divspa.top_k, divspa.beta) == ("auto", 2, 5, 0.1)
    assert load_config(write(tmp_path, SMALL | {"divspa": "auto"}), ["divspa.m=1"]).divspa.choose == "auto"


@pytest.mark.parametrize(
    ("given", "choose"),
    [
        ({}, "auto"),
        ({"m": 2}, "auto"),
        ({"beta": 0.5}, "fixed"),
        ({"ways": ["i2i"], "m": 2}, "fixed"),
        ({"ways": ["i2i"], "choose": "auto"}, "auto"),
        ({"choose": "fixed"}, "fixed"),
    ],
)
def test_a_day_chooses_what_nobody_has_given(given: dict[str, Any], choose: str) -> None:
    config = Config.model_validate(SMALL | ({"divspa": given} if given else {}))
    assert config.divspa.choose == choose
    assert Config.model_validate(config.model_dump()) == config
    assert Config.model_validate(SMALL | {"divspa": DivSPA.model_validate(given)}) == config
    assert len(config.learning_rates) == (2 if choose == "auto" else 1)


def test_a_bare_field_name_is_a_categorical_field() -> None:
    field = ColumnField.model_validate("age")
    assert (field.column, field.kind, field.max_values) == ("age", "categorical", 1)
    assert ColumnField.model_validate({"name": "tags", "kind": "multi"}).max_values == 5


def one_field(**field) -> dict:
    return {"path": "p", "id": "i", "fields": [{"name": "x"} | field]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trainin": {}}, "`trainin`: unknown key; did you mean `training`?"),
        ({"training": {"epoch": 3}}, "did you mean `epochs`?"),
        ({"training": {"epochs": 0}}, "`training.epochs`"),
        ({"divspa": {"m": 30}}, "m may not exceed top_k"),
        ({"divspa": {"ways": ["u2i", "u2i"]}}, "each once"),
        ({"divspa": "automatic"}, "`divspa.choose`"),
        ({"tuning": {"candidates": [{"ways": []}]}}, "one or more ways"),
        ({"tuning": {"candidates": [{"m": 2}]}}, "unknown key"),
        ({"split": {"by": "time"}}, "`at` is given with"),
        ({"users": {"path": "p", "id": "u", "fields": ["item_id"]}}, "must differ"),
        ({"items": one_field(bounds=[1])}, "with `kind: numeric`"),
        ({"items": one_field(kind="numeric", bounds=[2, 1])}, "ascending"),
        ({"items": one_field(hash_buckets=9, min_count=2)}, "no `min_count`"),
        ({"features": {"sequences": [{"name": "tastes", "of": "colour"}]}}, "not of item_id"),
        ({"clicks": SMALL["clicks"] | {"epochs": 3}}, "`clicks.epochs`: unknown key; it is a key of `training`"),
        ({"training": {"gates": {"max_drift": 1}}}, "it is a key of `features.gates`"),
        ({"items": one_field(kin="multi")}, "`items.fields.0.kin`: unknown key; did you mean `kind`?"),
        ({"items": {"path": "p", "id": "i", "fields": [5]}}, "a field is a name or a mapping"),
        ({"evaluation": {"ks": [0]}}, "`evaluation.ks.0`"),
        ({"evaluation": {"ks": [5, 5]}}, "each once"),
        ({"evaluation": {"events": ["buy"]}}, "names buy, which `clicks.events.weights` does not"),
        ({"lake": ""}, "`lake`: is blank"),
        ({"clicks": SMALL["clicks"] | {"user": " "}}, "`clicks.user`: is blank"),
        ({"spark": {"master": ""}}, "`spark.master`: is blank"),
        ({"training": {"learning_rate": float("inf")}}, "`training.learning_rate`"),
        ({"divspa": {"beta": float("nan")}}, "`divspa.beta`"),
        ({"training": {"epochs": 10**30}}, "`epochs` is larger than"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(write(tmp_path, SMALL | change))
    assert message in str(error.value)


def test_a_missing_section_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`clicks`: Field required"):
        load_config(write(tmp_path, {"seed": 1}))


def test_an_unknown_model_and_setting_are_named() -> None:
    with pytest.raises(ConfigError, match="youtube_dnn"):
        model_settings(Model(name="youtub"))
    with pytest.raises(ConfigError, match="unknown key; did you mean `hidden`"):
        model_settings(Model.model_validate({"name": "youtube_dnn", "hiden": [1]}))


def test_a_package_that_is_not_installed_is_named(tmp_path: Path) -> None:
    data = {"clicks": SMALL["clicks"] | {"path": "package:no_such_thing/clicks.parquet"}}
    with pytest.raises(ConfigError, match="pip install no-such-thing"):
        _ = load_config(write(tmp_path, data)).clicks.location


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training=5", "training.epochs=3"], "`training` is 5"),
        (["[/b]"], "The option --set [/b] is not of the form section.key=value"),
        (["training.epochs=[/b]"], "`training.epochs`"),
        (["lake=[[[["], "The value of --set lake=[[[[ is not valid YAML"),
    ],
)
def test_an_override_that_cannot_be_is_told_as_it_was_written(
    tmp_path, monkeypatch, capsys, overrides, message
) -> None:
    sets = [part for override in overrides for part in ("--set", override)]
    file = str(write(tmp_path, SMALL))
    monkeypatch.setattr("sys.argv", ["divspa", "run", "--config", file, "--ds", "2024-01-01", *sets])
    with pytest.raises(SystemExit):
        main()
    told = capsys.readouterr().err
    assert message in told and "not foreseen" not in told


@pytest.mark.parametrize("hidden", [[-5], [0], ["a"], 5])
def test_sizes_of_layers_are_positive(hidden) -> None:
    with pytest.raises(ConfigError, match="`hidden"):
        model_settings(Model.model_validate({"name": "youtube_dnn", "hidden": hidden}))
