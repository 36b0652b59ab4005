"""The user tower as a file that torch alone, or a runtime of ONNX, can load."""

import io
import logging
import warnings
from typing import Any

import torch

from divspa.errors import SetupError
from divspa.models.two_tower import TwoTowerModule

ONNX_INPUTS, ONNX_OUTPUTS, OPSET = ["user_features", "history"], ["vector"], 17


class UserTower(torch.nn.Module):
    """The half of a model that encodes users."""

    def __init__(self, model: TwoTowerModule) -> None:
        super().__init__()
        self.model = model

    def forward(self, user_features: torch.Tensor, history: torch.Tensor) -> torch.Tensor:
        """Vectors [B, D] of encoded fields [B, F] and histories [B, L], both int32."""
        return self.model.encode_users(user_features, history)


def export_user_tower(model: TwoTowerModule) -> bytes:
    """The user tower as a torch.export archive: (user_features [B, F], history [B, L]) int32 -> vectors [B, D]."""
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(UserTower(model), _two_users(model), dynamic_shapes=({0: batch}, {0: batch}))
    # It warns of the empty tensor that the fields of users are where there are none.
    logging.getLogger("torch.export.pt2_archive._package").setLevel(logging.ERROR)
    archive = io.BytesIO()
    torch.export.save(program, archive)
    return archive.getvalue()


def export_onnx(model: TwoTowerModule) -> bytes:
    """The user tower in ONNX: inputs `user_features` [B, F] and `history` [B, L], int32; output `vector` [B, D].

    Raises SetupError without the package onnx.
    """
    try:
        import onnx  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise SetupError(
            "`recall.onnx` is set, but the package onnx is not there",
            remedy="`pip install 'divspa[onnx]'`, or unset it",
        ) from error
    archive: Any = io.BytesIO()  # which this exporter takes, though its signature names paths alone
    with warnings.catch_warnings():
        # The exporter that torch recommends instead needs more packages; the rest tells of folding and of constants.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            UserTower(model),
            _two_users(model),
            archive,
            input_names=ONNX_INPUTS,
            output_names=ONNX_OUTPUTS,
            dynamic_axes={name: {0: "batch"} for name in ONNX_INPUTS + ONNX_OUTPUTS},
            opset_version=OPSET,
            dynamo=False,
        )
    return archive.getvalue()


def _two_users(model: TwoTowerModule) -> tuple[torch.Tensor, torch.Tensor]:
    """Encoded fields and histories to trace the tower by."""
    width = sum(field.width for field in model.layout.user)
    return torch.ones(2, width, dtype=torch.int32), torch.zeros(2, model.layout.history_length, dtype=torch.int32)
