"""The configuration: one YAML file, overridden by `--set key=value`, read into frozen, validated models."""

import difflib
import hashlib
import importlib.util
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from divspa.errors import ConfigError

Way = Literal["u2i", "i2i", "u2u2i"]
Share = Annotated[float, Field(ge=0, le=1)]
TimeUnit = Literal["timestamp", "seconds", "milliseconds", "nanoseconds"]
T = TypeVar("T", bound=BaseModel)
# Columns that lie beside the fields while these are encoded; a field may have such a `column`, but not such a name.
RESERVED = {"user_id", "user_key", "item_id", "item_index", "popularity", "valid_from", "cutoff"}
RESERVED |= {"first_click", "train_clicks", "test_clicks", "train_instants"}
PACKAGE_SCHEME = "package:"


class Section(BaseModel):
    """A part of the configuration: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(Section):
    """Where a table of input lies: a path, in which `$NAME` is an environment variable, or `package:NAME/FILE`."""

    path: str
    format: Literal["parquet", "csv", "jsonl", "delta"] = "parquet"

    @property
    def location(self) -> str:
        """The path, resolved. Raises ConfigError when a package is not installed or a variable is not set."""
        if not self.path.startswith(PACKAGE_SCHEME):
            path = os.path.expandvars(self.path)
            if "$" in path:
                raise ConfigError(f"The input {self.path} names an environment variable that is not set")
            return path
        package, _, file = self.path.removeprefix(PACKAGE_SCHEME).partition("/")
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ConfigError(
                f"The input {self.path} names the Python package {package}, which is not installed",
                remedy=f"pip install {package.replace('_', '-')}",
            )
        return str(Path(next(iter(spec.submodule_search_locations))) / file)


class ClickLog(Source):
    """The click log and what its columns mean."""

    user: str
    item: str
    time: str
    time_unit: TimeUnit = "timestamp"
    positive: str | None = None


class FeatureField(Section):
    """One sparse field, embedded by the towers: it takes `max_values` places of the encoded features."""

    name: str
    max_values: Annotated[int, Field(ge=1)] = 1


class ColumnField(FeatureField):
    """A field read from a column of an attribute table."""

    kind: Literal["categorical", "multi", "numeric"] = "categorical"
    column: str = ""
    delimiter: str | None = None
    min_count: Annotated[int, Field(ge=1)] = 1
    hash_buckets: Annotated[int, Field(ge=1)] | None = None
    quantiles: Annotated[int, Field(ge=2)] | None = None
    bounds: tuple[FiniteFloat, ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        """A bare name is a categorical field; the column is named like the field unless said otherwise."""
        data = {"name": data} if isinstance(data, str) else dict(data)
        data.setdefault("column", data.get("name"))
        if data.get("kind") == "multi":
            data.setdefault("max_values", 5)
        if data.get("kind") == "numeric" and data.get("bounds") is None:
            data.setdefault("quantiles", 10)
        return data

    @model_validator(mode="after")
    def _kind_fits(self) -> "ColumnField":
        numeric = self.kind == "numeric"
        if numeric != (self.quantiles is not None or self.bounds is not None):
            raise ValueError("`quantiles` or `bounds` are given with `kind: numeric`, and only then")
        if self.quantiles is not None and self.bounds is not None:
            raise ValueError("either `quantiles` or `bounds`, not both")
        if numeric and (self.max_values, self.hash_buckets, self.min_count) != (1, None, 1):
            raise ValueError("a numeric field has one value, and neither `hash_buckets` nor `min_count`")
        if self.bounds is not None and (not self.bounds or list(self.bounds) != sorted(set(self.bounds))):
            raise ValueError("`bounds` are one or more numbers in ascending order")
        if self.hash_buckets is not None and self.min_count > 1:
            raise ValueError("a hashed field keeps every value, so it has no `min_count`")
        return self


class SequenceField(FeatureField):
    """The values of an item field over a user's past items, oldest first: the last `max_values` of them."""

    of: str
    max_values: Annotated[int, Field(ge=1)] = 10


class Attributes(Source):
    """A table of user or item attributes: one row an id or, with `valid_from`, one row an id and version."""

    id: str
    valid_from: str | None = None
    time_unit: TimeUnit = "timestamp"
    fields: tuple[ColumnField, ...] = ()


class Split(Section):
    """Where training ends: at a time, after a share of the clicks, or before each user's last events."""

    by: Literal["time", "share", "last"] = "share"
    at: datetime | None = None
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    last_events: Annotated[int, Field(ge=1)] = 1
    discard_last: Annotated[int, Field(ge=0)] = 0
    validation_events: Annotated[int, Field(ge=0)] = 5000

    @model_validator(mode="after")
    def _cutoff_given(self) -> "Split":
        if (self.by == "time") != (self.at is not None):
            raise ValueError("`at` is given with `by: time`, and only then")
        return self


