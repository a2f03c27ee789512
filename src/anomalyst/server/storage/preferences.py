"""What people prefer among answers, as records to align a language model with, and in TRL's forms.

A correction of the verdict is one, too: the right answer by the corrected facts is preferred.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anomalyst.server.records.answers import JudgedAnswers, earlier
from anomalyst.server.records.judged import overruled
from anomalyst.server.storage.corrected_facts import CorrectedFacts, corrected
from anomalyst.server.storage.shown_tensors import write_shown
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import CorrectionRow, InspectionRow
from anomalyst.vlm.contradictions import contradiction
from anomalyst.vlm.facts import Facts
from anomalyst.vlm.preferences import Ranking, write_rankings
from anomalyst.vlm.questions.yes_no import decide
from anomalyst.vlm.wording import TAG, resolved

QUESTION = "Is there a defect, and where?"  # asked where no dialogue was held
RANKINGS, SHOWN = "rankings.jsonl", "shown"  # of a folder written for training
JUDGED = ("answer", "ranking", "up", "down")  # kinds of corrections about answers
KeepShown = Callable[[str, InspectionRow, CorrectedFacts | None], str]


@dataclass(slots=True)
class LeftOut:
    """What an export passes over, counted."""

    deleted: int = 0  # corrections about a picture that is gone
    contradictory: int = 0  # pairs and thumbs up whose better answer goes against the facts
    overruled: int = 0  # of which the person said otherwise since, or on which people disagree
    unplaced: int = 0  # missed defects of which nobody painted where they are

    def __str__(self) -> str:
        told = {
            "about deleted pictures": self.deleted,
            "against the facts": self.contradictory,
            "taken back or disputed": self.overruled,
            "about missed defects without a painted mask": self.unplaced,
        }
        left = ", ".join(f"{count} {what}" for what, count in told.items() if count)
        return f"; left out: {left}" if left else ""


def rankings(
    store: Store,
    product: str | None = None,
    *,
    left: LeftOut | None = None,
    shown: KeepShown = lambda *_: "",
) -> Iterator[Ranking]:
    """What people said of answers and verdicts and did not undo, the oldest first.

    `shown` keeps what the model was shown, under a name, and says where; `left` counts what is
    passed over.
    """
    left = LeftOut() if left is None else left
    passed = overruled(store, product)
    for row in store.every_correction(product):
        if row.id in passed:
            left.overruled += 1
            continue
        seen = next(iter(store.inspections([row.inspection])), None)
        if seen is None or seen.picture not in store.pictures:
            left.deleted += 1
        elif row.kind in JUDGED:
            yield _of_answers(row, _completed(store, row, seen), shown(seen.id, seen, None))
        elif (right := corrected(row, seen, store.pictures)) is not None:
            if right.facts.verdict != "normal" and not right.facts.regions:
                left.unplaced += 1
            else:
                yield _of_verdict(store, row, seen, right, shown(row.id, seen, right))


def preference_pairs(
    store: Store, product: str | None = None, left: LeftOut | None = None
) -> Iterator[dict[str, Any]]:
    """Every two answers of unequal rank, in the conversational form with pictures of TRL's DPO.

    `prompt`, `chosen` and `rejected` are lists of messages, `images` the picture's file. Pairs
    whose better answer goes against the facts are left out.
    """
    left = LeftOut() if left is None else left
    for one in rankings(store, product, left=left):
        if one.kind == "thumb":
            continue
        left.contradictory += _contradictory(one)
        texts = dict(zip(one.answers, one.texts, strict=True))
        for pair in one.pairs():
            yield {
                "prompt": _prompt(one),
                "chosen": _message(texts[pair.chosen]),
                "rejected": _message(texts[pair.rejected]),
                "margin": pair.margin,
                **_about(store, one),
            }


def unpaired(
    store: Store, product: str | None = None, left: LeftOut | None = None
) -> Iterator[dict[str, Any]]:
    """Thumbs in TRL's unpaired form: `prompt`, `completion`, and whether it is liked: `label`."""
    left = LeftOut() if left is None else left
    for one in rankings(store, product, left=left):
        if one.kind != "thumb":
            continue
        label = one.ranks[0] == 1
        if label and any(one.contradictions):
            left.contradictory += 1
            continue
        said = _message(one.texts[0])
        yield {"prompt": _prompt(one), "completion": said, "label": label, **_about(store, one)}


def export_for_training(
    store: Store, folder: Path, product: str | None = None, left: LeftOut | None = None
) -> Path:
    """Write folder/rankings.jsonl and what the model was shown, in folder/shown; the first's path.

    Done again, what is there stays and what is new is added.
    """
    return write_with_shown(store, folder / RANKINGS, SHOWN, product, left)[0]


