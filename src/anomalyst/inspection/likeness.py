"""Whether a picture shows the product at all, and which product it shows.

What is compared is the mean and the spread of each feature over the whole picture: a defect, which
is a part of it, moves them little, a turn or a shift hardly, and another product far. Drawn
products say how far is too far; a product whose good pictures differ more is given more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyst.calibration.conditions import log_distance
from anomalyst.product import Product
from anomalyst.types import Features


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of the distance of a picture that shows the product, log of 1 - cosine similarity."""

    least: float  # so far may every product's pictures lie
    beyond: float  # farther than the good picture that lies farthest from the others


# Chosen on 60 drawn products (docs/decisions.md): what the frozen trunk sees tells products apart
# better; an engine hands over the trained embedding alone.
TRUNK = Limits(least=-2.4, beyond=1.0)
EMBEDDING = Limits(least=-2.95, beyond=1.0)


@dataclass(frozen=True, slots=True)
class Likeness:
    """What a product's good pictures look like as a whole, and how far others may lie."""

    good: Tensor  # (V, D) unit vectors
    limit: float  # of the log distance
    left_out: tuple[float, ...]  # strangeness of the good pictures, each beside the others

    @classmethod
    def of(cls, good: Tensor, limits: Limits) -> "Likeness":
        """From vectors (V, D) of good pictures, one or more."""
        good = F.normalize(good.float(), dim=1)
        count = len(good)
        own = [
            _apart(good[i : i + 1], torch.cat([good[:i], good[i + 1 :]]))
            for i in range(count if count > 1 else 0)
        ]
        limit = max([limits.least, *(one + limits.beyond for one in own)])
        return cls(good, limit, tuple(one - limit for one in own))

    def strangeness(self, vector: Tensor) -> float:
        """Of a picture's (1, D): how far beyond the limit it lies; above 0 it is another product.

        In nats of distance: 0.7 less is half as far.
        """
        return _apart(F.normalize(vector, dim=1), self.good) - self.limit


@dataclass(frozen=True, slots=True)
class Likenesses:
    """By the frozen trunk, and by the embedding where an engine gives no more."""

    trunk: Likeness | None
    embedding: Likeness

    @classmethod
    def of(cls, tiles: Sequence[Features]) -> "Likenesses":
        """From what is remembered of good pictures, per tile."""
        count = len(tiles[0].embedding)  # copies have none
        trunk = None
        if all(tile.frozen for tile in tiles):
            seen = torch.stack([pooled(tile.frozen[-1][:count]) for tile in tiles]).mean(0)
            trunk = Likeness.of(seen, TRUNK)
        embedding = torch.stack([tile.embedding for tile in tiles]).mean(0)
        return cls(trunk, Likeness.of(embedding, EMBEDDING))

    def strangeness(self, seen: Features) -> float:
        """Of a picture, its features per tile; above 0 it shows another product."""
        if self.trunk is not None and seen.frozen:
            return self.trunk.strangeness(pooled(seen.frozen[-1]).mean(0, keepdim=True))
        return self.embedding.strangeness(seen.embedding.float().mean(0, keepdim=True))


def likeness_of(product: Product) -> Likenesses | None:
    """That of a product's good pictures, from what it remembers of them; computed once.

    None for encoders but ours: how far their pictures lie apart was not measured.
    """
    own = product.encoder == "embedded" or product.encoder.startswith("run:")
    if product.likeness is None and product.features and own:
        product.likeness = Likenesses.of(product.features)
    found: Likenesses | None = product.likeness
    return found


def pooled(level: Tensor) -> Tensor:
    """Mean and spread of each feature over a level: (B, C, h, w) -> (B, 2 C) unit vectors."""
    flat = level.flatten(2).float()
    return F.normalize(torch.cat([flat.mean(2), flat.std(2)], 1), dim=1)


def _apart(one: Tensor, others: Tensor) -> float:
    return log_distance(one.cpu().numpy(), others.cpu().numpy())
