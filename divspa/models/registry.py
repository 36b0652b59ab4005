"""Every model by its name in the configuration."""

from divspa.errors import ConfigError
from divspa.models.autoint import AutoInt
from divspa.models.deepfm import DeepFM
from divspa.models.fm import FM
from divspa.models.layout import Layout
from divspa.models.rfm import RFM
from divspa.models.settings import Model
from divspa.models.two_tower import TowerSettings, TwoTowerModule
from divspa.models.ufnrec import UFNRec
from divspa.models.youtube_dnn import YoutubeDNN
from divspa.settings import validate_section

MODELS: dict[str, type[TwoTowerModule]] = {
    "fm": FM,
    "youtube_dnn": YoutubeDNN,
    "deepfm": DeepFM,
    "autoint": AutoInt,
    "rfm": RFM,
    "ufnrec": UFNRec,
}


def model_settings(model: Model) -> TowerSettings:
    """The model's own settings, validated. Raises ConfigError for an unknown model or setting."""
    if model.name not in MODELS:
        raise ConfigError(
            "The configuration names an unknown model",
            expected=f"`model.name` one of {', '.join(MODELS)}",
            found=model.name,
        )
    return validate_section(MODELS[model.name].Settings, model.model_extra or {}, "model")


def with_all_settings(model: Model) -> Model:
    """The model with its defaults written out, so that what is kept of it outlives a change of defaults."""
    return Model.model_validate({"name": model.name, **model_settings(model).model_dump()})


def build_model(model: Model, layout: Layout) -> TwoTowerModule:
    """A freshly initialised model."""
    return MODELS[model.name](layout, model_settings(model))
