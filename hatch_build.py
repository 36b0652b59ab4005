"""What only an environment made from the checkout has: spark-submit there finds Delta by itself."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class SparkDefaults(BuildHookInterface):
    """Puts conf/spark-defaults.conf where that environment's spark-submit looks for it; a wheel for others has none."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before a wheel is built; `version` is standard or editable."""
        build_data["force_include_editable"]["conf/spark-defaults.conf"] = "pyspark/conf/spark-defaults.conf"
