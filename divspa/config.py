"""The configuration: one YAML file, overridden by `--set key=value`, that joins the settings of every room."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints, ValidationError, model_validator

from divspa.augmentation.settings import DivSPA
from divspa.errors import ConfigError
from divspa.evaluation.settings import Evaluation, Report
from divspa.features.settings import RESERVED, Attributes, ClickLog, ColumnField, FeatureField, Features, Split
from divspa.lake.settings import Maintain, Spark
from divspa.linear.settings import Linear
from divspa.models.settings import Model
from divspa.publishing.settings import Publishing
from divspa.serving.settings import Recall
from divspa.settings import Place, Section, explain, fingerprint, parse_yaml, read_mapping
from divspa.training.settings import Training
from divspa.tuning.settings import CHOSEN, Tuning

# A section that may be given as one word, and the key that the word is for.
IN_A_WORD = {"model": "name", "divspa": "choose"}


def _spelled_out(section: str, given: Any) -> Any:
    """A section of the configuration as a mapping, where it was given as one word."""
    return {IN_A_WORD[section]: given} if section in IN_A_WORD and isinstance(given, str) else given


def _chosen_unless_given(given: Any) -> Any:
    """The section `divspa`, for the day to choose where nobody has said who does and nothing that it would choose."""
    given = _spelled_out("divspa", given)
    if isinstance(given, DivSPA):
        given = given.model_dump(exclude_unset=True)
    if isinstance(given, dict) and not given.keys() & {"choose", *CHOSEN}:
        given = {**given, "choose": "auto"}
    return given


class Config(Section):
    """The whole configuration of a daily pipeline."""

    lake: Place = "lake"
    catalog: Annotated[str, StringConstraints(pattern=r"^\w+\.\w+$")] | None = None
    seed: Annotated[int, Field(ge=0)] = 17
    clicks: ClickLog
    users: Attributes | None = None
    items: Attributes | None = None
    features: Features = Features()
    split: Split = Split()
    model: Annotated[Model, BeforeValidator(lambda given: _spelled_out("model", given))] = Model()
    training: Training = Training()
    linear: Linear = Linear()
    divspa: Annotated[DivSPA, BeforeValidator(_chosen_unless_given)] = DivSPA(choose="auto")
    tuning: Tuning = Tuning()
    evaluation: Evaluation = Evaluation()
    report: Report = Report()
    publishing: Publishing = Publishing()
    recall: Recall = Recall()
    maintain: Maintain = Maintain()
    spark: Spark = Spark()

    @property
    def event_log(self) -> str | None:
        """The folder of Spark's event logs: in the lake, unless it is a whole path."""
        folder = self.spark.event_log
        return folder if folder is None or folder.startswith("/") or "://" in folder else f"{self.lake}/{folder}"

    @property
    def hash(self) -> str:
        """Of all that decides what the tables hold, so not of the report, nor of how Spark runs."""
        return fingerprint(self.model_dump_json(exclude={"spark", "report"}))

    @property
    def paths(self) -> tuple[str, ...]:
        """Where the lake and the inputs lie, as far as the environment says."""
        sources = (self.clicks, self.users, self.items)
        return self.lake, *(os.path.expandvars(source.path) for source in sources if source)

    @property
    def fusion_depth(self) -> int:
        """How many items of each model's list are fused: at least as many as a published list has."""
        return max(self.publishing.depth, self.recall.items_per_user)

    def with_training(self, **settings: Any) -> "Config":
        """The same with other settings of the training."""
        return self.model_copy(update={"training": self.training.model_copy(update=settings)})

    def with_whole_lake(self) -> "Config":
        """The same with the lake's path as a whole, whatever folder one works in; a URL stays."""
        lake = self.lake if "://" in self.lake else str(Path(self.lake).expanduser().resolve())
        return self.model_copy(update={"lake": lake})

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """What the base is trained with in turn; of several that one is kept which ranks held-out clicks best."""
        given, rates = self.training.learning_rate, self.tuning.learning_rates
        if given != "auto":
            return (given,)
        return rates if self.divspa.choose == "auto" else rates[:1]

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
    def _events_known(self) -> "Config":
        if unknown := sorted(set(self.evaluation.events) - set(self.clicks.kinds)):
            raise ValueError(f"`evaluation.events` names {', '.join(unknown)}, which `clicks.events.weights` does not")
        return self

    @model_validator(mode="after")
    def _report_has_items(self) -> "Config":
        if self.items is None and (self.report.item_name or self.report.item_picture):
            raise ValueError("`report.item_name` and `report.item_picture` are columns of `items`, which is not given")
        return self

    @model_validator(mode="after")
    def _items_without_clicks_have_fields(self) -> "Config":
        if self.features.item_min_count == 0 and not self.item_fields:
            raise ValueError("`features.item_min_count: 0` places items by their fields, so it needs `items.fields`")
        return self

    @model_validator(mode="after")
    def _times_needed(self) -> "Config":
        dated = [side for side in ("users", "items") if (table := getattr(self, side)) and table.valid_from]
        needs = {"split.by: time": self.split.by == "time", "features.late_days": self.features.late_days > 0}
        needs["features.window_days"] = self.features.window_days is not None
        needs |= {"{ds} in clicks.path": "{ds}" in self.clicks.path} | {f"{side}.valid_from": True for side in dated}
        if not self.clicks.has_times and (asked := [name for name, needed in needs.items() if needed]):
            raise ValueError(f"`clicks.time_unit: order` knows no times, which {', '.join(asked)} needs")
        return self

    @model_validator(mode="after")
    def _segments_known(self) -> "Config":
        known = [
            field.name
            for field in self.user_columns
            if field.kind == "categorical" and field.max_values == 1 and field.hash_buckets is None
        ]
        if unknown := [name for name in self.recall.segments if name not in known]:
            raise ValueError(
                f"`recall.segments` names {', '.join(unknown)}: expected categorical user fields of one value without "
                f"`hash_buckets`, of {', '.join(known) or 'which there are none'}"
            )
        return self

    @model_validator(mode="after")
    def _onnx_can_be(self) -> "Config":
        if self.recall.onnx and (vectors := [f.name for f in self.user_columns if f.kind == "vector"]):
            raise ValueError(f"`recall.onnx` knows no user fields of `kind: vector`, such as {vectors[0]}")
        return self

    @model_validator(mode="after")
    def _names_fit(self) -> "Config":
        names = [field.name for field in self.user_fields + self.item_fields]
        taken = RESERVED - ({"user_id"} if self.features.embed_user_id else set())
        twice = sorted({name for name in names if names.count(name) > 1 or name in taken})
        if twice:
            raise ValueError(
                f"field names must differ from each other and from {', '.join(sorted(RESERVED))}: {', '.join(twice)}"
            )
        of_items = ["item_id", *(field.name for field in self.item_fields if field.kind != "vector")]
        for sequence in self.features.sequences:
            if sequence.of not in of_items:
                raise ValueError(f"the sequence {sequence.name} is `of: {sequence.of}`, not of {', '.join(of_items)}")
        return self


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
            f"The configuration {path} has {error.error_count()} problem(s): {explain(error, Config)}",
            remedy="see `divspa config` for every key and its meaning",
        ) from error
    return config


def _apply_override(data: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"The option --set {override} is not of the form section.key=value")
    *parents, leaf = key.strip().split(".")
    for parent in parents:
        inner = _spelled_out(parent, data.get(parent))
        if not isinstance(inner, dict | None):
            raise ConfigError(f"The option --set {override} is of a section, but `{parent}` is {inner!r}")
        data[parent] = dict(inner or {})
        data = data[parent]
    given = parse_yaml(value, f"The value of --set {override}")
    if key.strip() == "divspa" and isinstance(given, str):  # how to choose, which leaves the other settings as they are
        given = {**(_spelled_out("divspa", data.get("divspa")) or {}), "choose": given}
    data[leaf] = given
