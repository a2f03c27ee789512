"""Which vectors are nearest to one."""

import numpy as np


def nearest_first(query: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of unit vectors (N, D) in falling similarity to a unit vector (D,): order, cosines.

    Both (N,), the cosines in the order of the rows; rows as near as each other keep their order.
    """
    cosines = vectors @ query
    return np.argsort(-cosines, kind="stable"), cosines
