"""Matching one level of a query with good pictures: what each patch resembles, where, how well."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.detection.alignment import cell_places, moved_places
from anomalyst.detection.similarity import Similarities, row_parts

FARTHEST = 20.0  # most that distance from its place lowers the log of a match's weight, per axis
OWN_CELLS = 2.0  # with no good picture at hand: how near a patch's own surroundings reach


@dataclass(slots=True)
class References:
    """Good pictures as the decoder needs them, computed once when a product is taught.

    Per level: unit patch vectors (B, M, D) with M = K * N and N = h * w. From stride 8 on also how
    alike the pictures are, (B, K, K, N): the best similarity of patch n of picture i in picture j.
    """

    grids_hw: list[tuple[int, int]]
    patches: list[Tensor]
    likeness: list[Tensor]  # of every level but the finest
    alone: bool = False  # the query itself, for want of a good picture: a patch cannot match itself

    @property
    def count(self) -> int:
        """How many good pictures there are of each product."""
        return self.likeness[0].shape[1]

    def only(self, pictures: Sequence[int]) -> "References":
        """Some of the good pictures: what `remember` would make of these alone, but free."""
        kept = torch.as_tensor(list(pictures))
        cells = [height * width for height, width in self.grids_hw]
        patches = [
            rows.unflatten(1, (-1, count))[:, kept].flatten(1, 2)
            for rows, count in zip(self.patches, cells, strict=True)
        ]
        likeness = [like[:, kept][:, :, kept] for like in self.likeness]
        return References(self.grids_hw, patches, likeness)


@dataclass(slots=True)
class Match:
    """What one level's matching tells the decoder."""

    features: Tensor  # (B, width, h, w)
    distance: Tensor  # (B, 1, h, w): 1 - similarity to the nearest good patch, anywhere
    best: Tensor  # (B, 2, h, w) rows of the references: matched nearby, matched anywhere
    movement: Tensor  # (B, K, 2, 3) of the product from each good picture, in query cells


