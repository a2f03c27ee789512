"""Several different answers to one question, for a person to rank: sampled, and each grounded."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from transformers import LogitsProcessor

from anomalyst.errors import AnomalystError
from anomalyst.types import Answer, Dialogue
from anomalyst.vlm.dialogue import checked_question
from anomalyst.vlm.facts import facts_of
from anomalyst.vlm.generation import Speaker

FEWEST, MOST = 2, 4
TEMPERATURES = (0.7, 1.0, 1.4)
ANEW = (0.7, 0.7, 1.0, 1.0, 1.4)  # of answers that begin otherwise than those before
LEAST = 0.003  # of the likeliest token's probability; below it the embedded model babbles
LAST = 1e4  # below every score


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of several answers, and how it came about."""

    answer: Answer
    temperature: float  # 0: the likeliest words, or the answer that the facts alone give


def candidates(
    speakers: Sequence[Speaker], question: str, dialogue: Dialogue, *, count: int = 3, key: str = ""
) -> list[Candidate]:
    """2 to `count` answers that differ in what is shown; the dialogue stays as it is.

    The first speaker's own answer, the others' likeliest words, then words sampled at rising
    temperatures. The same `key` gives the same answers. Raises AnomalystError for a count other
    than 2 to 4, and where no second answer is found.
    """
    if not FEWEST <= count <= MOST:
        raise AnomalystError(f"{count} answers were asked for; {FEWEST} to {MOST} can be ranked.")
    asked = checked_question(question)
    found: dict[str, Candidate] = {}
    for one in _tried(speakers, asked, dialogue, key):
        found.setdefault(one.answer.text, one)
        if len(found) == count:
            break
    if len(found) < FEWEST:
        raise AnomalystError(
            f"{asked!r}: the language model finds only one way to say it, so there is nothing to "
            "rank; ask something that leaves it more words, as 'Describe it.'"
        )
    return list(found.values())


def _tried(
    speakers: Sequence[Speaker], question: str, dialogue: Dialogue, key: str
) -> Iterator[Candidate]:
    facts, shown, turns = facts_of(dialogue.inspection), dialogue.inspection.shown, dialogue.turns
    for speaker in speakers:
        speaker.check_width(shown)
    if known := speakers[0].by_facts(question, facts, turns):
        yield Candidate(known, 0.0)
    if facts.unfit:  # nothing but that can be said
        return
    for speaker in speakers:
        yield Candidate(speaker.spoken(question, facts, shown, turns), 0.0)
    seed = int.from_bytes(hashlib.sha256(f"{key} {question}".encode()).digest()[:7], "big")
    generator = torch.Generator().manual_seed(seed)
    begun = [{int(speaker.processor.tokenizer.eos_token_id)} for speaker in speakers]
    # A model that is sure of itself says the same at any temperature, unless it begins otherwise.
    tries = [(t, False) for t in TEMPERATURES] + [(t, True) for t in ANEW]
    for (temperature, anew), (speaker, first) in product(tries, zip(speakers, begun, strict=True)):
        sampling = Sampling(temperature, generator, first, anew=anew)
        answer = speaker.spoken(question, facts, shown, turns, sampling=sampling.held_to)
        if not answer.corrected:  # else it is not what the model said
            yield Candidate(answer, temperature)


class Sampling(LogitsProcessor):
    """Scores whose largest is a sample of softmax(scores / temperature), by the Gumbel-max trick.

    The largest among those that agree with the facts (`GroundedLogits`) is then a sample of the
    same distribution restricted to these (Maddison et al. 2014, arXiv:1411.0030, section 2). Tokens
    far less likely than the likeliest are left for last, before the temperature (min-p: Nguyen et
    al. 2024, arXiv:2407.01082). To begin `anew`, the first is the likeliest that is not in `begun`
    (Wang and Zhou 2024, arXiv:2402.10200); the first one taken is added there.
    """

    def __init__(
        self, temperature: float, generator: torch.Generator, begun: set[int], *, anew: bool
    ):
        self.temperature, self.generator = temperature, generator
        self.begun, self.anew = begun, anew
        self.free = 0

    def held_to(self, tokens: int) -> "Sampling":
        """This, for an answer whose first tokens are given."""
        self.free = tokens
        return self

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        scores, position = scores.float().clone(), input_ids.shape[1]
        if position == self.free + 1:
            self.begun.add(int(input_ids[0, -1]))
        if self.anew and position == self.free:
            scores[:, list(self.begun)] -= LAST
            return scores
        uniform = torch.rand(scores.shape, generator=self.generator)  # on the CPU: same everywhere
        noise = -(-uniform.clamp(1e-20, 1 - 1e-7).log()).log()
        likely = scores >= scores.max(1, keepdim=True).values + math.log(LEAST)
        sampled = scores / self.temperature + noise.to(scores.device)
        return torch.where(likely, sampled, scores - LAST)
