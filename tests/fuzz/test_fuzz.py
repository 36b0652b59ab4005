"""A few of the random configurations and logs of `python -m tests.fuzz`."""

import itertools
from pathlib import Path

from fuzz.configurations import CONFIGURATIONS, try_configuration
from fuzz.logs import LOGS, try_log
from hypothesis import HealthCheck, Phase, given, settings

from divspa.lake.tables import Lake

CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]


@settings(max_examples=300, deadline=None, suppress_health_check=CHECKS)
@given(CONFIGURATIONS)
def test_a_configuration_is_taken_or_refused(tmp_path_factory, case) -> None:
    try_configuration(tmp_path_factory.getbasetemp(), case)


def test_a_log_of_any_schema_is_read_as_it_was_meant(lake: Lake, tmp_path: Path) -> None:
    numbers = itertools.count()

    @settings(max_examples=8, deadline=None, suppress_health_check=CHECKS, phases=[Phase.generate])
    @given(LOGS)
    def each(log) -> None:
        try_log(lake, tmp_path / f"log {next(numbers)}", log)

    each()
