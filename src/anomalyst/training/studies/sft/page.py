"""The study of SFT as a page: figures of each model, and the same prompts answered by all."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from anomalyst.report.sections import Section
from anomalyst.training.studies.page import write_page
from anomalyst.training.studies.sft.study import BASE, LONGEST, TUNINGS, Said, SFTStudy
from anomalyst.training.studies.sft.texts import SETS

SHOWN = 8  # prompts on the page


def write_sft_page(out: Path, study: SFTStudy, answers: Mapping[str, Sequence[Said]]) -> str:
    """OUT/sft.html and sft.md; returns the Markdown."""
    per_set = study.questions
    intro = [
        f"A LLaMA of width {study.model.width} and {study.model.layers} layers, pretrained for "
        f"{study.base_steps} steps on running text in which no question is answered, and the same "
        f"after {study.sft_steps} steps of supervised fine-tuning on 1, 4 and 6 sets of dialogues, "
        "a loss on answers only.",
        f"Every model is asked the same {per_set} held-out questions of each set, greedily; an "
        f"answer is cut at {LONGEST} tokens, and nothing is checked or mended. One seed.",
    ]
    sections = [_figures(answers), _right(answers), _prompts(answers), _sets()]
    return write_page(out, "sft", "Base model, and SFT on 1, 4 and 6 data sets", intro, sections)


def _figures(answers: Mapping[str, Sequence[Said]]) -> Section:
    rows = []
    for name in (BASE, *TUNINGS):
        said = answers[name]
        rows.append([
            name, _percent(one.right for one in said), _percent(one.ended for one in said),
            _percent(one.another_turn for one in said),
            f"{sum(one.words for one in said) / len(said):.1f}",
        ])  # fmt: skip
    heads = ["model", "right, %", "ended, %", "began another turn, %", "words"]
    told = (
        "Right: all that was asked is said and nothing false, by the facts; what a model says "
        "after it has begun another turn by itself is not held against it here."
    )
    return Section(title="All questions", sentences=[told], heads=heads, rows=rows)


def _right(answers: Mapping[str, Sequence[Said]]) -> Section:
    rows = []
    for name in (BASE, *TUNINGS):
        tuned = list(SETS)[: TUNINGS.get(name, 0)]
        cells = []
        for which in SETS:
            share = _percent(one.right for one in answers[name] if one.set == which)
            cells.append(share + " *" * (which in tuned))
        rows.append([name, *cells])
    told = "* marks the sets that a model was tuned on."
    return Section(
        title="Right answers of each set, %", sentences=[told], heads=["model", *SETS], rows=rows
    )


def _prompts(answers: Mapping[str, Sequence[Said]]) -> Section:
    """The first question of each set, then the second ones."""
    order = [index for turn in range(SHOWN) for index in _nth_of_each(answers[BASE], turn)]
    rows = [
        [answers[BASE][index].question, answers[BASE][index].set,
         *(_shown(answers[name][index]) for name in (BASE, *TUNINGS))]
        for index in order[:SHOWN]
    ]  # fmt: skip
    told = "(right) and (wrong) by the facts; ... where an answer did not end."
    heads = ["question", "set", BASE, *TUNINGS]
    return Section(title="The same prompts", sentences=[told], heads=heads, rows=rows)


def _nth_of_each(said: Sequence[Said], turn: int) -> list[int]:
    places = ([i for i, one in enumerate(said) if one.set == name] for name in SETS)
    return [of_set[turn] for of_set in places if turn < len(of_set)]


def _shown(said: Said) -> str:
    text = " / ".join(said.text.splitlines())  # a turn of its own stays to be seen
    return f"{text}{'' if said.ended else ' ...'} ({'right' if said.right else 'wrong'})"


def _sets() -> Section:
    rows = [[str(place), name, ", ".join(intents)]
            for place, (name, intents) in enumerate(SETS.items(), start=1)]  # fmt: skip
    told = "In this order: one set is the first, four are the first four."
    return Section(
        title="The sets", sentences=[told], heads=["", "set", "kinds of question"], rows=rows
    )


def _percent(flags: object) -> str:
    held = list(flags)  # type: ignore[call-overload]
    return f"{100 * sum(held) / max(1, len(held)):.1f}"
