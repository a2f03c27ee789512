"""What a model writes when it must go on: greedy choice falls into loops, other ways do not."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from anomalyst.detection.classifiers.kinds import KINDS
from anomalyst.report.sections import Section
from anomalyst.training.data.texts.drawn import TEXTS_SEED, answer_text, draw_facts
from anomalyst.training.studies.page import write_page
from anomalyst.vlm.facts import Facts
from anomalyst.vlm.grounding import (
    COUNT,
    PLACE,
    claims_defect,
    claims_soundness,
    conflict,
    sentences,
)
from anomalyst.vlm.texts.loading import TextModel
from anomalyst.vlm.texts.records import ANSWER, BETWEEN
from anomalyst.vlm.texts.writing import WAYS, distinct, half_said, loop_of, said, written

PROMPTS_SEED = 7  # held out
OPEN_TOKENS = 50  # that must be written
SHOWN = 3  # prompts whose texts the page shows


@dataclass(frozen=True, slots=True, kw_only=True)
class WayRow:
    """One way to choose words, over all prompts."""

    way: str
    looping: float  # share of the texts of 50 tokens with a phrase three times in a row
    distinct: float  # share of their 3-grams that differ, the mean
    ended: float  # share of the answers that end by themselves within 50 tokens
    holds: float  # share of these answers, ended or not, that the facts bear out
    seconds: float  # for 50 tokens
    texts: tuple[str, ...]  # of the first prompts
    phrases: tuple[str, ...]  # what loops in them; empty: nothing


def drawn_prompts(count: int, seed: int = PROMPTS_SEED) -> list[tuple[Facts, str]]:
    """Records with a question that no training has seen, up to where the answer begins."""
    rng = np.random.default_rng((TEXTS_SEED, 2, seed))
    found = []
    for _ in range(count):
        facts = draw_facts(rng)
        found.append((facts, f"{answer_text(facts, rng).source}{BETWEEN}{ANSWER.rstrip()}"))
    return found


def study_loops(
    model: TextModel,
    count: int,
    *,
    text: str | None = None,
    told: Callable[[int], None] = lambda _: None,
) -> list[WayRow]:
    """Every way over the same prompts; `text`: this one alone, of which no facts are known."""
    prompts = drawn_prompts(count) if text is None else []
    asked = [prompt for _, prompt in prompts] or [str(text)]
    rows = []
    for number, (way, decoding) in enumerate(WAYS.items()):
        forced = replace(decoding, max_new_tokens=OPEN_TOKENS, min_new_tokens=OPEN_TOKENS)
        started = time.perf_counter()
        long = [written(model, prompt, forced, seed) for seed, prompt in enumerate(asked)]
        seconds = (time.perf_counter() - started) / len(asked)
        free = [written(model, prompt, decoding, seed) for seed, prompt in enumerate(asked)]
        end = model.tokenizer.eos_token_id
        right = [
            answer_holds(half_said(model, ids, ANSWER), facts)
            for ids, (facts, _) in zip(free, prompts, strict=False)
        ]
        rows.append(
            WayRow(
                way=way,
                looping=float(np.mean([bool(loop_of(ids)) for ids in long])),
                distinct=float(np.mean([distinct(ids) for ids in long])),
                ended=float(np.mean([end in ids for ids in free])),
                holds=float(np.mean(right)) if right else float("nan"),
                seconds=seconds,
                texts=tuple(said(model, ids) for ids in long[:SHOWN]),
                phrases=tuple(said(model, loop_of(ids)) for ids in long[:SHOWN]),
            )
        )
        told(number + 1)
    return rows


def answer_holds(answer: str, facts: Facts) -> bool:
    """Whether an answer claims something of the part, and nothing that goes against the facts.

    "It is is is" claims nothing, so nothing contradicts it; it holds no more than a wrong one.
    """
    text = answer.lower()
    words = any(kind in text for kind in KINDS) or PLACE.search(text) or COUNT.search(text)
    claims = bool(words) or claims_defect(text) or claims_soundness(text)
    return claims and all(conflict(one, facts) is None for one in sentences(answer))


HEADS = ("way", "loops %", "distinct %", "ends %", "holds %", "s")


def table(rows: Sequence[WayRow]) -> list[list[str]]:
    """The rows as cells under HEADS."""
    return [
        [
            row.way,
            *(_percent(v) for v in (row.looping, row.distinct, row.ended, row.holds)),
            f"{row.seconds:.2f}",
        ]
        for row in rows
    ]


def write_loops_page(out: Path, name: str, rows: Sequence[WayRow], prompts: Sequence[str]) -> str:
    """OUT/loops.html and loops.md; returns the Markdown."""
    sections = [Section(title="Ways to choose words", heads=HEADS, rows=table(rows))]
    for number, prompt in enumerate(prompts[:SHOWN]):
        cells = [[row.way, row.texts[number], row.phrases[number] or "-"] for row in rows]
        sections.append(
            Section(
                title=f"Prompt {number + 1}",
                sentences=[prompt],
                heads=("way", f"{OPEN_TOKENS} tokens", "what loops"),
                rows=cells,
            )
        )
    intro = [
        f"{name} must write {OPEN_TOKENS} tokens: the end of the text is forbidden, as in an open "
        "story. `loops`: texts with a phrase of up to 20 tokens three times in a row; `distinct`: "
        "their 3-grams that differ; `s`: seconds for a text.",
        f"Without that force: `ends`: answers that end within {OPEN_TOKENS} tokens; `holds`: "
        "answers that claim something and of which no sentence goes against the facts.",
    ]
    return write_page(out, "loops", "Greedy loops and their cure", intro, sections)


def _percent(value: float) -> str:
    return "-" if value != value else f"{100 * value:.0f}"
