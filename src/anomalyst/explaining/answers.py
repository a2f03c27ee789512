"""Where the language model looked while it wrote each word of an answer.

Not every word is the model's: the record decides some answers, holds the model to some tokens, and
replaces what went against it. Each word says who wrote it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch

from anomalyst.errors import AnomalystError
from anomalyst.explaining.answer_tokens import Places, Said, places_of, said_of
from anomalyst.explaining.record import recorded
from anomalyst.types import Answer, Turn
from anomalyst.vlm.facts import Facts
from anomalyst.vlm.generation import Speaker
from anomalyst.vlm.wording import resolved

By = Literal["model", "held", "record"]

NOTES = {
    "model": "The language model wrote this answer, and the record agrees with it.",
    "held": "The language model wrote this answer; at the underlined words the record allowed only "
    "another word than it would have taken.",
    "record": "The record gave this answer, not the language model. Shown is where the model looks "
    "when it is made to say it.",
    "corrected": "The language model went against the record and was cut off; the words in italics "
    "are the record's. Of these it is shown where the model looks when it is made to say them.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedWord:
    """One word of an answer, and the shares of attention when it was written; they sum to 1.

    Means over layers and heads, and over the word's tokens.
    """

    text: str  # as it is shown
    start: int  # of it in the answer's text, in characters
    by: By  # the model; the model, held to the record; or the record
    chance: float  # the model's own probability of its tokens, their geometric mean
    instead: str  # the token that the model would have taken where it was held; else empty
    heat: tuple[float, ...]  # cells of the anomaly map, rows first
    regions: tuple[float, ...]  # what it is shown of region 1, 2, ...
    picture: tuple[float, ...]  # cells of the picture itself, rows first
    whole: float  # the picture as a whole
    facts: tuple[float, ...]  # lines of the record
    dialogue: float  # earlier questions and answers
    question: float
    earlier: tuple[tuple[str, float], ...]  # words of this answer written before
    rest: float  # instruction, marks and the first token, where attention that seeks nothing goes
    keenest: str  # which single head looked at one thing most, in words


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedAnswer:
    """An answer, word by word; plain values, small enough to send."""

    question: str
    text: str
    note: str  # who wrote it
    facts: tuple[str, ...]  # the record's lines as the model read them
    words: tuple[LookedWord, ...]
    grid: int  # the picture is shown to the model in grid x grid cells; the map in 3 x 3
    layers: int
    heads: int
    model: str  # version of the language model that looked

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values, shares with four digits."""
        return _rounded(asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """An answer word by word, and all that was recorded for a page of every layer and head."""

    answer: LookedAnswer
    weights: np.ndarray  # (layers, heads, answer's tokens, all tokens)
    tokens: tuple[str, ...]  # prompt and answer; what stands for the picture is named
    kinds: tuple[tuple[str, int], ...]  # of each token of the prompt, as ("fact", 2)
    belongs: tuple[int, ...]  # of each token of the answer the number of its word


def looked(
    speaker: Speaker,
    question: str,
    answer: Answer,
    facts: Facts,
    shown: Any,
    turns: Sequence[Turn] = (),
) -> Looked:
    """Where the model looked for each word of an answer that was given to a question.

    The answer is read in one pass, in which every token sees what it saw when it was written. A
    token's row is that of the place before it, from which it was chosen. Raises AnomalystError for
    a tokenizer that cannot tell where its tokens stand.
    """
    if not speaker.processor.tokenizer.is_fast:
        raise AnomalystError(
            "the tokenizer of this language model cannot tell where its tokens stand in a text, so "
            "no word can be shown; save the model with a fast one (tokenizer.json)."
        )
    speaker.check_width(shown)
    said = said_of(speaker, question, answer, facts, shown, turns)
    inputs = speaker.processor(said.prompt, dict(shown))
    prompt_ids = inputs["input_ids"][0].tolist()
    inputs["input_ids"] = torch.tensor([prompt_ids + said.ids])
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    with torch.inference_mode(), recorded(speaker.model, attention=True) as record:
        logits = speaker.model(**inputs).logits[0].float()  # (T, V)
    first, total = len(prompt_ids), len(prompt_ids) + len(said.ids)
    whole = torch.stack([one[0] for _, one in record.layers()])  # (L, heads, T, virtual + T)
    # From the place before each token of the answer; learned virtual tokens stand before all.
    weights = whole[:, :, first - 1 : total - 1, -total:].numpy()  # (L, heads, A, T)
    places = places_of(speaker, said, prompt_ids, facts)
    chances = _chances(speaker, logits[first - 1 : -1], said.ids)
    words = tuple(_words(said, weights, places, chances, facts))
    about = LookedAnswer(
        question=question,
        text=answer.text,
        note=_note(said, words, answer, speaker),
        facts=places.facts,
        words=words,
        grid=speaker.model.config.patch_grid,
        layers=weights.shape[0],
        heads=weights.shape[1],
        model=speaker.version,
    )
    return Looked(
        answer=about,
        weights=weights,
        tokens=tuple(places.names + said.pieces),
        kinds=tuple(places.kinds),
        belongs=tuple(said.belongs),
    )


def _chances(speaker: Speaker, logits: torch.Tensor, ids: Sequence[int]) -> list[tuple[float, str]]:
    """Of each token its log-probability, and the likeliest one's text where it is another."""
    logits = logits.clone()
    logits[:, speaker.model.config.image_token_id] = -torch.inf  # it is never written
    logs = logits.log_softmax(1)
    best = logs.argmax(1).tolist()
    decode = speaker.processor.tokenizer.decode
    return [
        (float(logs[at, token]), "" if likeliest == token else decode([likeliest]).strip() or "end")
        for at, (token, likeliest) in enumerate(zip(ids, best, strict=True))
    ]


def _words(
    said: Said,
    weights: np.ndarray,
    places: Places,
    chances: Sequence[tuple[float, str]],
    facts: Facts,
) -> Iterator[LookedWord]:
    """The answer's words with their shares; weights (layers, heads, answer's tokens, all)."""
    first, at = len(places.kinds), 0
    shown = [resolved(said.raw[start:end], facts) for start, end in said.spans]
    for number, text in enumerate(shown):
        mine = [token for token, word in enumerate(said.belongs) if word == number]
        share = weights[:, :, mine].mean(2)  # (L, heads, T)
        mean = share.mean((0, 1))
        sums = _summed(mean[:first], places.kinds)
        earlier = [0.0] * number
        for token in range(mine[0]):
            earlier[said.belongs[token]] += float(mean[first + token])
        other = next((chances[token][1] for token in mine if chances[token][1]), "")
        held = bool(other) and said.likeliest  # else another token was drawn by chance
        by: By = "record" if mine[0] >= said.own else "held" if held else "model"
        yield LookedWord(
            text=text,
            start=at,
            by=by,
            chance=float(np.exp(np.mean([chances[token][0] for token in mine]))),
            instead=other if by == "held" else "",
            heat=sums["heat"],
            regions=sums["region"],
            picture=sums["picture"],
            whole=sum(sums["whole"]),
            facts=sums["fact"],
            dialogue=sum(sums["dialogue"]),
            question=sum(sums["question"]),
            earlier=tuple(zip(shown, earlier, strict=False)),
            # A word of several tokens sees its own beginning.
            rest=float(sum(sums["rest"]) + sum(sums["learned"]) + mean[first + mine[0] :].sum()),
            keenest=_keenest(share, places, first),
        )
        if number + 1 < len(shown):
            at += len(text) + said.spans[number + 1][0] - said.spans[number][1]


def _keenest(share: np.ndarray, places: Places, first: int) -> str:
    """The head that looked at one token of picture, record or question most."""
    known = np.array([kind not in ("rest", "learned") for kind, _ in places.kinds])
    layer, head, token = np.unravel_index(
        (share[:, :, :first] * known).argmax(), (*share.shape[:2], first)
    )
    name, (kind, number) = places.names[token].strip(), places.kinds[token]
    of = f" of \u201c{places.facts[number]}\u201d" if kind == "fact" else ""
    of = " of the question" if kind == "question" else of
    return (
        f"Layer {layer + 1}, head {head + 1} put {share[layer, head, token]:.2f} on "
        f"\u201c{name}\u201d{of}."
    )


KINDS = ("heat", "region", "picture", "whole", "fact", "dialogue", "question", "rest", "learned")


def _summed(share: np.ndarray, kinds: Sequence[tuple[str, int]]) -> dict[str, tuple[float, ...]]:
    """Shares of the prompt's tokens by what they are: kind -> one sum for each of its numbers."""
    sums: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for value, (kind, number) in zip(share, kinds, strict=True):
        held = sums[kind]
        held += [0.0] * (number + 1 - len(held))
        held[number] += float(value)
    return {kind: tuple(values) for kind, values in sums.items()}


def _note(said: Said, words: Sequence[LookedWord], answer: Answer, speaker: Speaker) -> str:
    """Who wrote it, in a sentence; and that another version of the model did, if so."""
    if not said.own:
        note = NOTES["record"]
    elif answer.corrected or said.own < len(said.ids):
        note = NOTES["corrected"]
    else:
        note = NOTES["held" if any(word.by == "held" for word in words) else "model"]
    if answer.model and answer.model != speaker.version:
        note += (
            f" It was given by version {answer.model} of the language model; what is shown is of "
            f"version {speaker.version}, which answers now."
        )
    return note


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return value
