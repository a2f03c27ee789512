"""Whole pictures turned by right angles and mirrored: every pixel moves, none is computed anew."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from anomalyst.synthetic.anomalies.methods import Made
from anomalyst.synthetic.sampling import Rng


@dataclass(frozen=True, slots=True)
class Move:
    """So many quarter turns to the left, then left and right exchanged or not."""

    quarter_turns: int = 0  # 0 to 3
    mirrored: bool = False

    def __str__(self) -> str:
        turned = f"turned left by {90 * self.quarter_turns}" if self.quarter_turns else ""
        words = [word for word in (turned, "mirrored" if self.mirrored else "") if word]
        return ", ".join(words) or "as it lay"

    def array(self, array: np.ndarray) -> np.ndarray:
        """(H, W, ...) -> (H, W, ...), or (W, H, ...) after an odd number of quarter turns."""
        turned = np.rot90(array, self.quarter_turns)
        return np.ascontiguousarray(turned[:, ::-1] if self.mirrored else turned)

    def point(self, xy: tuple[float, float], size_hw: Sequence[int]) -> tuple[float, float]:
        """Where a point (x, y) of a picture of this size comes to lie."""
        (x, y), (height, width) = xy, size_hw[:2]
        for _ in range(self.quarter_turns):
            x, y, height, width = y, width - 1 - x, width, height
        return (width - 1 - x if self.mirrored else x), y

    def made(self, made: Made) -> Made:
        """Picture, mask and soft label moved alike, and the centres; the description is left."""
        return replace(
            made,
            picture=self.array(made.picture),
            mask=self.array(made.mask),
            soft=self.array(made.soft),
            centres_xy=tuple(self.point(xy, made.mask.shape) for xy in made.centres_xy),
        )


def draw_move(rng: Rng, *, flip: bool, turn: bool, square: bool) -> Move:
    """One of all allowed moves, each as likely as leaving the picture as it lies.

    A `turn` is by any right angle where pictures are `square`, else by a half turn, which keeps
    their sides. A `flip` is to the other side or upside down.
    """
    turns = range(0, 4, 1 if square else 2) if turn else range(1)
    moves = [Move(count) for count in turns]
    if flip:  # a half turn mirrored is a picture upside down
        moves += [Move(count, mirrored=True) for count in (turns if turn else (0, 2))]
    return moves[int(rng.integers(len(moves)))]
