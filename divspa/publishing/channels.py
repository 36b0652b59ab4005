"""Channels: what lists are made of, one model's or those of two fused."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from divspa.errors import ConfigError
from divspa.publishing.settings import Publishing
from divspa.settings import fingerprint


@dataclass(frozen=True)
class Channel:
    """The models whose lists it fuses, and the weight of each; one model stands for itself."""

    models: tuple[str, ...]
    weights: tuple[float, ...] = (1.0,)

    @property
    def name(self) -> str:
        """Its models, joined by +."""
        return "+".join(self.models)

    @property
    def is_fused(self) -> bool:
        return len(self.models) > 1

    def version(self, versions: dict[str, str]) -> str:
        """The model's version, or a hash of those of its models and their weights."""
        own = [versions[model] for model in self.models]
        return fingerprint(own, self.weights) if self.is_fused else own[0]


def candidates(models: Sequence[str], settings: Publishing) -> Iterator[Channel]:
    """What may be published of these models: each by itself, and each two fused by each weight.

    The simpler come first, and those of an earlier model. Raises ConfigError when the settings allow none of them.
    """
    allowed = [model for model in models if settings.channels == "auto" or model in settings.channels]
    if not allowed:
        raise ConfigError(
            "`publishing.channels` names no model of the day", expected=", ".join(models), found=str(settings.channels)
        )
    yield from (Channel((model,)) for model in allowed)
    for pair in combinations(allowed, 2) if settings.fused else ():
        yield from (Channel(pair, (1 - share, share)) for share in settings.weights)
