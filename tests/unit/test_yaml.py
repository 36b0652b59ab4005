"""A configuration is plain data of bounded size, whoever wrote it."""

from pathlib import Path

import pytest

from divspa.config import load_config
from divspa.errors import ConfigError
from divspa.settings import LONGEST_YAML, parse_yaml, read_mapping
from divspa.sources.settings import Source

BOMB = "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10))])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (BOMB, "aliases that stand for more than"),
        ("a: &a [*a]", "aliases that stand for more than"),
        ("a: &a {<<: *a}", "aliases that stand for more than"),
        ("[" * 200_000, "nested too deep"),
        ("a: " + "x" * LONGEST_YAML, "more than 1048576 characters"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: 2024-99-99", "month must be in 1..12"),
        ("a: [", "expected the node content"),
        ("a: 1\n---\nb: 2", "single document"),
        ("{[1]: 2}", "unhashable key"),
    ],
)
def test_what_is_no_plain_data_is_one_clear_error(tmp_path: Path, text: str, found: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=f"(?s)The configuration .*c.yaml is not valid YAML.*{found}"):
        read_mapping(file, "configuration")


def test_bytes_that_are_no_text_are_one_clear_error(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_bytes(b"\x80\x81\x00")
    with pytest.raises(ConfigError, match="is not valid YAML"):
        read_mapping(file, "configuration")


def test_aliases_that_stay_small_are_what_they_name() -> None:
    assert parse_yaml("a: &a [1, 2]\nb: *a\nc: {x: *a}", "it") == {"a": [1, 2], "b": [1, 2], "c": {"x": [1, 2]}}
    assert parse_yaml("", "it") is None


PASSWORD = "s3a://key:secret@bucket/lake"


@pytest.mark.parametrize("option", ["lake", "clicks.path", "spark.event_log"])
def test_a_password_in_a_url_is_refused_and_not_repeated(tmp_path: Path, option: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("clicks: {path: log, user: u, item: i, time: t}")
    with pytest.raises(ConfigError, match=f"`{option}`: a password in a URL is refused") as refused:
        load_config(file, [f"{option}={PASSWORD}"])
    assert "secret" not in str(refused.value)
    load_config(file, [f"{option}=abfss://container@account/lake"])


def test_neither_a_variable_nor_a_package_leads_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG", PASSWORD)
    with pytest.raises(ConfigError, match="a password in a URL"):
        _ = Source(path="$LOG").location
    for path in ("package:divspa/../../etc/passwd", "package:divspa.lake/x", "package:../x"):
        with pytest.raises(ConfigError, match="is not in a package"):
            _ = Source(path=path).location
