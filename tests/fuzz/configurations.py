"""Configurations as people mistype them: each is taken or refused in one clear sentence, and what is taken is sane."""

import json
import math
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from divspa.config import Config, load_config
from divspa.errors import ConfigError, one_line
from divspa.pipeline import require_known_names
from divspa.settings import LARGEST

TEMPLATE: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "divspa" / "config_template.yaml").read_text())


def keys_below(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place of the template, sections and elements of lists too."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*path, key)
        yield from keys_below(each, (*path, key))


PLACES = list(keys_below(TEMPLATE))
WORDS = ["", " ", "null", "true", "auto", "0", "-1", "1e9", "[/b]", "a`b", "a.b", "*", "rating >= 4", "{ds}", "$HOME"]
WORDS += ["u2i", "mixed", "fm", "time", "order", "csv", "2024-01-01", "s3a://b/p", "://", "x" * 5000, "\x00", "ü🙂"]
NUMBERS = [0, 1, -1, 5, 30, 46_000, 10**12, 10**30, -(10**30), 0.5, -0.5, 1e308, 1e-320, math.inf, -math.inf, math.nan]
PLAIN = st.sampled_from([None, True, False, date(2024, 1, 1), b"bytes", *WORDS, *NUMBERS]) | st.text(max_size=8)
KEYS = st.sampled_from(sorted({str(part) for place in PLACES for part in place})) | st.sampled_from(WORDS)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.integers() | st.none(), inner, max_size=3),
    max_leaves=6,
)
CHANGES = st.lists(st.tuples(st.sampled_from(PLACES), VALUES, st.booleans()), max_size=4)
DOTTED = st.sampled_from([".".join(map(str, place)) for place in PLACES])
OVERRIDES = st.lists(
    st.builds(
        "{}={}".format, DOTTED | st.text(max_size=12), VALUES.map(str) | st.sampled_from(["", "[", "{a: ", "&a *a"])
    )
    | st.text(max_size=20),
    max_size=2,
)
CONFIGURATIONS = st.tuples(CHANGES, OVERRIDES)


def changed(changes: list[tuple[tuple[str | int, ...], Any, bool]]) -> Any:
    """The template with some values replaced, or keys dropped."""
    data = json.loads(json.dumps(TEMPLATE, default=str))
    for place, value, drop in changes:
        inner = data
        for part in place[:-1]:
            inner = inner[part] if holds(inner, part) else None
        if holds(inner, place[-1]):
            inner[place[-1]] = value
            if drop:
                del inner[place[-1]]
    return data


def holds(value: Any, part: str | int) -> bool:
    if isinstance(value, list):
        return isinstance(part, int) and part < len(value)
    return isinstance(value, dict) and part in value


def try_configuration(folder: Path, case: tuple[list, list[str]]) -> bool:
    """Whether it is taken. Raises what was not foreseen, and AssertionError for values that no run can use."""
    changes, overrides = case
    file = folder / "config.yaml"
    text = yaml.dump(changed(changes), Dumper=yaml.CSafeDumper, allow_unicode=True)
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        config = load_config(file, overrides)
        require_known_names(config)
    except ConfigError as error:
        assert one_line(error)
        return False
    require_sane(config)
    return True


def require_sane(config: Config) -> None:
    for name, value in values_of(config.model_dump()):
        if isinstance(value, float):
            assert math.isfinite(value), name
        if isinstance(value, int):
            assert abs(value) <= LARGEST, name
    for text in (config.lake, config.clicks.path, config.clicks.user, config.clicks.item, config.spark.master):
        assert text.strip()
    for ks in (config.evaluation.ks, config.evaluation.diversity_ks):
        assert ks and min(ks) > 0 and list(ks) == sorted(set(ks))
    assert config.divspa.m <= config.divspa.top_k


def values_of(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else None
    if inner is None:
        yield name, value
        return
    for key, each in inner:
        yield from values_of(each, f"{name}.{key}")