class LevelMatcher(nn.Module):
    """One level: match every patch anywhere, near its place, and where its neighbours matched."""

    SCALARS = 5

    def __init__(self, depth: int, width: int):
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(2.7))  # log of the softmax temperature
        self.nearness = nn.Parameter(torch.tensor(-3.5))  # log of similarity lost per cell^2
        self.mix = nn.Sequential(
            nn.Conv2d(3 * depth + self.SCALARS, width, 1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(
        self, level: Tensor, references: References, index: int, movement: Tensor | None = None
    ) -> Match:
        """(B, D, h, w) query against level `index` of the references.

        `movement` says how the product lies (`alignment.py`); without it, the level finds out.
        """
        batch, _, height, width = level.shape
        rows, grid = references.patches[index], references.grids_hw[index]
        scale = (height / grid[0], width / grid[1])
        there = cell_places(*grid, level.device, scale)  # (N', 2) in query cells
        units = unit_patches(level)  # (B, N, D)
        hidden = own_surroundings((height, width), there) if references.alone else None
        similarity = Similarities.between(units, rows, hidden)
        if movement is None:
            movement = similarity.movement((height, width), there)
        places = moved_places(movement, cell_places(height, width, level.device))
        gone = 1 - similarity.most()
        found = [
            self._explained(alike, rows, gone, places[:, :, part], grid, scale)
            for part, alike in similarity.parts()
        ]
        at_any, at_near, by_any, by_near, lacks = (
            torch.cat(rows_of, 1) if len(rows_of) > 1 else rows_of[0]
            for rows_of in zip(*found, strict=True)
        )
        agreed = agreement(similarity.at, at_any, (height, width), grid)
        spread = normal_variation(references.likeness[index - 1]).gather(1, at_any)
        near, anywhere = (1 - (units * taken(rows, at)).sum(2) for at in (at_near, at_any))
        scalars = [anywhere, near, 1 - agreed.float(), spread, lacks]
        vectors = working(units)
        stacked = torch.cat(
            [
                *((vectors - explained).abs() * 4 for explained in (by_any, by_near)),
                vectors * 2,
                torch.stack(scalars, 2).to(vectors.dtype) * 4,
            ],
            2,
        )
        stacked = as_picture(stacked, (height, width))
        best = torch.stack([at_near, at_any], 1).reshape(batch, 2, height, width)
        distance = anywhere.reshape(batch, 1, height, width)
        return Match(F.relu(self.mix(stacked)), distance, best, movement)

    def _explained(
        self,
        similarity: Tensor,
        rows: Tensor,
        gone: Tensor,
        places: Tensor,
        grid: tuple[int, int],
        scale: tuple[float, float],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Some patches' best good ones (B, n), anywhere and near, and their mixtures (B, n, D).

        Last, what the query lacks at their places (B, n): `gone` (B, M) is how far each good patch
        is from the nearest of the query.
        """
        tau = self.sharpness.exp()
        # exp(tau (similarity - 1)), and the same times a bell round the place: both softmaxes
        # before they are divided by their sums. No similarity is above 1, so nothing overflows.
        alike = (similarity * tau - tau).exp()
        round_places = bell(places, grid, scale, tau * self.nearness.exp())
        beside = alike * round_places.to(alike.dtype)
        at_any, at_near = highest(alike), highest(beside)
        alike, beside, good = working(alike), working(beside), working(rows)
        by_any, by_near = (w @ good / w.sum(2, keepdim=True) for w in (alike, beside))
        return at_any, at_near, by_any, by_near, lacking(gone, round_places)


def working(x: Tensor) -> Tensor:
    """In the precision that autocast wants for products, cast once instead of at each product."""
    device = x.device.type
    return x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x


def highest(values: Tensor) -> Tensor:
    """Index of a highest value of each row: (B, N, M) -> (B, N).

    What `argmax(2)` finds, in a tenth of its time: the rows are folded into lanes, and the maxima
    of lanes side by side use the processor's vectors.
    """
    lanes = next((c for c in (64, 32, 16, 8, 4) if values.shape[2] % c == 0), 1)
    folded = values.detach().float().unflatten(2, (-1, lanes))  # (B, N, M / lanes, lanes)
    lane = folded.amax(2).argmax(2, keepdim=True)  # (B, N, 1)
    column = folded.gather(3, lane[:, :, None].expand(-1, -1, folded.shape[2], 1))[..., 0]
    return column.argmax(2) * lanes + lane[..., 0]


def bell(
    places: Tensor, grid_hw: tuple[int, int], scale: tuple[float, float], loss: Tensor
) -> Tensor:
    """exp(-loss * squared distance) of query patches' places to good patches, (B, N, K * N').

    `places` (B, K, N, 2): where each query patch lies on each good picture, in query cells, of
    which a cell of `grid_hw` has `scale`; beyond the border counts as at it. `loss` is per squared
    query cell.
    """
    # A bell over a grid is one over its rows times one over its columns: few exponentials.
    sides = []
    for axis in (0, 1):
        centres = (torch.arange(grid_hw[axis], device=places.device) + 0.5) * scale[axis]
        inside = places[..., axis, None].clamp(0.0, grid_hw[axis] * scale[axis])
        gaps = (inside - centres).square()  # (B, K, N, h' or w')
        # Far away it stays a tiny number instead of a denormal one: nothing a sum would notice, but
        # processors take seven times as long for products of those.
        sides.append(torch.exp(-(loss * gaps).clamp(max=FARTHEST)).transpose(1, 2))
    rows, columns = (working(side) for side in sides)
    return (rows[..., None] * columns[..., None, :]).flatten(2)


def lacking(gone: Tensor, near: Tensor) -> Tensor:
    """How much of what the good pictures show near a place the query shows nowhere, (B, N).

    `gone` (B, M): distance of each good patch to the nearest of the query; `near` (B, N, M) weighs
    them by place. The match the other way round: what is missing leaves no patch behind that could
    match badly.
    """
    return (near @ working(gone)[..., None])[..., 0].float() / near.float().sum(2)


def own_surroundings(grid_hw: tuple[int, int], there: Tensor) -> Tensor:
    """Which patches of a picture are too close to a patch to explain it, bool (N, N)."""
    own = cell_places(*grid_hw, there.device)
    return (own[:, None] - there[None]).abs().amax(2) < OWN_CELLS


def agreement(
    similarity_at: Callable[[Tensor], Tensor],
    best: Tensor,
    query_hw: tuple[int, int],
    grid_hw: tuple[int, int],
) -> Tensor:
    """Best similarity under the displacement of a neighbour's match, (B, N).

    A patch that only resembles something far from where its neighbours matched scores low
    (anchor-consistent retrieval). `best` (B, N): each one's best of the M; `similarity_at`: to
    some of these, (B, N, C) -> (B, N, C).
    """
    batch, (height, width), (rows, columns) = best.shape[0], query_hw, grid_hw
    cells = rows * columns
    grid = best.reshape(batch, height, width)
    with torch.no_grad():
        found = []
        for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            # The neighbour at (y - dy, x - dx) matched some place; ours lies (dy, dx) beyond it.
            neighbour = torch.roll(grid, (dy, dx), (1, 2))
            picture, cell = neighbour // cells, neighbour % cells
            y = (cell // columns + dy).clamp(0, rows - 1)
            x = (cell % columns + dx).clamp(0, columns - 1)
            found.append(((picture * rows + y) * columns + x).flatten(1))
        candidates = torch.stack(found, 2)  # (B, N, 4)
        pick = similarity_at(candidates).argmax(2, keepdim=True)
        chosen = candidates.gather(2, pick)
    return similarity_at(chosen)[..., 0]


def picture_likeness(rows: Tensor, count: int) -> Tensor:
    """How well picture j explains each patch of picture i: (B, M, D) unit vectors -> (B, K, K, N).

    A picture explains its own patch by its other patches.
    """
    each = rows.shape[1] // count
    pictures = rows.unflatten(1, (count, each))  # (B, K, N, D)
    itself = torch.eye(each, dtype=torch.bool, device=rows.device)
    # Some rows of one picture against all at a time.
    parts = [(i, part) for i in range(count) for part in row_parts(each, len(rows) * rows.shape[1])]
    found = []
    for i, part in parts:
        similarity = (pictures[:, i, part] @ rows.transpose(1, 2)).unflatten(2, (count, each))
        similarity = similarity.transpose(1, 2)  # (B, K, n, N)
        own = similarity[:, i].masked_fill(itself[part], -1.0)
        best = [own.amax(2) if j == i else similarity[:, j].amax(2) for j in range(count)]
        found.append(torch.stack(best, 1))  # (B, K, n)
    return torch.cat(found, 2).unflatten(2, (count, each)).transpose(1, 2)


def normal_variation(likeness: Tensor) -> Tensor:
    """Distance of each good patch to its nearest fellow, (B, K, K, N) -> (B, K * N).

    With several good pictures the fellow is in another one; with one it is elsewhere in the same
    picture, which tells a repeated texture from a part that occurs once.
    """
    count = likeness.shape[1]
    if count > 1:
        itself = torch.eye(count, device=likeness.device) > 0  # a bool eye is in no engine
        likeness = likeness.masked_fill(itself[None, :, :, None], -1.0)
    return 1 - likeness.amax(2).flatten(1)


def children(best: Tensor, fine_hw: tuple[int, int], query_hw: tuple[int, int]) -> Tensor:
    """Stride-8 rows (B, 2, h, w) -> stride-4 candidates (B, 10, N): a cross round each child."""
    rows_fine, columns_fine = fine_hw
    columns = columns_fine // 2
    cells = (rows_fine // 2) * columns
    picture, cell = best // cells, best % cells
    y = (cell // columns * 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    x = (cell % columns * 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    picture = picture.repeat_interleave(2, 2).repeat_interleave(2, 3)
    y = y + (torch.arange(query_hw[0], device=best.device) % 2)[:, None]
    x = x + (torch.arange(query_hw[1], device=best.device) % 2)[None, :]
    found = []
    for dy, dx in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)):
        at_y, at_x = (y + dy).clamp(0, rows_fine - 1), (x + dx).clamp(0, columns_fine - 1)
        found.append((picture * rows_fine + at_y) * columns_fine + at_x)
    return torch.cat(found, 1).flatten(2)


def unit_patches(level: Tensor) -> Tensor:
    """(B, D, h, w) -> (B, N, D) float32 unit vectors."""
    return F.normalize(level.flatten(2).transpose(1, 2).float(), dim=2)


def as_picture(rows: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """(B, h * w, C) -> (B, C, h, w) with channels last, which convolutions here are fastest with.

    The strides must say so for a batch of one, too: a transpose and a reshape leave them ambiguous.
    """
    return rows.unflatten(1, grid_hw).permute(0, 3, 1, 2)


def taken(rows: Tensor, index: Tensor) -> Tensor:
    """Rows (B, M, D) picked by index (B, N) -> (B, N, D)."""
    batch, count, depth = rows.shape
    # Whole rows are copied; `gather` would go value by value.
    first = torch.arange(batch, device=rows.device)[:, None] * count
    return (
        rows.reshape(-1, depth).index_select(0, (index + first).flatten()).unflatten(0, (batch, -1))
    )
