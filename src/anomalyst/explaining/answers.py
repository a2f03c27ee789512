"""Where the language model looked while it wrote each word of an answer.

Not every word is the model's: the record decides some answers, holds the model to some tokens, and
replaces what went against it. Each word says who wrote it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch

from anomalyst.errors import AnomalystError
from anomalyst.explaining.record import recorded
from anomalyst.types import Answer, Turn
from anomalyst.vlm.dialogue import INSTRUCTION
from anomalyst.vlm.facts import Facts
from anomalyst.vlm.generation import Speaker, without_user_marks
from anomalyst.vlm.wording import resolved, unresolved

By = Literal["model", "held", "record"]
_WORD = re.compile(r"<region \d+>\S*|\S+")

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
    said = _Said.of(speaker, question, answer, facts, shown, turns)
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
    places = _places(speaker, said, prompt_ids, facts)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What was said, as the tokens of the model."""

    prompt: str
    question: str
    turns: tuple[Turn, ...]
    raw: str
    ids: list[int]
    own: int  # so many tokens of it did the model write
    pieces: list[str]  # text of each token
    spans: list[tuple[int, int]]  # of each word in `raw`
    belongs: list[int]  # of each token the number of its word

    @classmethod
    def of(
        cls, speaker: Speaker, question: str, answer: Answer, facts: Facts, shown: Any,
        turns: Sequence[Turn],
    ) -> "_Said":  # fmt: skip
        """The tokens as the model wrote them, as far as it did; what the record said after that."""
        tokenizer = speaker.processor.tokenizer
        raw, own = unresolved(answer.text, facts), list[int]()
        if speaker.by_facts(question, facts, turns) is None:
            written, _ = speaker.written(question, facts, shown, turns)
            text = tokenizer.decode(written)
            raw = text[: len(text) - len(text.lstrip())] + raw  # some begin with a space
            own = _common(tokenizer, written, raw)
        rest = raw[len(tokenizer.decode(own)) :] if own else raw
        ids = own + (tokenizer(rest, add_special_tokens=False)["input_ids"] if rest else [])
        ends = [len(tokenizer.decode(ids[: n + 1])) for n in range(len(ids))]
        text = tokenizer.decode(ids)
        pieces = [text[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        spans = [match.span() for match in _WORD.finditer(text)]
        # A token of spaces belongs to the word after it.
        belongs = [
            next((n for n, (_, stop) in enumerate(spans) if start < stop), len(spans) - 1)
            for start in [0, *ends[:-1]]
        ]
        return cls(
            prompt=speaker.prompt(question, facts, turns), question=question, turns=tuple(turns),
            raw=text, ids=ids, own=len(own), pieces=pieces, spans=spans, belongs=belongs,
        )  # fmt: skip


def _common(tokenizer: Any, written: Sequence[int], raw: str) -> list[int]:
    """The tokens written, as far as their text is the text that was said."""
    count = len(written)
    while count and not raw.startswith(tokenizer.decode(written[:count])):
        count -= 1
    return list(written[:count])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """What each token of the prompt is."""

    kinds: list[tuple[str, int]]  # ("fact", 3), ("heat", 0), ("rest", 0), ...
    names: list[str]
    facts: tuple[str, ...]


def _places(speaker: Speaker, said: _Said, ids: list[int], facts: Facts) -> _Places:
    """What each token of the prompt stands for."""
    tokenizer, config = speaker.processor.tokenizer, speaker.model.config
    text = said.prompt.replace("<image>", "<image>" * speaker.processor.num_image_tokens)
    spans = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    record = without_user_marks(facts).as_text() if config.facts else ""
    lines = tuple(record.splitlines())
    parts = _parts(text, lines, said)
    visual = _visual(config)
    kinds, names, seen = [], [], 0
    for token, (start, end) in zip(ids, spans, strict=True):
        if token == config.image_token_id:
            kinds.append(visual[seen])
            names.append(_called(*visual[seen], config.patch_grid))
            seen += 1
            continue
        kinds.append(next((k for a, b, k in parts if a <= start < b), ("rest", 0)))
        names.append(text[start:end])
    return _Places(kinds=kinds, names=names, facts=lines)


def _parts(text: str, lines: Sequence[str], said: _Said) -> list[tuple[int, int, tuple[str, int]]]:
    """Where in the prompt each line of the record, earlier turns and the question stand."""
    parts: list[tuple[int, int, tuple[str, int]]] = []
    at = text.find(INSTRUCTION) + len(INSTRUCTION)
    for number, line in enumerate(lines):
        start = text.index(line, at)
        at = start + len(line)
        parts.append((start, at, ("fact", number)))
    asked = text.rindex(said.question)
    parts.append((asked, asked + len(said.question), ("question", 0)))
    if said.turns:
        parts.append((at, asked, ("dialogue", 0)))
    return parts


def _visual(config: Any) -> list[tuple[str, int]]:
    """What the placeholders of the picture stand for, in the order of prompt learner, projector."""
    return [
        *(("learned", n) for n in range(config.base_tokens)),
        *(("heat", n) for n in range(9)),
        *(("region", n) for n in range(config.regions)),
        ("whole", 0),
        *(("picture", n) for n in range(config.patch_grid**2)),
    ]


def _called(kind: str, number: int, grid: int) -> str:
    """What a token of the picture is called: "[heat 1,3]" is the upper right of the map."""
    if kind == "whole":
        return "[whole picture]"
    if kind in ("heat", "picture"):
        row, column = divmod(number, 3 if kind == "heat" else grid)
        return f"[{kind} {row + 1},{column + 1}]"
    return f"[{kind} {number + 1}]"


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
    said: _Said,
    weights: np.ndarray,
    places: _Places,
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
        by: By = "record" if mine[0] >= said.own else "held" if other else "model"
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


def _keenest(share: np.ndarray, places: _Places, first: int) -> str:
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


def _note(said: _Said, words: Sequence[LookedWord], answer: Answer, speaker: Speaker) -> str:
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