def write_with_shown(
    store: Store, target: Path, folder: str, product: str | None, left: LeftOut | None = None
) -> tuple[Path, int]:
    """Rankings as JSON lines, and their tensors in a folder beside them; path and count."""

    def keep(name: str, seen: InspectionRow, right: CorrectedFacts | None) -> str:
        inside = f"{folder}/{name}.safetensors"
        kept = write_shown(target.parent / inside, seen, right, store.pictures)
        return inside if kept else ""

    return target, write_rankings(target, rankings(store, product, left=left, shown=keep))


def _of_answers(row: CorrectionRow, said: dict[str, Any], shown: str) -> Ranking:
    kind = "thumb" if row.kind in ("up", "down") else row.kind
    return _ranking(
        row,
        kind=kind,
        model=said["model"],
        question=said["question"],
        turns=tuple((question, answer) for question, answer in said["turns"]),
        facts=Facts.from_dict(said["facts"]),
        answers=tuple(answer["raw"] for answer in said["answers"]),
        texts=tuple(answer["text"] for answer in said["answers"]),
        ranks=tuple(said["ranks"]),
        contradictions=tuple(said["contradictions"]),
        shown=shown,
    )


def _of_verdict(
    store: Store, row: CorrectionRow, seen: InspectionRow, right: CorrectedFacts, shown: str
) -> Ranking:
    """The answer by the corrected facts before the one by those that were found."""
    turns = store.turns(seen.id)
    first = turns[0].question if turns else QUESTION
    question = first if _decided(first, right.facts) and _decided(first, right.found) else QUESTION
    answers = (_decided(question, right.facts), _decided(question, right.found))
    return _ranking(
        row,
        kind="answer",
        model=turns[0].answer.get("model", "") if turns else "",
        question=question,
        facts=right.facts,
        answers=answers,
        texts=(resolved(answers[0], right.facts), resolved(answers[1], right.found)),
        ranks=(1, 2) if answers[0] != answers[1] else (1, 1),
        contradictions=("", contradiction(answers[1], question, right.facts)),
        shown=shown,
    )


def _ranking(row: CorrectionRow, **of_answers: Any) -> Ranking:
    return Ranking(
        id=row.id,
        inspection=row.inspection,
        product=row.product,
        by=row.by,
        time=row.created_at.isoformat(),
        **of_answers,
    )


def _decided(question: str, facts: Facts) -> str:
    """The raw yes or no that facts give; empty: they give none."""
    found = decide(question, facts)
    return found.whole if found and found.whole.startswith(("Yes", "No")) else ""


def _completed(store: Store, row: CorrectionRow, seen: InspectionRow) -> dict[str, Any]:
    """What a correction keeps of answers; one of before has only the texts."""
    if "answers" in row.detail:
        return row.detail
    said, turns = row.detail, store.turns(seen.id)
    asked = [i for i, turn in enumerate(turns) if turn.question == said["question"]]
    where = next((i for i in asked if turns[i].answer["text"] == said["rejected"]), None)
    judged = JudgedAnswers(seen, said["question"], earlier(turns[:where]) if where else [])
    judged.add_words(said["chosen"])
    if where is None:
        judged.add_words(said["rejected"])
    else:
        judged.add(turns[where].answer)
    return judged.detail((1, 2))


def _contradictory(one: Ranking) -> int:
    """Pairs that are left out: a better answer that goes against the facts."""
    pairs = [(i, j) for i in range(len(one.ranks)) for j in range(len(one.ranks))]
    return sum(one.ranks[i] < one.ranks[j] and bool(one.contradictions[i]) for i, j in pairs)


def _prompt(one: Ranking) -> list[dict[str, Any]]:
    """The question after those asked before; the picture comes with the first."""
    messages: list[dict[str, Any]] = []
    for question, answer in (*one.turns, (one.question, None)):
        content = [{"type": "text", "text": question}]
        if not messages:
            content.insert(0, {"type": "image", "text": None})  # type: ignore[dict-item]
        messages.append({"role": "user", "content": content})
        if answer is not None:
            messages += _message(_read(answer, one.facts))
    return messages


def _read(raw: str, facts: Facts) -> str:
    """An earlier answer as people read it."""
    try:
        return resolved(raw, facts)
    except IndexError:  # the facts were corrected since: it names a region that is not there
        return TAG.sub("(a place)", raw)


def _message(text: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": [{"type": "text", "text": text}]}]


def _about(store: Store, one: Ranking) -> dict[str, Any]:
    [seen] = store.inspections([one.inspection])
    return {
        "images": [str(store.pictures.path(seen.picture))],
        "facts": one.facts.as_text(),
        "product": one.product,
        "by": one.by,
        "inspection": one.inspection,
        "model": one.model,
    }
