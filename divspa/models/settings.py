"""Which model is trained."""

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Which model, and its own settings; these are validated beside the model's code (divspa.models)."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str = "youtube_dnn"
