import numpy as np
import pytest

from divspa.features.figures import stability_index


def test_the_stability_index_by_hand() -> None:
    assert stability_index([10, 30], [1, 3]) == pytest.approx(0)
    assert stability_index([75, 25], [50, 50]) == pytest.approx(0.25 * np.log(1.5) - 0.25 * np.log(0.5))
    assert stability_index([100, 0], [50, 50]) > 2
