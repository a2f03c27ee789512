"""The medial line of a thin thing: from tip to tip along its middle, through every bend.

The middle of a shape is where it is widest across (Blum, A transformation for extracting new
descriptors of shape, 1967). Here it is the cheapest way between the two pixels that lie farthest
apart within the mask, where a step costs the more the nearer it runs to the edge.
"""

import cv2
import numpy as np
from scipy import ndimage
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import dijkstra

MOST_PIXELS = 60_000  # of a mask in which ways are searched; a larger one is made smaller
CENTRED = 2.0  # exponent of how much dearer a step near the edge is
STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))  # (down, right) to half of a pixel's neighbours
SMOOTHED_PX = 7  # over which steps of single pixels are evened out, and a width more
KEPT_EVERY = 2  # points of the smoothed line, of which each has its own last wiggle
ASIDE = 0.35  # of half the width: how far from the line's direction its tip may lie
HEADING_PX = 3  # of its last pixels, and 2 widths, tell where a line points at its end


def medial_line(mask: np.ndarray) -> np.ndarray:
    """The line, float64 (N, 2) of x and y in pixels of the mask, bool (h, w), which is not empty.

    The centre of the first pixel is at 0.5. Pieces that do not touch are joined the shortest way.
    """
    whole = joined(np.pad(mask, 1))
    shrunk = max(1.0, (np.count_nonzero(whole) / MOST_PIXELS) ** 0.5)
    if shrunk > 1:
        size = round(whole.shape[1] / shrunk), round(whole.shape[0] / shrunk)
        small = cv2.resize(whole.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        whole = joined(np.pad(small >= 0.5, 1)) if (small >= 0.5).any() else whole
    inner = cv2.distanceTransform(whole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    line = _to_the_tips(_smoothed(_longest_way(whole, inner), inner), whole, inner)
    return (line - (1 + (shrunk > 1))) * shrunk if shrunk > 1 else line - 1.0


def length_of(line: np.ndarray) -> float:
    """The length of a polyline (N, 2), in its unit."""
    return float(np.hypot(*np.diff(line, axis=0).T).sum())


def turning_of(line: np.ndarray) -> float:
    """How far a polyline (N, 2) turns, either way, in radians."""
    heading = np.unwrap(np.arctan2(*np.diff(line, axis=0).T[::-1]))
    return float(np.abs(np.diff(heading)).sum())


def joined(mask: np.ndarray) -> np.ndarray:
    """The mask with its pieces joined by straight lines, the nearest first; its border is empty."""
    whole = mask.astype(np.uint8)
    while (count := (labels := cv2.connectedComponents(whole, connectivity=8)[1]).max()) > 1:
        first = labels == 1
        far, nearest = ndimage.distance_transform_edt(~first, return_indices=True)
        others = np.where(labels > 1, far, np.inf)
        row, column = np.unravel_index(int(others.argmin()), others.shape)
        there = nearest[:, row, column]
        cv2.line(whole, (int(column), int(row)), (int(there[1]), int(there[0])), 1)
        assert cv2.connectedComponents(whole, connectivity=8)[0] <= count
    return whole.astype(bool)


def _longest_way(mask: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The central way between the two pixels farthest apart: (N, 2) of x and y."""
    rows, columns = np.nonzero(mask)
    number = np.full(mask.shape, -1)
    number[rows, columns] = np.arange(len(rows))
    starts, ends, far, dear = [], [], [], []
    for down, right in STEPS:
        other = number[rows + down, columns + right]  # the border is empty
        there = other >= 0
        step = np.full(int(there.sum()), np.hypot(down, right))
        here, beside = number[rows[there], columns[there]], other[there]
        depth = (inner[rows, columns][here] + inner[rows, columns][beside]) / 2
        starts.append(here)
        ends.append(beside)
        far.append(step)
        dear.append(step * (inner.max() / depth) ** CENTRED)
    if not sum(map(len, far)):
        return np.array([[columns[0] + 0.5, rows[0] + 0.5]])
    plain, central = (_graph(starts, ends, costs, len(rows)) for costs in (far, dear))
    first = _farthest(plain, 0)
    last = _farthest(plain, first)
    before = dijkstra(central, directed=False, indices=first, return_predecessors=True)[1]
    way = [last]
    while way[-1] != first:
        way.append(int(before[way[-1]]))
    return np.stack([columns[way], rows[way]], 1) + 0.5


def _graph(
    starts: list[np.ndarray], ends: list[np.ndarray], costs: list[np.ndarray], count: int
) -> csr_matrix:
    pairs = (np.concatenate(starts), np.concatenate(ends))
    return coo_matrix((np.concatenate(costs), pairs), shape=(count, count)).tocsr()


def _farthest(graph: csr_matrix, start: int) -> int:
    return int(dijkstra(graph, directed=False, indices=start).argmax())


def _smoothed(way: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The way without its ends, which run to corners, and without the steps of its pixels.

    By quadratics over a window (Savitzky & Golay 1964), which leave bends as they are.
    """
    depth = inner[way[:, 1].astype(int), way[:, 0].astype(int)]
    cut = round(float(depth.max()))
    if len(way) > 2 * cut + 2:
        way = way[cut : len(way) - cut]
    window = min(len(way), 2 * round((SMOOTHED_PX + 2 * float(np.median(depth))) / 2) + 1)
    window -= 1 - window % 2
    if window < 5:
        return way
    from scipy.signal import savgol_filter  # it takes a second to import; the server starts without

    smooth = savgol_filter(way, window, 2, axis=0, mode="interp")
    return np.concatenate([smooth[:-1:KEPT_EVERY], smooth[-1:]])


def _to_the_tips(line: np.ndarray, mask: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The line drawn on straight at both ends as far as the mask reaches there."""
    if len(line) < 2:
        return np.concatenate([line - [0.5, 0], line + [0.5, 0]])
    border = border_points(mask)
    wide = float(inner.max())
    reach = max(1, round((2 * wide + HEADING_PX) / KEPT_EVERY))
    ends = []
    for way in (line[::-1], line):
        back = way[max(0, len(way) - 1 - reach)]
        heading = (way[-1] - back) / max(1e-9, float(np.hypot(*(way[-1] - back))))
        off = border - way[-1]
        along, aside = off @ heading, np.abs(off @ [-heading[1], heading[0]])
        ahead = (along <= 2 * wide + 1.5) & (aside <= max(1.0, ASIDE * wide))
        ends.append(way[-1] + heading * float(along[ahead].max(initial=0.0)))
    return np.concatenate([ends[:1], line, ends[1:]])


def border_points(mask: np.ndarray) -> np.ndarray:
    """Middles between pixels of the mask and their neighbours beside it: (N, 2) of x and y.

    The points of the mask's outline at half its height (Lorensen & Cline, Marching Cubes, 1987).
    """
    whole = np.pad(mask, 1)
    down, across = whole[1:] != whole[:-1], whole[:, 1:] != whole[:, :-1]
    rows, columns = np.nonzero(down)
    between = np.stack([columns - 0.5, rows + 0.0], 1)
    rows, columns = np.nonzero(across)
    return np.concatenate([between, np.stack([columns + 0.0, rows - 0.5], 1)])
