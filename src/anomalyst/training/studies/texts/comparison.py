"""Three objectives on the same texts, asked the same: kinds of notes, search, answers, summaries.

Beside them TF-IDF: words counted, with the same two heads in closed form, and the nearest training
text in the place of an answer or a summary.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyst.report.shift.checked import summarised
from anomalyst.report.shift.facts import ShiftFacts
from anomalyst.report.shift.sentences import as_rows, summary_by_topic
from anomalyst.training.data.texts.drawn import (
    TEXTS_SEED,
    DrawnText,
    answer_text,
    draw_facts,
    draw_shift_facts,
    kind_of,
    shift_text,
    told,
)
from anomalyst.training.data.texts.fitting import Noted, drawn_notes
from anomalyst.training.studies.texts.loops import answer_holds
from anomalyst.vlm.facts import Facts
from anomalyst.vlm.texts.heads import Heads
from anomalyst.vlm.texts.loading import TextModel
from anomalyst.vlm.texts.records import ANSWER, NOTE, RECORD, SUMMARY
from anomalyst.vlm.texts.summarising import summarise
from anomalyst.vlm.texts.writing import Decoding, second_half

FEW = 60  # labelled notes, where labels are few
AT = (1, 5, 10)
Embed = Callable[[Sequence[str]], Tensor]  # sentences -> (N, D), unit length
NOT_A_NUMBER = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextsStudy:
    """How much each is asked."""

    fitted_on: int = 600  # notes with their records, for both heads
    notes: int = 500  # asked for their kind
    searched: int = 300  # notes looked for among as many records
    answers: int = 40
    shifts: int = 20
    seed: int = 5  # held out


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRow:
    """What came of one model."""

    name: str
    parameters: int
    kind_few: float  # accuracy with FEW labels, and with all
    kind_all: float
    recall: tuple[float, float, float]  # at 1, 5, 10, with the head
    plain_recall: tuple[float, float, float]  # with the bare cosine
    answers: float = NOT_A_NUMBER  # share that holds
    facts: float = NOT_A_NUMBER  # summary: share of the topics told by a sentence that holds
    held: float = NOT_A_NUMBER  # summary: share of what was written that holds
    seconds: float = NOT_A_NUMBER  # for a summary

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values; what was not asked is null."""
        return {k: None if v != v else v for k, v in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Asked:
    """What every model is asked, drawn once."""

    fitting: list[Noted]
    notes: list[Noted]
    answers: list[tuple[Facts, DrawnText]]
    shifts: list[ShiftFacts]

    @classmethod
    def draw(cls, study: TextsStudy) -> "Asked":
        """By the study's seed."""
        rng = np.random.default_rng((TEXTS_SEED, 3, study.seed))
        facts = [draw_facts(rng) for _ in range(study.answers)]
        shifts: list[ShiftFacts] = []
        while len(shifts) < study.shifts:
            one = draw_shift_facts(rng)
            shifts += [one] * (not one.empty)
        return cls(
            drawn_notes(study.fitted_on, study.seed),
            drawn_notes(max(study.notes, study.searched), study.seed + 1),
            [(one, answer_text(one, rng)) for one in facts],
            shifts,
        )


def judged_model(model: TextModel, asked: Asked, study: TextsStudy) -> TextRow:
    """All tasks that a model's class can do."""
    row = _by_vectors(
        model.name,
        sum(one.numel() for one in model.model.parameters()),
        lambda notes: model.embed([NOTE + one for one in notes]),
        lambda records: model.embed([RECORD + one for one in records]),
        asked,
        study,
    )
    if model.objective not in ("next", "spans"):
        return TextRow(**row)
    holds = [answer_holds(answered(model, text), facts) for facts, text in asked.answers]
    started = time.perf_counter()
    summaries = [summarise(model, as_rows(facts)) for facts in asked.shifts]
    seconds = (time.perf_counter() - started) / max(1, len(summaries))
    facts_told, held = summary_shares(asked.shifts, summaries)
    return TextRow(
        **row, answers=float(np.mean(holds)), facts=facts_told, held=held, seconds=seconds
    )


def judged_tfidf(texts: Sequence[DrawnText], asked: Asked, study: TextsStudy) -> TextRow:
    """The same by counted words; `texts`: those that the models were trained on."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    known = [f"{one.source} {one.target}" for one in texts if one.about == "note"]
    counter = TfidfVectorizer(sublinear_tf=True).fit(known)

    def embed(sentences: Sequence[str]) -> Tensor:
        return torch.from_numpy(counter.transform(sentences).toarray()).float()

    row = _by_vectors("TF-IDF", 0, embed, embed, asked, study)
    answers = _nearest(
        [one for one in texts if one.about == "answer"], [text for _, text in asked.answers]
    )
    shifts = [one for one in texts if one.about == "shift"]
    started = time.perf_counter()
    summaries = _nearest(shifts, [shift_text(facts) for facts in asked.shifts])
    seconds = (time.perf_counter() - started) / max(1, len(summaries))
    told_, held = summary_shares(
        asked.shifts, [one.target.removeprefix(SUMMARY) for one in summaries]
    )
    holds = [
        answer_holds(one.target.removeprefix(ANSWER), facts)
        for one, (facts, _) in zip(answers, asked.answers, strict=True)
    ]
    return TextRow(**row, answers=float(np.mean(holds)), facts=told_, held=held, seconds=seconds)


def summary_shares(shifts: Sequence[ShiftFacts], summaries: Sequence[str]) -> tuple[float, float]:
    """Of all topics of these shifts, the share that a model's own sentences tell truly; and of all
    that it wrote, the share that holds."""
    topics = told_truly = wrote = 0
    for facts, summary in zip(shifts, summaries, strict=True):
        found = summarised(facts, summary)
        topics += len(summary_by_topic(facts))
        told_truly += found.kept
        wrote += found.kept + len(found.refused)
    return told_truly / max(1, topics), told_truly / max(1, wrote)


def recalls(queries: Tensor, records: Tensor, same: Tensor) -> tuple[float, float, float]:
    """The share of queries (N, D) with a right record (M, D) among the nearest 1, 5 and 10.

    `same`: bool (N, M), which records are right.
    """
    order = (queries @ records.T).argsort(dim=1, descending=True)  # (N, M)
    hits = same.gather(1, order)
    at1, at5, at10 = (float(hits[:, :k].any(1).float().mean()) for k in AT)
    return at1, at5, at10


def _by_vectors(
    name: str,
    parameters: int,
    of_notes: Embed,
    of_records: Embed,
    asked: Asked,
    study: TextsStudy,
) -> dict[str, Any]:
    """A note's kind by few and by all labels, and its record by recall."""
    kinds = [kind_of(facts) for facts, _ in asked.fitting]
    known = of_notes([note for _, note in asked.fitting])
    records = of_records([told(facts) for facts, _ in asked.fitting])
    heads = Heads.fit(known, records, kinds)
    few = Heads.fit(known[:FEW], records[:FEW], kinds[:FEW])
    notes = of_notes([note for _, note in asked.notes])
    true = [kind_of(facts) for facts, _ in asked.notes[: study.notes]]
    lines = [told(facts) for facts, _ in asked.notes[: study.searched]]
    there = of_records(lines)
    same = torch.tensor([[a == b for b in lines] for a in lines])
    queries = notes[: study.searched]
    return {
        "name": name,
        "parameters": parameters,
        "kind_few": _accuracy(few, notes[: study.notes], true),
        "kind_all": _accuracy(heads, notes[: study.notes], true),
        "recall": recalls(heads.query(queries), heads.record(there), same),
        "plain_recall": recalls(F.normalize(queries, dim=1), F.normalize(there, dim=1), same),
    }


def _accuracy(heads: Heads, notes: Tensor, true: Sequence[str]) -> float:
    found, _ = heads.kind_of(notes)
    return float(np.mean([a == b for a, b in zip(found, true, strict=True)]))


def answered(model: TextModel, text: DrawnText) -> str:
    """The model's answer to the question of a text's first half."""
    return second_half(model, text.source, ANSWER, Decoding())


def _nearest(known: Sequence[DrawnText], asked: Sequence[DrawnText]) -> list[DrawnText]:
    """For each text asked, the known one whose first half shares most words with its."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    counter = TfidfVectorizer(sublinear_tf=True)
    there = counter.fit_transform([one.source for one in known])
    cosines = counter.transform([one.source for one in asked]) @ there.T
    return [known[int(row)] for row in np.asarray(cosines.toarray()).argmax(1)]