class FeatureGates(Section):
    """What stops a day before anything of it is published; null turns a gate off.

    Gates on a change hold only where the previous day had at least `compare_from` clicks, users, items or values.
    """

    min_new_clicks: Annotated[int, Field(ge=1)] = 1
    max_refused_share: Share | None = 0.2
    max_unknown_rate: Share | None = None
    max_unknown_rise: Share | None = 0.2
    max_vocabulary_growth: Annotated[float, Field(ge=0)] | None = 2.0
    max_drift: Annotated[float, Field(ge=0)] | None = 0.25
    compare_from: Annotated[int, Field(ge=1)] = 1000


class Features(Section):
    """How clicks become examples."""

    history_length: Annotated[int, Field(ge=1)] = 50
    item_min_count: Annotated[int, Field(ge=1)] = 1
    repeats: Literal["first", "all"] = "first"
    embed_user_id: bool = False
    sequences: tuple[SequenceField, ...] = ()
    late_days: Annotated[int, Field(ge=0)] = 0
    gates: FeatureGates = FeatureGates()


class Model(BaseModel):
    """Which model, and its own settings; these are validated beside the model's code (divspa.models)."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str = "youtube_dnn"


class Training(Section):
    """The optimisation that base and DivSPA share (Section 4.1)."""

    epochs: Annotated[int, Field(ge=1)] = 20
    patience: Annotated[int, Field(ge=0)] = 2
    batch_size: Annotated[int, Field(ge=1)] = 1024
    learning_rate: Annotated[float, Field(gt=0)] = 0.001
    schedule: Literal["constant", "linear"] = "constant"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    negatives: Annotated[int, Field(ge=1)] = 1000
    negative_sampling: Literal["uniform", "popularity", "in_batch", "mixed"] = "mixed"
    popularity_power: Annotated[float, Field(ge=0)] = 0.75
    omega: Annotated[float, Field(gt=0)] = 20.0
    history_sample: Annotated[int, Field(ge=0)] = 50
    start: Literal["scratch", "previous"] = "scratch"
    processes: Annotated[int, Field(ge=1)] = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0
    checkpoint_minutes: Annotated[float, Field(ge=0)] = 10.0


class Gates(Section):
    """What an augmentation must reach before it is published; 0 turns a gate off."""

    filled: Annotated[float, Field(ge=0, le=1)] = 0.1
    way_filled: Annotated[float, Field(ge=0, le=1)] = 0.001
    warn_spread: Annotated[float, Field(ge=0, le=1)] = 0.05


class DivSPA(Section):
    """Positive augmentation (Section 3.2) and the mix-up loss (Section 3.3)."""

    ways: tuple[Way, ...] = ("u2i", "i2i", "u2u2i")
    top_k: Annotated[int, Field(ge=1)] = 20
    top_k_users: Annotated[int, Field(ge=1)] = 10
    m: Annotated[int, Field(ge=1)] = 3
    sampling: Literal["uniform", "importance", "beta"] = "importance"
    alpha: Annotated[float, Field(gt=0)] = 0.5
    popularity_discount: Annotated[float, Field(ge=0)] = 1.0
    weighting: Literal["clamp", "softmax"] = "clamp"
    draws: Annotated[int, Field(ge=1)] = 1
    beta: Annotated[float, Field(ge=0)] = 0.3
    mixup: Literal["output", "representation"] = "output"
    weights: Literal["teacher", "student"] = "teacher"
    start: Literal["base", "scratch"] = "base"
    allowed: str | None = None
    gates: Gates = Gates()

    @model_validator(mode="after")
    def _consistent(self) -> "DivSPA":
        if not self.ways or len(set(self.ways)) < len(self.ways):
            raise ValueError("`ways` names one or more of u2i, i2i, u2u2i, each once")
        if self.m > self.top_k:
            raise ValueError("`m` items are sampled from the `top_k`, so m may not exceed top_k")
        return self


class Evaluation(Section):
    """What is measured on the part of the log after the cutoff; diversity on the lists of so many users (Table 5)."""

    ks: Annotated[tuple[int, ...], Field(min_length=1)] = (50, 100, 200)
    diversity_ks: Annotated[tuple[int, ...], Field(min_length=1)] = (100, 500, 1000)
    diversity_users: Annotated[int, Field(ge=1)] = 10_000
    drop_seen: bool = True


class Recall(Section):
    """How long the published recall lists are, and what may be in them."""

    items_per_user: Annotated[int, Field(ge=1)] = 200
    items_per_item: Annotated[int, Field(ge=1)] = 100
    allowed: str | None = None


class Maintain(Section):
    """How long the lake keeps what it holds."""

    keep_days: Annotated[int, Field(ge=0)] = 0
    pinned_days: Annotated[int, Field(ge=1, le=30)] = 7
    vacuum_hours: Annotated[float, Field(ge=0)] = 168.0
    file_mb: Annotated[int, Field(ge=1)] = 128


class Spark(Section):
    """The few Spark settings that divspa sets by itself; spark-submit's own options win over them."""

    master: str = "local[*]"
    driver_memory: str = "3g"
    partitions: Annotated[int, Field(ge=1)] = 4
    event_log: str | None = "event_logs"


