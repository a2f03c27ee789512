"""The verifiable reward: all of it for the grammar's answers, less for any change of them."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from anomalyst.training.alignment.verifiable import verify, verify_free
from anomalyst.training.data.dialogues.answers import Intent
from anomalyst.training.data.dialogues.scenes import LOOKS, draw_scene
from anomalyst.training.data.dialogues.writer import Exchange, write_dialogue
from anomalyst.training.data.feature_cache import CachedFeatures
from anomalyst.training.data.preferences.spoiled import CHANGES
from anomalyst.vlm.facts import MOST_NAMED, Facts
from test_grounding import NONE, TWO, UNSURE

COLOURS = [("red", "white"), ("dark grey",), ("brown", "light grey")]
# Of what has no look: scenes whose regions are all drawn need none.
SEEN = [
    CachedFeatures(
        torch.zeros(1, 64, 64), torch.zeros(8), torch.zeros(8, 4, 4), (), family, colours, True
    )
    for family, colours in zip(LOOKS, COLOURS * len(LOOKS), strict=False)
]


def drawn(count: int, seed: int = 0) -> Iterator[tuple[Facts, str, Exchange]]:
    """Scenes, and four questions about each with the grammar's answers."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        facts, look, _ = draw_scene(SEEN, rng, imagined=1.0, size_px=256)
        for exchange in write_dialogue(facts, look, rng, turns=4):
            if not unknowable(exchange.intent, facts):
                yield facts, look, exchange


def unknowable(intent: Intent, facts: Facts) -> bool:
    """Whether the answer hangs on a region beyond those that a model is told of."""
    return intent.name in ("at", "of kind") and len(facts.regions) > MOST_NAMED


CHANGED: dict[str, Callable[[str], str | None]] = {
    **CHANGES,
    "last mark": lambda answer: answer[:-1],
    "doubled": lambda answer: f"{answer} {answer}",
    "empty": lambda _: "",
}
# A question that does not ask for these may be answered without them.
NOT_ASKED = {"region": {"sure"}, "size": {"help"}}


def test_the_grammars_own_answer_has_the_whole_reward() -> None:
    asked: Counter[str] = Counter()
    for facts, look, one in drawn(300):
        verified = verify(one.answer, one.intent, facts, look=look)
        assert verified.score == verified.right == 1.0, (one, facts, verified)
        assert all(verified.parts.values()) and not verified.contradictions
        asked[one.intent.name] += 1
    assert len(asked) == 24 and min(asked.values()) >= 3


@pytest.mark.parametrize("change", CHANGED)
def test_a_changed_answer_has_less(change: str) -> None:
    tried = 0
    for facts, look, one in drawn(120, seed=1):
        changed = CHANGED[change](one.answer)
        if changed is None or one.intent.name in NOT_ASKED.get(change, ()):
            continue
        verified = verify(changed, one.intent, facts, look=look)
        assert verified.score < 1.0, (changed, one, facts, verified)
        tried += 1
    assert tried >= 30, "the change must apply to many answers"


@pytest.mark.parametrize("facts", [NONE, TWO, UNSURE])
def test_always_yes_and_always_no_do_not_pay(facts: Facts) -> None:
    presence = Intent(name="presence")
    yes, no = (verify(f"{word}.", presence, facts) for word in ("Yes", "No"))
    if facts.verdict == "normal":
        assert (yes.score, no.score) == (-1.0, 1.0)
    else:
        assert 0 < yes.score <= 0.5 and no.score < 0


def test_a_bare_yes_or_no_does_not_say_whether_it_is_sound() -> None:
    for intent in (Intent(name="sound"), Intent(name="order")):
        assert verify("Yes.", intent, TWO).right == 0 == verify("No.", intent, TWO).right
        assert verify("It is not sound: <region 1> and <region 2>.", intent, TWO).score == 1.0


@pytest.mark.parametrize(
    ("raw", "intent", "parts"),
    [
        # of two regions one is missed: 1/2, and its place: 1/2
        ("At the upper left <region 1>.", "where", {"regions": False, "place": False}),
        ("<region 1> is at the top left and <region 2> at the bottom right.", "where",
         {"regions": True, "place": True}),
        ("At <region 1> and <region 2>.", "where", {"regions": True, "place": False}),
        ("<region 1> <region 2>.", "presence", {"regions": False, "presence": False}),
        ("Two: <region 1> and <region 2>.", "count", {"regions": True, "count": True}),
        ("Yes, it has defects: <region 1> and <region 2>.", "presence",
         {"regions": True, "presence": True}),
    ],
)  # fmt: skip
def test_other_wordings_are_read(raw: str, intent: str, parts: dict[str, bool]) -> None:
    verified = verify(raw, Intent(name=intent), TWO)
    assert dict(verified.parts) == parts and not verified.contradictions


def test_the_formula_on_cases_worked_by_hand() -> None:
    where = Intent(name="where")
    half = verify("It is at the upper left <region 1>.", where, TWO)
    assert (half.right, half.score, half.words) == (0.5, 0.5, 7)
    swapped_tags = "They are at the lower right <region 1> and the upper left <region 2>."
    wrong = verify(swapped_tags, where, TWO)  # regions 1, place 0
    assert wrong.contradictions and wrong.score == 0.5 / 2 - 1
    twice = "They are at the upper left <region 1> and the lower right <region 2>."
    doubled = verify(f"{twice} {twice}", where, TWO)
    assert (doubled.words, doubled.needless, doubled.score) == (24, 12, 0.5)


def test_a_region_too_many_costs_where_one_is_asked_for() -> None:
    largest = Intent(name="largest")
    one = "The largest one is a large deformation at the lower right <region 2>."
    assert TWO.largest == 1 and verify(one, largest, TWO).score == 1.0
    more = f"{one[:-1]}, beside <region 1>."
    assert verify(more, largest, TWO).right < 1.0


def test_an_unsure_verdict_must_sound_unsure() -> None:
    raw = "Yes, there is one defect: a small discolouration at the centre <region 1>."
    assert verify(raw, Intent(name="presence"), UNSURE).parts["doubt"] is False
    assert verify(f"{raw} I am not sure.", Intent(name="presence"), UNSURE).score == 1.0


def test_questions_of_people_are_checked_without_an_intent() -> None:
    sound, defect = "Is it sound?", "Is there a defect?"
    assert verify_free("Yes, it is sound: there is no defect.", sound, NONE).score == 1.0
    assert verify_free("Yes, there is one defect.", defect, NONE).score < 0
    assert verify_free("There is no defect", sound, NONE).score == 0.0
    assert verify_free("No.", defect, TWO).score < 0 and verify_free("Yes.", sound, TWO).score < 0
    for nothing in (".", "Hello!"):
        assert verify_free(nothing, defect, TWO).score <= 0.5
    endless = " ".join(f"That is the word number {i}." for i in range(11, 40))
    assert 0 < verify_free(endless, "Tell me all.", replace(NONE, colours=())).score < 0.5
