"""Pictures that are the same or nearly so, and good pictures that look like several products."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyst.errors import AnomalystError

CLUSTER_LEAST = 2  # pictures of a group; a lone one is an odd picture, no other product
CLEAR_GAP = 5.0  # how much farther groups lie apart than neighbours within them (decisions.md)
FEWEST = 8  # good pictures among which groups are looked for: fewer fall into two by chance
GROUPS_MOST = 8
NEVER_CLOSER = 1e-3  # distance below which pictures are as good as the same
MOST_NAMED = 5  # files of a group
THUMB_PX = 32
COPY_MOST = 0.02  # 1 - correlation of two thumbnails: below it they may be copies (decisions.md)
COPY_GAP = 0.02  # and are, if so much closer to each other than two pictures of the set usually are
FEWEST_COMPARED = 3  # pictures among which copies are looked for: two have no usual distance


def refuse_the_same(good: Mapping[Path, np.ndarray], bad: Mapping[Path, np.ndarray]) -> None:
    """Raises AnomalystError if a defective picture is among the good ones, or there twice.

    Compared pixel by pixel, so that neither another name nor another file format hides it.
    """
    known = {_digest(picture): path for path, picture in good.items()}
    seen: dict[str, Path] = {}
    for path, picture in bad.items():
        digest = _digest(picture)
        if digest in known:
            raise AnomalystError(
                f"{path} is the same picture as {known[digest]}, which is taught as good; take "
                "it out of one of the two."
            )
        if digest in seen:
            raise AnomalystError(
                f"{path} is the same picture as {seen[digest]}; leave one of the two out."
            )
        seen[digest] = path


def distinct(
    pictures: Mapping[Path, np.ndarray], sources: Mapping[Path, str]
) -> tuple[dict[Path, np.ndarray], list[str]]:
    """Each picture once, the first of its name, and what to note of those left out.

    A picture taught twice would be its own reference: its score tells nothing of a new part's, and
    the false-alarm rate would not be kept.
    """
    first: dict[str, Path] = {}
    twins: list[tuple[Path, Path]] = []
    for path, picture in pictures.items():
        same = first.setdefault(_digest(picture), path)
        if same != path:
            twins.append((path, same))
    kept = {path: pictures[path] for path in first.values()}
    if not twins:
        return kept, []
    if len(kept) == 1:
        return kept, [_all_the_same(len(pictures))]
    named = [f"{path} (as {sources.get(same, same.name)})" for path, same in twins]
    more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    return kept, [
        "left out when taught, for the same picture is taught already: "
        f"{', '.join(named[:MOST_NAMED])}{more}"
    ]


def near_copies(pictures: Sequence[np.ndarray]) -> list[list[int]]:
    """Groups of pictures that are copies of each other but for compression, size and light.

    Compared as grey thumbnails of `THUMB_PX`, mean and spread taken out, beside how far apart
    pictures of the set usually are: a part photographed twice as it lies is a copy, two parts in a
    fixture are none. Where all pictures are nearly alike copies cannot be told (decisions.md).
    """
    count = len(pictures)
    if count < FEWEST_COMPARED:
        return []
    rows = np.stack([_thumbnail(picture) for picture in pictures])  # (N, T * T)
    unlike = 1 - np.clip(rows @ rows.T, -1, 1)
    first, second = np.triu_indices(count, 1)
    pairs = unlike[first, second]
    close = pairs <= min(COPY_MOST, COPY_GAP * float(np.median(pairs)))
    edges = zip(first[close].tolist(), second[close].tolist(), strict=True)
    return [group for group in _connected(count, list(edges)) if len(group) > 1]


def _thumbnail(picture: np.ndarray) -> np.ndarray:
    """A picture as a unit vector, (T * T,) float32; zeros where it is all one grey."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    small = cv2.resize(grey, (THUMB_PX, THUMB_PX), interpolation=cv2.INTER_AREA).ravel()
    small -= small.mean()
    unit: np.ndarray = small / max(1e-6, float(np.linalg.norm(small)))
    return unit


