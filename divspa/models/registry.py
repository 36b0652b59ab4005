"""Every model by its name in the configuration."""

from divspa.config import Model, Section, validate_section
from divspa.errors import ConfigError
from divspa.models.layout import Layout
from divspa.models.two_tower import TwoTowerModule
from divspa.models.youtube_dnn import YoutubeDNN

MODELS: dict[str, type[TwoTowerModule]] = {
    "youtube_dnn": YoutubeDNN,
}


def model_settings(model: Model) -> Section:
    """The model's own settings, validated. Raises ConfigError for an unknown model or setting."""
    if model.name not in MODELS:
        raise ConfigError(
            "The configuration names an unknown model",
            expected=f"`model.name` one of {', '.join(MODELS)}",
            found=model.name,
        )
    return validate_section(MODELS[model.name].Settings, model.model_extra or {}, "model")


def build_model(model: Model, layout: Layout) -> TwoTowerModule:
    """A freshly initialised model."""
    return MODELS[model.name](layout, model_settings(model))
