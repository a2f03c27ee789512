"""The tokens of an answer and of what the language model read before it: what each stands for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anomalyst.types import Answer, Turn
from anomalyst.vlm.dialogue import INSTRUCTION
from anomalyst.vlm.facts import Facts
from anomalyst.vlm.generation import Speaker, without_user_marks
from anomalyst.vlm.grounding import sentences
from anomalyst.vlm.wording import unresolved

WORD = re.compile(r"<region \d+>\S*|\S+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What was said, as tokens of the model."""

    prompt: str
    question: str
    turns: tuple[Turn, ...]
    raw: str
    ids: list[int]
    own: int  # so many tokens of it did the model write
    likeliest: bool  # it took the likeliest token wherever the record allowed it; else it sampled
    pieces: list[str]  # text of each token
    spans: list[tuple[int, int]]  # of each word in `raw`
    belongs: list[int]  # of each token the number of its word


def said_of(
    speaker: Speaker,
    question: str,
    answer: Answer,
    facts: Facts,
    shown: Any,
    turns: Sequence[Turn],
) -> Said:
    """An answer as the model wrote it, as far as it did, and what the record said after that."""
    tokenizer = speaker.processor.tokenizer
    raw, own, chars = unresolved(answer.text, facts), list[int](), 0
    if speaker.by_facts(question, facts, turns) is None:
        written, asked = speaker.written(question, facts, shown, turns)
        text = tokenizer.decode(written)
        lead = text[: len(text) - len(text.lstrip())]  # some models begin with a space
        if not _replaced(text.lstrip(), answer, asked.whole, speaker.version):
            chars = len(lead) + _kept(raw, answer.raw)
        raw = lead + raw
        own = _common(tokenizer, written, raw[:chars])
    rest = raw[len(tokenizer.decode(own)) :] if own else raw
    ids = own + (tokenizer(rest, add_special_tokens=False)["input_ids"] if rest else [])
    text = tokenizer.decode(ids)
    ends = [len(tokenizer.decode(ids[: n + 1])) for n in range(len(ids))]
    starts = [0, *ends[:-1]]
    spans = [match.span() for match in WORD.finditer(text)]
    return Said(
        prompt=speaker.prompt(question, facts, turns),
        question=question,
        turns=tuple(turns),
        raw=text,
        ids=ids,
        own=sum(start < chars for start in starts),
        likeliest=len(tokenizer.decode(own)) >= chars,
        pieces=[text[a:b] for a, b in zip(starts, ends, strict=True)],
        spans=spans,
        # A token of spaces belongs to the word after it.
        belongs=[
            next((n for n, (_, stop) in enumerate(spans) if start < stop), len(spans) - 1)
            for start in starts
        ],
    )


def _replaced(written: str, answer: Answer, whole: str, version: str) -> bool:
    """Whether all that the model wrote was cut, and the record's whole answer said instead."""
    same = answer.model in ("", version)
    return bool(whole) and answer.raw == whole and same and not written.startswith(whole)


def _kept(raw: str, written: str) -> int:
    """How many characters of an answer are whole sentences that a model wrote."""
    end = 0
    for ours, theirs in zip(sentences(raw), sentences(written), strict=False):
        if ours != theirs:
            break
        end = raw.index(ours, end) + len(ours)
    return end


def _common(tokenizer: Any, written: Sequence[int], raw: str) -> list[int]:
    """The tokens written, as far as their text is the text that was said."""
    count = len(written)
    while count and not raw.startswith(tokenizer.decode(written[:count])):
        count -= 1
    return list(written[:count])


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """What each token of the prompt is."""

    kinds: list[tuple[str, int]]  # ("fact", 3), ("heat", 0), ("rest", 0), ...
    names: list[str]
    facts: tuple[str, ...]


def places_of(speaker: Speaker, said: Said, ids: list[int], facts: Facts) -> Places:
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
    return Places(kinds=kinds, names=names, facts=lines)


def _parts(text: str, lines: Sequence[str], said: Said) -> list[tuple[int, int, tuple[str, int]]]:
    """Where in the prompt each line of the record, earlier turns and the question stand."""
    parts: list[tuple[int, int, tuple[str, int]]] = []
    at = text.find(INSTRUCTION) + len(INSTRUCTION)
    for number, line in enumerate(lines):
        start = text.index(line, at)
        at = start + len(line)
        parts.append((start, at, ("fact", number)))
    asked = max(at, text.rfind(said.question))
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
