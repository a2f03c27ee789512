"""A language model judged on the items of a gate: its own words, and what would be shown."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyst.evaluation.gate.claims import as_expected, by_facts, said_of
from anomalyst.evaluation.gate.figures import ROWS, GateFigures, Row, RowFigures
from anomalyst.evaluation.gate.items import GateItem
from anomalyst.vlm.contradictions import contradiction
from anomalyst.vlm.generation import LONGEST_ANSWER, Speaker
from anomalyst.vlm.prompt_learner import MAP_CELLS
from anomalyst.vlm.wording import unresolved

TOGETHER = 16  # prompts decoded at once
ItemCallback = Callable[[], None]


def judge_model(
    speaker: Speaker, items: Sequence[GateItem], on_item: ItemCallback = lambda: None
) -> GateFigures:
    """How a model answers the items in its own words.

    Presence, place, kind and count of held-out dialogues are compared with the expected answer in
    what is asked; of recorded questions with the facts, as far as the answer claims something;
    answers that claim nothing are counted.
    """
    started = time.perf_counter()
    wrong: dict[str, list[int]] = {name: [] for name in (*ROWS, "contradictions")}
    right: dict[Row, int] = dict.fromkeys(ROWS, 0)
    silent = 0
    raws = raw_answers(speaker, items, on_item)
    for index, (item, raw) in enumerate(zip(items, raws, strict=True)):
        found = judged(item, raw)
        silent += bool(raw) and not found and not item.expected
        for row, is_right in found.items():
            right[row] += is_right
            if not is_right:
                wrong[row].append(index)
        if contradiction(raw, item.question, item.facts, item.earlier()):
            wrong["contradictions"].append(index)
    return GateFigures(
        items=len(items),
        rows={row: RowFigures(right=right[row], wrong=len(wrong[row])) for row in ROWS},
        contradictions=len(wrong["contradictions"]),
        unfinished=sum(not raw for raw in raws),
        silent=silent,
        words=round(sum(len(raw.split()) for raw in raws) / max(1, len(items)), 2),
        seconds=round(time.perf_counter() - started, 1),
        wrong_items={name: tuple(indices) for name, indices in wrong.items()},
    )


def judge_shown(
    figures: GateFigures,
    speaker: Speaker,
    items: Sequence[GateItem],
    on_item: ItemCallback = lambda: None,
) -> GateFigures:
    """The figures of the same model with what people would be shown, as the workbench answers.

    Slower, and much slower of a broken model, which grounding holds back at every token.
    """
    started = time.perf_counter()
    wrong = corrected = 0
    for item in items:
        turns = item.earlier()
        answer = speaker.answer(item.question, item.facts, item.tensors(), turns)
        corrected += answer.corrected
        said = unresolved(answer.text, item.facts)
        wrong += bool(contradiction(said, item.question, item.facts, turns))
        on_item()
    seconds = round(figures.seconds + time.perf_counter() - started, 1)
    return replace(figures, shown_contradictions=wrong, corrected=corrected, seconds=seconds)


def judged(item: GateItem, raw: str) -> dict[Row, bool]:
    """Whether a raw answer is right, by row; rows that it is not judged in are left out."""
    said = said_of(raw)
    if item.expected:
        asked, expected = item.asked, said_of(item.expected)
        return {asked: as_expected(asked, said, expected)} if asked else {}
    found = {row: by_facts(row, said, item.facts) for row in ROWS}
    return {row: is_right for row, is_right in found.items() if is_right is not None}


@torch.inference_mode()
def raw_answers(
    speaker: Speaker, items: Sequence[GateItem], on_item: ItemCallback = lambda: None
) -> list[str]:
    """What the model says freely, the likeliest token each time; empty where it finds no end.

    Answers are in order; items of about equal length are decoded together.
    """
    prompts = [speaker.prompt(one.question, one.facts, one.earlier()) for one in items]
    order = sorted(range(len(items)), key=lambda index: len(prompts[index]))
    answers = [""] * len(items)
    for start in range(0, len(order), TOGETHER):
        chosen = order[start : start + TOGETHER]
        shown = [_of_one_size(items[index].tensors()) for index in chosen]
        for index, text in zip(
            chosen, _decoded(speaker, [prompts[i] for i in chosen], shown), strict=True
        ):
            answers[index] = text
            on_item()
    return answers


def _decoded(
    speaker: Speaker, prompts: Sequence[str], shown: Sequence[dict[str, Tensor]]
) -> list[str]:
    tokenizer = speaker.processor.tokenizer
    inputs = speaker.processor(prompts, shown, padding_side="left")
    ids = speaker.model.generate(
        **inputs,
        max_new_tokens=LONGEST_ANSWER,
        do_sample=False,
        pad_token_id=tokenizer.pad_token_id,
    )
    ends = (ids == tokenizer.eos_token_id).any(1).tolist()
    texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
    return [text.strip() if end else "" for text, end in zip(texts, ends, strict=True)]


def _of_one_size(shown: dict[str, Tensor]) -> dict[str, Tensor]:
    """The map at the size to which the prompt learner brings any: so pictures make a batch."""
    return shown | {"anomaly_map": F.adaptive_avg_pool2d(shown["anomaly_map"], MAP_CELLS)}
