"""Poisson image editing: a piece of one picture set into another without a seam.

Pérez, Gangnet and Blake, SIGGRAPH 2003: equation 7 (discrete Poisson), 11 (importing gradients)
and 12 (mixing gradients). Only the pixels of the mask are unknown, so only they are solved for and
only they change: a 1024 px picture with 25,000 of them takes a tenth of a second.
"""

from typing import Literal

import numpy as np
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import splu

from anomalyst.errors import AnomalystError

Gradients = Literal["normal", "mixed"]
STEPS = ((0, 1), (0, -1), (1, 0), (-1, 0))


def cloned(
    target: np.ndarray, source: np.ndarray, mask: np.ndarray, gradients: Gradients = "normal"
) -> np.ndarray:
    """`target` with the gradients of `source` inside `mask`, its own colours at the edge.

    Both uint8 (H, W, 3) and aligned, mask bool (H, W). "mixed" keeps the stronger of both pictures'
    gradients at each pair of pixels. Outside the mask the result is `target`, byte for byte.
    Raises AnomalystError if the sizes differ, the mask is empty or touches the border, where
    there are no colours to hold on to.
    """
    _refuse_misfits(target, source, mask)
    rows, columns = np.nonzero(mask)
    number = np.full(mask.shape, -1, np.int64)
    number[rows, columns] = np.arange(len(rows))
    inside, around = target.astype(np.float64), source.astype(np.float64)
    known = np.zeros((len(rows), target.shape[2]))
    pairs = []
    for down, right in STEPS:
        beside = (rows + down, columns + right)
        step = around[rows, columns] - around[beside]  # (n, 3): what the neighbour lacks
        if gradients == "mixed":
            own = inside[rows, columns] - inside[beside]
            step = np.where(np.abs(own) > np.abs(step), own, step)
        other = number[beside]
        edge = other < 0
        known += step
        known[edge] += inside[beside][edge]
        pairs.append((np.nonzero(~edge)[0], other[~edge]))
    solved = _solve(len(rows), pairs, known)
    result = target.copy()
    result[rows, columns] = np.clip(np.rint(solved), 0, 255)
    return result


def _solve(count: int, pairs: list[tuple[np.ndarray, np.ndarray]], known: np.ndarray) -> np.ndarray:
    """4 f(p) - sum of f(q) over the neighbours q inside = known(p): (n, 3)."""
    first = np.concatenate([np.arange(count), *(p for p, _ in pairs)])
    second = np.concatenate([np.arange(count), *(q for _, q in pairs)])
    values = np.concatenate([np.full(count, 4.0), np.full(len(first) - count, -1.0)])
    matrix = csc_matrix((values, (first, second)), shape=(count, count))
    # Symmetric and diagonally dominant: no pivoting is needed, and an ordering for that is faster.
    factors = splu(
        matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    return np.asarray(factors.solve(known))


def border_steps(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """How much the picture changes across the mask's outline: float32 (n,), grey levels.

    One value per pair of neighbours of which one lies inside: the mean over the channels. A seam
    shows as large values.
    """
    values = picture.astype(np.float32)
    across = mask[:, 1:] != mask[:, :-1]
    down = mask[1:] != mask[:-1]
    sideways = np.abs(values[:, 1:] - values[:, :-1]).mean(2)[across]
    upright = np.abs(values[1:] - values[:-1]).mean(2)[down]
    return np.concatenate([sideways, upright])


def _refuse_misfits(target: np.ndarray, source: np.ndarray, mask: np.ndarray) -> None:
    if not target.shape == source.shape or mask.shape != target.shape[:2]:
        raise AnomalystError(
            f"Poisson editing needs aligned pictures: the target is {_size(target)}, the source "
            f"{_size(source)}, the mask {_size(mask)}."
        )
    if not mask.any():
        raise AnomalystError("Poisson editing needs a mask that marks something; this one is empty")
    if mask[[0, -1]].any() or mask[:, [0, -1]].any():
        raise AnomalystError("The mask touches the picture's border, where nothing holds a blend.")


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