class Config(Section):
    """The whole configuration of a daily pipeline."""

    lake: str = "lake"
    seed: Annotated[int, Field(ge=0)] = 17
    clicks: ClickLog
    users: Attributes | None = None
    items: Attributes | None = None
    features: Features = Features()
    split: Split = Split()
    model: Annotated[Model, BeforeValidator(lambda m: {"name": m} if isinstance(m, str) else m)] = Model()
    training: Training = Training()
    divspa: DivSPA = DivSPA()
    evaluation: Evaluation = Evaluation()
    recall: Recall = Recall()
    maintain: Maintain = Maintain()
    spark: Spark = Spark()

    @property
    def event_log(self) -> str | None:
        """The folder of Spark's event logs: in the lake, unless it is a whole path."""
        folder = self.spark.event_log
        return folder if folder is None or folder.startswith("/") or "://" in folder else f"{self.lake}/{folder}"

    @property
    def paths(self) -> tuple[str, ...]:
        """Where the lake and the inputs lie, as far as the environment says."""
        sources = (self.clicks, self.users, self.items)
        return self.lake, *(os.path.expandvars(source.path) for source in sources if source)

    @property
    def user_fields(self) -> tuple[FeatureField, ...]:
        """The encoded fields of a user, in the order of `user_features`: id, attributes, sequences."""
        return self.user_columns + self.features.sequences

    @property
    def user_columns(self) -> tuple[ColumnField, ...]:
        """The fields of a user that are columns: the user's id, when it is embedded, and the attributes."""
        own = (ColumnField(name="user_id"),) if self.features.embed_user_id else ()
        return own + (self.users.fields if self.users else ())

    @property
    def item_fields(self) -> tuple[ColumnField, ...]:
        """The encoded fields of an item, in the order of `item_features`; the item's id is held apart."""
        return self.items.fields if self.items else ()

    @model_validator(mode="after")
    def _names_fit(self) -> "Config":
        names = [field.name for field in self.user_fields + self.item_fields]
        taken = RESERVED - ({"user_id"} if self.features.embed_user_id else set())
        twice = sorted({name for name in names if names.count(name) > 1 or name in taken})
        if twice:
            raise ValueError(
                f"field names must differ from each other and from {', '.join(sorted(RESERVED))}: {', '.join(twice)}"
            )
        of_items = ["item_id", *(field.name for field in self.item_fields)]
        for sequence in self.features.sequences:
            if sequence.of not in of_items:
                raise ValueError(f"the sequence {sequence.name} is `of: {sequence.of}`, not of {', '.join(of_items)}")
        return self


def fingerprint(*parts: object) -> str:
    """A short, stable hash of settings and versions, used as a model's version."""
    text = "\n".join(part.model_dump_json() if isinstance(part, BaseModel) else repr(part) for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Read a YAML file and apply `section.key=value` overrides.

    Relative input and lake paths are taken from the folder in which the command runs. Raises ConfigError for an
    unreadable file, an unknown key, or a value of the wrong kind, naming all that is wrong at once.
    """
    data = read_mapping(path, "configuration")
    for override in overrides:
        _apply_override(data, override)
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError(
            f"The configuration {path} has {error.error_count()} problem(s): {_explain(error)}",
            remedy="see `divspa config` for every key and its meaning",
        ) from error
    return config


def read_mapping(path: str | Path, what: str) -> dict[str, Any]:
    """Read a YAML file that holds a mapping. Raises ConfigError, which says `what` the file is."""
    try:
        data = yaml.safe_load(Path(path).read_text()) or {}
    except OSError as error:
        raise ConfigError(f"The {what} {path} cannot be read", found=str(error.strerror)) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"The {what} {path} is not valid YAML", found=str(error)) from error
    if not isinstance(data, dict):
        raise ConfigError(f"The {what} {path} must hold a mapping", found=type(data).__name__)
    return data


def validate_section(section: type[T], data: dict[str, Any], name: str) -> T:
    """Validate settings that live beside an algorithm, with the same messages as the main file."""
    try:
        return section.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"The configuration section `{name}` is wrong: {_explain(error, section)}") from error


def _apply_override(data: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"The option --set {override} is not of the form section.key=value")
    *parents, leaf = key.strip().split(".")
    for parent in parents:
        inner = data.get(parent)
        if isinstance(inner, str) and parent == "model":
            inner = {"name": inner}
        data[parent] = dict(inner) if isinstance(inner, dict) else {}
        data = data[parent]
    try:
        data[leaf] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"The value of --set {override} is not valid YAML", found=str(error)) from error


def _explain(error: ValidationError, root: type[BaseModel] = Config) -> str:
    lines = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"]) or "the file"
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            close = difflib.get_close_matches(str(problem["loc"][-1]), _known_keys(root), n=1)
            message = "unknown key" + (f"; did you mean `{close[0]}`?" if close else "")
        lines.append(f"`{where}`: {message}")
    return "; ".join(lines)


def _known_keys(section: type[BaseModel]) -> list[str]:
    keys = list(section.model_fields)
    for field in section.model_fields.values():
        for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                keys += _known_keys(kind)
    return keys
