"""Broken results are caught, and a worker's error reaches the driver as itself."""

import numpy as np
import pytest
from pyspark.errors.exceptions.base import PySparkException

from divspa.errors import ContractError, TrainingError
from divspa.retrieval.checks import checked
from divspa.retrieval.failures import as_text, worker_errors
from divspa.retrieval.kernel import TopK

QUERIES = np.array([1, 2])


def result(scores: list[float], ids: tuple[int, ...] = (5, 6, 7), offsets: tuple[int, ...] = (0, 2, 3)) -> TopK:
    return TopK(np.array(offsets), np.array(ids), np.array(scores, np.float32))


def test_good_results_pass_unchanged() -> None:
    for good in (result([0.5, 0.5, 0.9]), result([], (), (0, 0, 0)), result([0.3], (5,), (0, 0, 1))):
        assert checked(good, QUERIES, exclude_self=True) is good


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (result([0.4, 0.5, 0.9]), "ascending pair"),
        (result([np.inf, 0.5, 0.9]), "NaN or infinity"),
        (result([0.5, np.nan, 0.9]), "NaN or infinity"),
        (result([0.5, 0.4, 0.9], ids=(5, 1, 7)), "among its own results"),
        (result([0.5, 0.4, 0.9], offsets=(0, 1, 2, 3)), "Expected: 2 lists of results. Found: 3"),
    ],
)
def test_broken_results_are_an_error(broken: TopK, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        checked(broken, QUERIES, exclude_self=True)


def test_a_workers_error_is_raised_as_itself() -> None:
    error = ContractError("The thing is wrong", expected="a", found="b", remedy="c")
    with pytest.raises(ContractError) as raised, worker_errors():
        raise PySparkException(f"Traceback:\n  File x\n{as_text(error)}\n\tat org.apache.spark")
    assert str(raised.value) == str(error)


def test_other_errors_of_spark_pass() -> None:
    with pytest.raises(PySparkException), worker_errors():
        raise PySparkException("disk full")
