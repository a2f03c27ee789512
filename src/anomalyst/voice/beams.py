"""The likeliest transcript: several beginnings are followed at once, as Whisper does it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

BEAMS = 5  # Radford et al. 2022, section 4.5

# (tokens (K, T) to read next, rows (K,) of the last call that they follow) -> log shares (K, V)
Read = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Written:
    """A transcript, whole or as far as it got."""

    tokens: tuple[int, ...] = ()  # without the end
    logs: tuple[float, ...] = ()  # of each token's share; that of the end too, where it is reached

    @property
    def score(self) -> float:
        """Mean log share of a token: longer ones do not lose by their length."""
        return sum(self.logs) / max(1, len(self.logs))

    def with_token(self, token: int, log: float) -> "Written":
        """One token longer."""
        return Written((*self.tokens, token), (*self.logs, log))


def likeliest(read: Read, start: Sequence[int], end: int, most: int, beams: int = BEAMS) -> Written:
    """The best of the first `beams` transcripts that end, or the best unfinished one.

    `read` sees the tokens `start`, then one token of each beam at a time; at most `most` tokens
    are written.
    """
    alive, done = [Written()], list[Written]()
    tokens, rows = torch.tensor([list(start)]), torch.zeros(1, dtype=torch.long)
    for _ in range(most):
        shares = read(tokens, rows)  # (K, V)
        sums = shares + torch.tensor([[sum(one.logs)] for one in alive])
        best = sums.flatten().topk(min(2 * beams, sums.numel())).indices
        following: list[tuple[int, Written]] = []
        for index in best.tolist():
            row, token = divmod(index, shares.shape[1])
            log = float(shares[row, token])
            if token == end:
                done.append(Written(alive[row].tokens, (*alive[row].logs, log)))
            else:
                following.append((row, alive[row].with_token(token, log)))
            if len(following) == beams:
                break
        alive = [one for _, one in following]
        if len(done) >= beams:
            break
        rows = torch.tensor([row for row, _ in following])
        tokens = torch.tensor([[one.tokens[-1]] for one in alive])
    return max(done or alive, key=lambda one: one.score)
