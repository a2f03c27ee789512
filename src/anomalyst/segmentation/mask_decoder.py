"""A picture's embedding and prompts -> masks and how well each is thought to fit.

Kirillov et al., Segment Anything, ICCV 2023 (arXiv:2304.02643), appendix A: two layers in which
tokens attend to each other and to the picture, and the picture to the tokens; then one token of
each mask becomes a small network whose product with the enlarged embedding is that mask. Finer
features are added while it is enlarged, as in SAM 2 (arXiv:2408.00714, section 4).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.segmentation.prompt_encoder import ChannelNorm

MASKS = 3  # answers to a prompt that may mean several things; one more for one that does not


class Attention(nn.Module):
    """Queries (P, Q, C) look at keys (P, K, C) by heads of a narrower inner width."""

    def __init__(self, width: int, heads: int, narrower: int = 1):
        super().__init__()
        inner = width // narrower
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, inner) for _ in range(3))
        self.out = nn.Linear(inner, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(P, Q, C)."""
        projected = (self.query(query), self.key(key), self.value(value))
        parts = [one.unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in projected]
        seen = F.scaled_dot_product_attention(*parts)  # (P, heads, Q, inner / heads)
        return self.out(seen.transpose(1, 2).flatten(2))


class TwoWayLayer(nn.Module):
    """Tokens among themselves, tokens to picture, each token by itself, picture to tokens."""

    def __init__(self, width: int, heads: int, hidden: int, *, first: bool):
        super().__init__()
        self.first = first
        self.among = Attention(width, heads)
        self.to_picture = Attention(width, heads, narrower=2)
        self.alone = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.to_tokens = Attention(width, heads, narrower=2)
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-6) for _ in range(4))

    def forward(
        self, tokens: Tensor, picture: Tensor, asked: Tensor, places: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens (P, T, C) and picture (P, N, C); `asked` and `places` say which is where."""
        if self.first:
            tokens = self.among(tokens, tokens, tokens)
        else:
            placed = tokens + asked
            tokens = tokens + self.among(placed, placed, tokens)
        tokens = self.norms[0](tokens)
        tokens = tokens + self.to_picture(tokens + asked, picture + places, picture)
        tokens = self.norms[1](tokens)
        tokens = self.norms[2](tokens + self.alone(tokens))
        picture = picture + self.to_tokens(picture + places, tokens + asked, tokens)
        return tokens, self.norms[3](picture)


class MaskDecoder(nn.Module):
    """`MASKS` answers and one for prompts that mean one thing, with a predicted IoU each."""

    def __init__(self, width: int, heads: int = 8, hidden: int = 512, layers: int = 2):
        super().__init__()
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(1 + MASKS, width)
        self.layers = nn.ModuleList(
            TwoWayLayer(width, heads, hidden, first=index == 0) for index in range(layers)
        )
        self.last = Attention(width, heads, narrower=2)
        self.last_norm = nn.LayerNorm(width)
        self.twice = nn.ConvTranspose2d(width, width // 4, 2, 2)
        self.norm = ChannelNorm(width // 4, eps=1e-6)
        self.four_times = nn.ConvTranspose2d(width // 4, width // 8, 2, 2)
        self.weights = nn.ModuleList(perceptron(width, width // 8) for _ in range(1 + MASKS))
        self.quality = perceptron(width, 1 + MASKS)

    def forward(
        self,
        embedding: Tensor,
        places: Tensor,
        tokens: Tensor,
        field: Tensor,
        finer: Sequence[Tensor] = (),
    ) -> tuple[Tensor, Tensor]:
        """Masks (P, 1 + MASKS, 4 h, 4 w) as logits and predicted IoU (P, 1 + MASKS).

        `embedding` and `field` (P, C, h, w), `places` (1, C, h, w), `tokens` (P, T, C); `finer`:
        nothing, or (P, C / 4, 2 h, 2 w) and (P, C / 8, 4 h, 4 w). The first mask is that of a
        prompt that means one thing.
        """
        grid_hw = embedding.shape[2:]
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        asked = torch.cat([own.expand(len(tokens), -1, -1), tokens], 1)
        picture = (embedding + field).flatten(2).transpose(1, 2)  # (P, N, C)
        where = places.flatten(2).transpose(1, 2)
        seen = asked
        for layer in self.layers:
            seen, picture = layer(seen, picture, asked, where)
        seen = self.last_norm(seen + self.last(seen + asked, picture + where, picture))
        wide = picture.transpose(1, 2).unflatten(2, grid_hw)
        fine = self._enlarged(wide, finer)
        weights = torch.stack([net(seen[:, 1 + i]) for i, net in enumerate(self.weights)], 1)
        masks = torch.einsum("pmc,pchw->pmhw", weights, fine)
        return masks, self.quality(seen[:, 0])

    def _enlarged(self, picture: Tensor, finer: Sequence[Tensor]) -> Tensor:
        """(P, C, h, w) -> (P, C / 8, 4 h, 4 w)."""
        twice, four_times = self.twice(picture), None
        if finer:
            twice, four_times = twice + finer[0], finer[1]
        wide = self.four_times(F.gelu(self.norm(twice)))
        return F.gelu(wide if four_times is None else wide + four_times)


def perceptron(width: int, out: int) -> nn.Sequential:
    """Three layers with ReLU between."""
    return nn.Sequential(
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, out),
    )
