"""Every way by its name in the configuration; a new one is one file and one line."""

from divspa.augmentation.settings import DivSPA
from divspa.augmentation.ways.i2i import I2I
from divspa.augmentation.ways.linear_i2i import LINEAR_I2I
from divspa.augmentation.ways.linear_u2i import LINEAR_U2I
from divspa.augmentation.ways.random import RANDOM
from divspa.augmentation.ways.u2i import U2I
from divspa.augmentation.ways.u2u2i import U2U2I
from divspa.augmentation.ways.way import Way
from divspa.errors import ConfigError

WAYS: dict[str, Way] = {
    "u2i": U2I,
    "i2i": I2I,
    "u2u2i": U2U2I,
    "linear_u2i": LINEAR_U2I,
    "linear_i2i": LINEAR_I2I,
    "random": RANDOM,
}


def chosen_ways(settings: DivSPA) -> dict[str, Way]:
    """The ways of the settings, in the registry's order. Raises ConfigError for one that it does not have."""
    if unknown := [name for name in settings.ways if name not in WAYS]:
        raise ConfigError(
            "The configuration names an unknown way",
            expected=f"`divspa.ways` of {', '.join(WAYS)}",
            found=", ".join(unknown),
        )
    return {name: way for name, way in WAYS.items() if name in settings.ways}
