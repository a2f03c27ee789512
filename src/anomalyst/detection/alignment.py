"""How a product lies in a query compared with a good picture: a shift, a turn and a zoom.

Fitted to the matches of patches, so that "near its own place" means the place on the
product and not on the picture.
"""

import torch
from torch import Tensor

SCALES_CELLS = (
    8.0,
    5.0,
    3.0,
    2.0,
    1.5,
    1.0,
)  # of the Cauchy weight, one per round: wide, then narrow
SHARPNESS = 20.0  # of the softmax that tells a patch with one match from one with many
CLOSE_CELLS = 0.7  # a match this far from where the fit says supports it by half
LEAST_GAIN = 1.1  # support over that of no movement at all, below which nothing is moved
SHIFT_RIDGE = 1.0  # as many sure matches that say "no shift"
TURN_RIDGE = 20.0  # the same for turn and zoom, in cells squared


def cell_places(
    rows: int, columns: int, device: torch.device, scale: tuple[float, float] = (1.0, 1.0)
) -> Tensor:
    """Centres (y, x) of a grid's cells, each axis times its scale, (rows * columns, 2)."""
    y = (torch.arange(rows, device=device) + 0.5) * scale[0]
    x = (torch.arange(columns, device=device) + 0.5) * scale[1]
    return torch.stack(torch.meshgrid(y, x, indexing="ij"), 2).reshape(-1, 2)


def moved_places(movement: Tensor, places: Tensor) -> Tensor:
    """Places (N, 2) of a query -> those on each good picture, (B, K, N, 2)."""
    turned = places @ movement[..., :2].transpose(2, 3)  # (B, K, N, 2)
    return places + turned + movement[..., None, :, 2]


def rescaled(movement: Tensor, factors: tuple[float, float]) -> Tensor:
    """A movement (..., 2, 3) in other cells: `factors` (y, x) as many to each old one."""
    by = movement.new_tensor(factors)
    turned = movement[..., :2] * (by[:, None] / by)
    return torch.cat([turned, movement[..., 2:] * by[:, None]], -1)


@torch.no_grad()
def fitted_movement(similarity: Tensor, query_hw: tuple[int, int], places: Tensor) -> Tensor:
    """How the product moved from each good picture to the query: (B, N, K * N') -> (B, K, 2, 3).

    `places` (N', 2) are the good pictures' cells, in query cells. The matrix [A | b] says that what
    lies at y in the query lies at y + A y + b on the good picture. A similarity transform is fitted
    to the matches of every second cell by iteratively reweighted least squares (Cauchy weights,
    narrowing); a match counts by how much better it is than the patch's others. Zero where it
    explains hardly more than no movement does, as on a texture.
    """
    count = similarity.shape[2] // len(places)
    at, sure = sure_matches(every_second(similarity, query_hw), count)
    return movement_of(at, sure, query_hw, places)


def every_second(rows: Tensor, query_hw: tuple[int, int]) -> Tensor:
    """Every second row and column of a query's cells, (B, N, C) -> (B, n, C) with n = N / 4."""
    return rows.unflatten(1, query_hw)[:, ::2, ::2].flatten(1, 2)


def sure_matches(some: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Similarities (B, n, K * N') to K pictures -> the best cell of each, and how sure (0, 1].

    Both (B, K, n).
    """
    each = some.float().unflatten(2, (count, -1)).transpose(1, 2)  # (B, K, n, N')
    best, at = each.max(3)  # (B, K, n)
    return at, 1 / ((each - best[..., None]) * SHARPNESS).exp().sum(3)


@torch.no_grad()
def movement_of(at: Tensor, sure: Tensor, query_hw: tuple[int, int], places: Tensor) -> Tensor:
    """The movement fitted to matches `at` (B, K, n) of every second cell, each as sure as it is."""
    grid = cell_places(*query_hw, at.device).unflatten(0, query_hw)
    mine = grid[::2, ::2].reshape(-1, 2)  # (n, 2), a quarter of the query's cells
    moved = places[at] - mine  # (B, K, n, 2)
    movement = moved.new_zeros(2, 3)  # of all alike
    moments = _moments(mine, moved)
    for scale in SCALES_CELLS:
        weight = sure / (1 + _gap(movement, mine, moved) / scale**2)
        sums = (weight[..., None, :] @ moments)[..., 0, :]  # (B, K, 7)
        movement = _similarity_fit(weight.sum(2, keepdim=True), sums)
    support = _support(sure, _gap(movement, mine, moved))
    still = _support(sure, moved.square().sum(3))
    return movement * (support > LEAST_GAIN * still)[..., None, None]


def _gap(movement: Tensor, mine: Tensor, moved: Tensor) -> Tensor:
    """Squared distance of displacements (B, K, n, 2) from those of a movement, (B, K, n)."""
    said = mine @ movement[..., :2].transpose(-2, -1) + movement[..., None, :, 2]
    return (moved - said).square().sum(3)


def _moments(mine: Tensor, moved: Tensor) -> Tensor:
    """What a fit needs the weighted sums of, (B, K, n, 7): one product a round gives them all."""
    mine = mine.expand_as(moved)
    dot = (mine * moved).sum(3, keepdim=True)
    cross = mine[..., :1] * moved[..., 1:] - mine[..., 1:] * moved[..., :1]
    square = mine.square().sum(3, keepdim=True)
    return torch.cat([mine, moved, dot, cross, square], 3)


def _similarity_fit(total: Tensor, sums: Tensor) -> Tensor:
    """Weighted least squares of displacements by shift, turn and zoom -> (B, K, 2, 3).

    `total` (B, K, 1) are the sums of the weights, `sums` (B, K, 7) those of `_moments`.
    """
    at, shifted = sums[..., :2], sums[..., 2:4]
    dot, cross, square = sums[..., 4], sums[..., 5], sums[..., 6]
    centre, shift = at / total, shifted / (total + SHIFT_RIDGE)  # (B, K, 2)
    spread = square - (at * centre).sum(2) + TURN_RIDGE
    zoom = (dot - (centre * shifted).sum(2)) / spread
    turn = (cross - centre[..., 0] * shifted[..., 1] + centre[..., 1] * shifted[..., 0]) / spread
    matrix = torch.stack([zoom, -turn, turn, zoom], 2).unflatten(2, (2, 2))
    offset = shift - (matrix @ centre[..., None])[..., 0]
    return torch.cat([matrix, offset[..., None]], 3)


def _support(sure: Tensor, gap: Tensor) -> Tensor:
    """Sure matches that a fit explains, (B, K)."""
    return (sure / (1 + gap / CLOSE_CELLS**2)).sum(2)
