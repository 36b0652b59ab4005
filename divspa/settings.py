"""What every section of the configuration is: immutable, validated, and read from YAML with errors that name keys."""

import difflib
import hashlib
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from divspa.errors import ConfigError
from divspa.gains import known_criterion

Share = Annotated[float, Field(ge=0, le=1)]
T = TypeVar("T", bound=BaseModel)
LARGEST = 1 << 32
# A configuration holds some hundreds of values; aliases of aliases can stand for more than any memory holds.
LONGEST_YAML, MOST_NODES = 1 << 20, 100_000


def not_blank(text: str) -> str:
    """The same text. Raises ValueError for one that says nothing."""
    if not text.strip():
        raise ValueError("is blank")
    return text


Text = Annotated[str, AfterValidator(not_blank)]


def without_credentials(url: str) -> str:
    """The same path or URL. Raises ValueError for one with a password, which would stand in plans and event logs."""
    if re.search(r"://[^/@]*:[^/@]*@", url):
        raise ValueError("a password in a URL is refused: credentials come from the environment")
    return url


Criterion = Annotated[str, AfterValidator(known_criterion)]
Place = Annotated[Text, AfterValidator(without_credentials)]


class Section(BaseModel):
    """A part of the configuration: immutable; an unknown key, so are infinity and whole numbers beyond LARGEST."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="after")
    def _numbers_fit(self) -> Self:
        for name, value in self:
            several = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else (value,)
            if any(isinstance(each, int) and abs(each) > LARGEST for each in several):
                raise ValueError(f"`{name}` is larger than {LARGEST}")
        return self


def fingerprint(*parts: object) -> str:
    """A short, stable hash of settings and versions, used as a model's version."""
    text = "\n".join(part.model_dump_json() if isinstance(part, BaseModel) else repr(part) for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_mapping(path: str | Path, what: str) -> dict[str, Any]:
    """Read a YAML file that holds a mapping. Raises ConfigError, which says `what` the file is."""
    try:
        with Path(path).open("rb") as file:
            text = file.read(LONGEST_YAML + 1)
    except OSError as error:
        raise ConfigError(f"The {what} {path} cannot be read", found=str(error.strerror)) from error
    data = parse_yaml(text, f"The {what} {path}") or {}
    if not isinstance(data, dict):
        raise ConfigError(f"The {what} {path} must hold a mapping", found=type(data).__name__)
    return data


def parse_yaml(text: str | bytes, what: str) -> Any:
    """The plain values of a YAML text. Raises ConfigError for what is no YAML, names a type, or grows too large."""
    try:
        if len(text) > LONGEST_YAML:
            raise ValueError(f"more than {LONGEST_YAML} characters")
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            if _nodes(node, {}) > MOST_NODES:
                raise ValueError(f"aliases that stand for more than {MOST_NODES} values")
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except RecursionError as error:
        raise ConfigError(f"{what} is not valid YAML", found="values nested too deep") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{what} is not valid YAML", found=str(error)) from error


def _nodes(node: yaml.Node, known: dict[int, float]) -> float:
    """How many values a node stands for, each alias counted as what it names; infinity for one that names itself."""
    if id(node) not in known:
        known[id(node)] = math.inf
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        flat = (each for part in parts for each in (part if isinstance(part, tuple) else (part,)))
        known[id(node)] = 1 + sum(_nodes(each, known) for each in flat)
    return known[id(node)]


def validate_section(section: type[T], data: dict[str, Any], name: str) -> T:
    """Validate settings that live beside an algorithm, with the same messages as the main file."""
    try:
        return section.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"The configuration section `{name}` is wrong: {explain(error, section)}") from error


def explain(error: ValidationError, root: type[BaseModel]) -> str:
    """All that is wrong in one line, each key by its dotted name."""
    lines = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"]) or "the file"
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = "unknown key" + _meant(str(problem["loc"][-1]), problem["loc"][:-1], root)
        lines.append(f"`{where}`: {message}")
    return "; ".join(lines)


def _meant(key: str, where: tuple[int | str, ...], root: type[BaseModel]) -> str:
    """What an unknown key may have been meant to be: the same of another section, or one like it of its own."""
    section = root
    for part in where:
        section = next(iter(_sections_in(section, part)), section)
    if elsewhere := [f"`{name}`" for name, other in _all_sections(root).items() if key in other.model_fields]:
        return f"; it is a key of {' and of '.join(elsewhere)}"
    close = difflib.get_close_matches(key, section.model_fields, n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


def _sections_in(section: type[BaseModel], key: int | str) -> Iterator[type[BaseModel]]:
    """The sections that a key of a section holds."""
    field = section.model_fields.get(str(key))
    waiting = [] if field is None else [field.annotation]
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield kind
        waiting += getattr(kind, "__args__", ())


def _all_sections(root: type[BaseModel], name: str = "") -> dict[str, type[BaseModel]]:
    found = {name or "the file": root}
    for key in root.model_fields:
        for inner in _sections_in(root, key):
            found |= _all_sections(inner, f"{name}.{key}".strip("."))
    return found
