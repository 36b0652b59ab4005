"""The user tower as a file that torch alone can load."""

import io
import logging

import torch

from divspa.models.two_tower import TwoTowerModule


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
    width = sum(field.width for field in model.layout.user)
    example = (torch.ones(2, width, dtype=torch.int32), torch.zeros(2, model.layout.history_length, dtype=torch.int32))
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(UserTower(model), example, dynamic_shapes=({0: batch}, {0: batch}))
    # It warns of the empty tensor that the fields of users are where there are none.
    logging.getLogger("torch.export.pt2_archive._package").setLevel(logging.ERROR)
    archive = io.BytesIO()
    torch.export.save(program, archive)
    return archive.getvalue()
