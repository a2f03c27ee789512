"""What people preferred, as training takes it: split by picture, with what cannot be used named."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from anomalyst.errors import AnomalystError
from anomalyst.training.alignment.prompts import Prompt, prompt_of
from anomalyst.vlm.preferences import Pair, Ranking, read_rankings

HELD_OUT = 0.2  # share of the pictures on which every step is judged
FEW = 20  # rankings


@dataclass(frozen=True, slots=True)
class Compared:
    """A question with two answers, the better one first."""

    prompt: Prompt
    pair: Pair


@dataclass(frozen=True, slots=True)
class Preferences:
    """Rankings with their prompts: those learnt from, those held out, and what was passed over."""

    train: Sequence[tuple[Ranking, Prompt]]
    held_out: Sequence[tuple[Ranking, Prompt]]
    notes: Sequence[str]

    def corrections(self) -> list[tuple[Prompt, str]]:
        """Questions with the answer to learn from."""
        return _best(self.train)

    def held_out_corrections(self) -> list[tuple[Prompt, str]]:
        """The same, of pictures that nothing is learnt from."""
        return _best(self.held_out)

    def pairs(self) -> list[Compared]:
        """Every two answers of unequal rank."""
        return list(_pairs(self.train))

    def held_out_pairs(self) -> list[Compared]:
        """The same, of pictures that nothing is learnt from."""
        return list(_pairs(self.held_out))


def load_preferences(path: Path, held_out: float) -> Preferences:
    """The rankings of a file; a share of the pictures is held out, always the same ones.

    A picture inspected twice is one picture. Of fewer than `FEW` rankings nothing is held out. A
    ranking whose picture is gone is passed over and counted. Raises AnomalystError for a file
    that is none.
    """
    kept: list[tuple[Ranking, Prompt]] = []
    gone = same = against = 0
    for ranking in read_rankings(path):
        wrong = ranking.contradictions
        against += bool(wrong) and bool(wrong[ranking.ranks.index(min(ranking.ranks))])
        same += len(ranking.answers) > 1 and len(set(ranking.answers)) == 1
        try:
            kept.append((ranking, prompt_of(ranking, path.parent)))
        except AnomalystError:
            gone += 1
    said = (
        (gone, "about a picture that is gone"),
        (same, "between answers that are all the same"),
        (against, "for an answer that goes against what was found"),
    )
    notes = [f"passed over: {n} preference{'s' * (n > 1)} {why}." for n, why in said if n]
    share = held_out if len(kept) >= FEW else 0.0
    out = [_picture(prompt) < share * 2**32 for _, prompt in kept]
    return Preferences(
        [one for one, held in zip(kept, out, strict=True) if not held],
        [one for one, held in zip(kept, out, strict=True) if held],
        notes,
    )


def _best(rankings: Sequence[tuple[Ranking, Prompt]]) -> list[tuple[Prompt, str]]:
    found = ((prompt, ranking.best()) for ranking, prompt in rankings)
    return [(prompt, best) for prompt, best in found if best is not None]


def _picture(prompt: Prompt) -> int:
    """A number in [0, 2^32) of what the picture looks like to the model."""
    seen = prompt.shown["image_embedding"].half().contiguous()
    return zlib.crc32(seen.numpy().tobytes())


def _pairs(rankings: Sequence[tuple[Ranking, Prompt]]) -> Iterator[Compared]:
    for ranking, prompt in rankings:
        for pair in ranking.pairs():
            yield Compared(prompt, pair)
