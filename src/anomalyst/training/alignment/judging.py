"""Models beside each other on the same held-out questions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from anomalyst.training.alignment.prompts import DrawnPrompts, Prompt, held_out_looks
from anomalyst.training.alignment.rewards import load_reward_model
from anomalyst.training.alignment.rollouts import TOGETHER, replies, with_answers
from anomalyst.training.alignment.verifiable import verify
from anomalyst.training.data.feature_cache import CachedFeatures
from anomalyst.vlm.huggingface import AnomalystProcessor
from anomalyst.vlm.huggingface.loading import load_model
from anomalyst.vlm.huggingface.modeling import SHOWN

LONGEST = 120  # tokens of an answer
HELD_OUT = 1 << 46  # questions drawn from these seeds are never trained on
Liking = Callable[[Prompt, str], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a model said to the same questions as others, greedily and unchecked."""

    name: str
    answers: tuple[str, ...]
    verifiable: float  # mean verifiable reward, [-1, 1]
    right: float  # share of answers that say all that was asked and nothing false
    contradicting: float  # share that goes against the facts, before any check
    words: float  # mean


def held_out_prompts(looks: Sequence[CachedFeatures], count: int, *, turns: int) -> list[Prompt]:
    """Questions of the grammar that no alignment is trained on."""
    drawn = DrawnPrompts(held_out_looks(looks), turns=turns)
    return [drawn.draw(np.random.default_rng((HELD_OUT, index))) for index in range(count)]


def said_by(folder: Path, prompts: Sequence[Prompt]) -> list[str]:
    """The likeliest answer of a model to each question, raw and unchecked."""
    model, processor = load_model(folder)
    # Those of about equal length are answered together: little of a batch is filling.
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i].messages()[0]["content"]))
    said = replies(model, processor, [prompts[i] for i in order], tokens=LONGEST)
    text_of = {index: reply.text for index, reply in zip(order, said, strict=True)}
    return [text_of[index] for index in range(len(prompts))]


def judge(name: str, folder: Path, prompts: Sequence[Prompt]) -> Judged:
    """A model on questions of the grammar."""
    said = said_by(folder, prompts)
    found = [
        verify(t, p.intent, p.facts, look=p.look)
        for p, t in zip(prompts, said, strict=True)
        if p.intent
    ]
    count = max(1, len(found))
    return Judged(
        name=name,
        answers=tuple(said),
        verifiable=sum(one.score for one in found) / count,
        right=sum(one.right == 1 and not one.contradictions for one in found) / count,
        contradicting=sum(bool(one.contradictions) for one in found) / count,
        words=sum(one.words for one in found) / count,
    )


def win_rate(
    ours: Sequence[str], theirs: Sequence[str], prompts: Sequence[Prompt], liking: Liking
) -> float:
    """How often the first answer is liked better; equal liking counts half."""
    own, other = (
        [liking(prompt, text) for prompt, text in zip(prompts, said, strict=True)]
        for said in (ours, theirs)
    )
    return share_won(own, other)


def share_won(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The same of likings that are known: of how many questions the first is higher, ties half."""
    wins = 0.0
    for own, other in zip(ours, theirs, strict=True):
        wins += 0.5 if abs(own - other) < 1e-9 else float(own > other)
    return wins / max(1, len(ours))


@torch.no_grad()
def learned_scores(folder: Path, prompts: Sequence[Prompt], said: Sequence[str]) -> list[float]:
    """What a reward model gives to each answer, in spreads of its held-out answers."""
    model = load_reward_model(folder)
    processor = AnomalystProcessor.from_pretrained(folder, local_files_only=True)
    family = str(model.config.text_config.model_type)
    found: list[float] = []
    for start in range(0, len(prompts), TOGETHER):
        some = slice(start, start + TOGETHER)
        made = with_answers(prompts[some], said[some], processor, family)
        shown = {name: made.shown[name] for name in SHOWN}
        found += model.normalised(made.ids, made.attended, **shown).tolist()
    return found
