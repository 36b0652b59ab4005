import numpy as np
from world import catalogue_of, vectors_of


def test_vectors_without_unit_length_are_near_by_their_direction() -> None:
    vectors = vectors_of(30, 4)
    longer = vectors * np.arange(1, 33, dtype=np.float32)[:, None]
    assert catalogue_of(vectors, 3).has_directions and not catalogue_of(longer, 3).has_directions
    assert np.allclose(catalogue_of(longer, 3).directions, vectors, atol=1e-6)