def all_the_same(pictures: Sequence[np.ndarray]) -> bool:
    """Whether two pictures or more are all equal, pixel by pixel."""
    return len(pictures) > 1 and all(np.array_equal(pictures[0], one) for one in pictures[1:])


def product_groups(embeddings: Tensor) -> list[list[int]]:
    """Groups of good pictures that look like different products, as their numbers; one if unclear.

    Embeddings (N, D), compared by 1 - cosine similarity. Single linkage: the edges of the minimum
    spanning tree (Gower and Ross 1969) that are `CLEAR_GAP` times as long as the next shorter one
    are cut, if every group has two pictures or more; among fewer than `FEWEST` pictures none.
    """
    if len(embeddings) < FEWEST:
        return [list(range(len(embeddings)))]
    edges = spanning_tree(embeddings)  # longest first
    for cut in range(min(GROUPS_MOST - 1, len(edges) - 1), 0, -1):
        if edges[cut - 1][0] < CLEAR_GAP * max(edges[cut][0], NEVER_CLOSER):
            continue
        groups = _connected(len(embeddings), [(a, b) for _, a, b in edges[cut:]])
        if min(map(len, groups)) >= CLUSTER_LEAST:
            return groups
    return [list(range(len(embeddings)))]


def spanning_tree(embeddings: Tensor) -> list[tuple[float, int, int]]:
    """(length, i, j) of the N - 1 edges of the minimum spanning tree, longest first (Prim)."""
    units = F.normalize(embeddings.double(), dim=1)
    apart = (1 - units @ units.T).clamp(min=0)  # (N, N)
    nearest, from_which = apart[0].clone(), torch.zeros(len(units), dtype=torch.long)
    outside = torch.ones(len(units), dtype=torch.bool)
    outside[0] = False
    edges = []
    while outside.any():
        new = int(nearest.masked_fill(~outside, torch.inf).argmin())
        edges.append((float(nearest[new]), int(from_which[new]), new))
        outside[new] = False
        closer = apart[new] < nearest
        nearest, from_which = (
            torch.minimum(nearest, apart[new]),
            from_which.masked_fill(closer, new),
        )
    return sorted(edges, reverse=True)


def remarks(good: Sequence[tuple[str, np.ndarray]], embeddings: Tensor) -> list[str]:
    """What a person should know of good pictures, by name: all the same, or several products."""
    if all_the_same([picture for _, picture in good]):
        return [_all_the_same(len(good))]
    copies = near_copies([picture for _, picture in good])
    named = [_some([good[i][0] for i in group]) for group in copies]
    near = [
        f"Good pictures that are copies of each other but for compression, size or light: "
        f"{'; '.join(named)}. They show fewer good parts than it seems, and the false-alarm rate "
        "is kept less well; keep one of each."
    ]
    near = near if copies else []
    groups = product_groups(embeddings)
    if len(groups) == 1:
        return near
    said = "; ".join(f"{_some([good[i][0] for i in group])}" for group in groups)
    return [
        *near,
        f"The good pictures look like {len(groups)} different products or views: {said}. Teach "
        "each by itself, unless this is one product.",
    ]


def _all_the_same(count: int) -> str:
    return (
        f"All {count} good pictures are the same picture, so they count as one and do not "
        "calibrate; teach pictures of different good parts."
    )


def _connected(count: int, edges: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The connected groups of `count` pictures, each ascending, by their first picture."""
    group = list(range(count))
    for a, b in edges:
        old, new = group[b], group[a]
        group = [new if one == old else one for one in group]
    return sorted([i for i in range(count) if group[i] == one] for one in set(group))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"({', '.join(names[:MOST_NAMED])}{more})"


def _digest(picture: np.ndarray) -> str:
    return hashlib.sha256(str(picture.shape).encode() + picture.tobytes()).hexdigest()
