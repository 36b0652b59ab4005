"""The settings of a search, and its report."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from divspa.settings import Section

Plan = Literal["broadcast", "sharded", "routed"]


class SearchSettings(Section):
    """How a search is spread over Spark; `auto` picks the plan from the sizes, zeros mean tuned by itself.

    `broadcast` and `sharded` are exact. `routed` looks into the `nprobe` nearest of `clusters` clusters, measures its
    recall on `recall_sample` queries, and raises an error below `recall_floor`. `shards` and `seed` never change an
    exact result; `shards` never changes a routed one either.
    """

    plan: Literal["auto", "broadcast", "sharded", "routed"] = "auto"
    recall_floor: Annotated[float, Field(gt=0, le=1)] = 0.98
    recall_sample: Annotated[int, Field(ge=1)] = 2000
    nprobe: Annotated[int, Field(ge=0)] = 0
    clusters: Annotated[int, Field(ge=0)] = 0
    shards: Annotated[int, Field(ge=0)] = 0
    broadcast_mb: Annotated[int, Field(ge=0)] = 256
    seed: Annotated[int, Field(ge=0)] = 17


@dataclass(frozen=True)
class SearchReport:
    """What a search decided and measured; an exact plan has recall 1 by construction."""

    plan: Plan
    queries: int
    rows: int
    recall: float = 1.0
    nprobe: int = 0
    clusters: int = 0
    shards: int = 1
