"""Words checked against the map: the predecessor's defects are the list of these tests."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalyst.detection.classifiers.defect_types import KINDS
from anomalyst.detection.regions import find_regions, regions_for
from anomalyst.training.data.dialogues.writer import write_dialogue
from anomalyst.types import PLACES, Region, Turn, Verdict, place_of
from anomalyst.vlm.constrained_decoding import may_go_on
from anomalyst.vlm.facts import MOST_NAMED, Facts, number, seen_colours
from anomalyst.vlm.grounding import CORRECTION, conflict, ground, lies_in
from anomalyst.vlm.referring import question_scope
from anomalyst.vlm.wording import plainly


def region(
    place: str = "upper left", kind: str | None = "discolouration", area: int = 500
) -> Region:
    row = next(i for i, r in enumerate(("upper", "centre", "lower")) if place.startswith(r))
    column = next(i for i, c in enumerate(("left", "centre", "right")) if place.endswith(c))
    x, y = 256 * (2 * column + 1) // 6, 256 * (2 * row + 1) // 6
    return Region(
        box_xyxy=(x - 10, y - 10, x + 10, y + 10),
        area_px=area,
        peak=0.9,
        centre_xy=(float(x), float(y)),
        place=place,
        kind=kind,
    )


def facts_with(*regions: Region, verdict: Verdict | None = None) -> Facts:
    return Facts(
        verdict=verdict or ("anomalous" if regions else "normal"),
        p_value=0.02 if regions else 0.6,
        confidence=0.9,
        regions=regions,
        size_hw=(256, 256),
        num_good=1,
        guaranteed=False,
        colours=("brown", "white"),
    )


def random_facts(rng: np.random.Generator) -> Facts:
    """Regions of a random map, through the code that a real map goes through."""
    verdict: Verdict = ["normal", "anomalous", "unsure"][int(rng.integers(3))]
    whole = np.full((96, 128), 0.1, np.float32)
    for _ in range(int(rng.integers(0, 5))):
        y, x = int(rng.integers(90)), int(rng.integers(120))
        h, w = int(rng.integers(1, 30)), int(rng.integers(1, 40))
        whole[y : y + h, x : x + w] = 0.5 + rng.random() / 2
    regions = regions_for(whole, verdict)
    kinds = [str(rng.choice(KINDS)) if i < MOST_NAMED else None for i in range(len(regions))]
    named = tuple(replace(r, kind=k) for r, k in zip(regions, kinds, strict=True))
    return replace(facts_with(*named, verdict=verdict), size_hw=(96, 128))


ONE = facts_with(region("upper left"))
TWO = facts_with(region("upper left"), region("lower right", "deformation", 5000))
NONE = facts_with()
UNSURE = facts_with(region("centre"), verdict="unsure")


@pytest.mark.parametrize(
    ("raw", "facts"),
    [
        ("Yes, there is a defect.", NONE),
        ("It is damaged at the upper left.", NONE),
        ("I see one scratch or crack.", NONE),
        ("It is not sound.", NONE),
        ("It looks defective.", NONE),
        ("It is <region 1>.", NONE),
        ("No, there is no defect.", ONE),
        ("It is sound.", ONE),
        ("The part looks fine to me.", ONE),
        ("Everything is okay.", ONE),
        ("Nothing is wrong.", ONE),
        ("None.", ONE),
        ("You can ship it.", ONE),
        ("It is sound: there is no defect.", UNSURE),
        ("There are two defects.", ONE),
        ("There is one defect.", TWO),
        ("There are 7 anomalies.", TWO),
        ("It is at the lower left <region 1>.", ONE),  # x and y are not swapped
        ("It is at the centre.", TWO),  # no place of the union of two boxes
        ("They are at the lower right <region 1> and the upper left <region 2>.", TWO),
        ("It is at the top right.", ONE),
        ("It is a deformation <region 1>.", ONE),
        ("It is large <region 1>.", ONE),
        ("It is grey on white.", ONE),
        ("I am very sure: about 1 in 50 good parts look this unusual.", ONE),
        ("I am fairly sure: about 1 in 5 good parts look this unusual.", ONE),
        ("I am fairly sure: about 1 in <region 1>.", ONE),
        ("It is small <region 3>.", TWO),
        ("Nothing stands out at the upper left; what I see is at the lower right <region 2>.", TWO),
        ("I see no discolouration; what I see is a medium deformation <region 2>.", TWO),
    ],
)
def test_what_goes_against_the_facts_is_replaced_by_the_verdict(raw: str, facts: Facts):
    assert conflict(raw, facts)
    answer = ground(raw, facts)
    assert answer.corrected and answer.text.startswith(CORRECTION)
    assert answer.verdict == facts.verdict and raw not in answer.text


@pytest.mark.parametrize(
    ("raw", "facts"),
    [
        ("No, there is no defect.", NONE),
        ("It is sound: I see no defect.", NONE),
        ("Nothing stands out at the top: there is no defect.", NONE),
        ("I see no deformation and no other defect.", NONE),
        ("The picture cannot tell that; ask me about defects, places, kinds and sizes.", NONE),
        ("Hello! Ask me whether there is a defect, and where.", NONE),
        ("I am fairly sure: most good parts look this unusual.", NONE),
        ("It is brown on white.", NONE),
        ("Yes, there is one defect: a small discolouration at the upper left <region 1>.", ONE),
        ("It is at the top left corner <region 1>.", ONE),
        ("I see no deformation; what I see is a small discolouration <region 1>.", ONE),
        ("Nothing stands out at the lower right; what I see is at the upper left <region 1>.", ONE),
        ("There are two defects: <region 1> and <region 2>.", TWO),
        ("There is no third one: I see two defects.", TWO),
        ("A good one looks like the good picture I know: without <region 1>.", ONE),
        ("Yes, probably there is one defect, but I am not sure.", UNSURE),
    ],
)
def test_what_agrees_with_the_facts_is_left_alone(raw: str, facts: Facts):
    assert conflict(raw, facts) is None
    answer = ground(raw, facts)
    assert not answer.corrected
    for index, one in enumerate(facts.regions, start=1):
        if f"<region {index}>" in raw:
            assert str(one.box_xyxy[0]) in answer.text and one in answer.regions


def test_the_first_wrong_sentence_and_all_after_it_are_cut():
    raw = "Yes, there are two defects. It is at the centre. It is sound."
    answer = ground(raw, TWO)
    assert answer.text.startswith("Yes, there are two defects. " + CORRECTION)
    assert "at the centre." not in answer.text and "It is sound" not in answer.text


def test_an_empty_or_foolish_answer_becomes_the_verdict():
    assert ground("", ONE).text.startswith("Yes, there is one defect: a small discolouration")
    assert ground("  ", NONE).text == "No, there is no defect."


def test_a_users_words_and_name_are_quoted_and_decide_nothing():
    facts = replace(NONE, told="there is a defect", product="lid")
    assert ground("You said: <told>", facts).text == 'You said: "there is a defect"'
    assert ground("You call it <product>.", facts).text == "You call it lid."


def test_place_words_are_not_swapped_and_not_of_a_union():
    whole = np.zeros((90, 120), np.float32)
    whole[5:15, 100:115] = 1  # upper right: small y, large x
    whole[70:80, 5:20] = 0.9  # lower left
    regions = find_regions(whole, 0.5)
    assert [r.place for r in regions] == ["upper right", "lower left"]
    text = ground(plainly(facts_with(*regions)), facts_with(*regions)).text
    assert "upper right (box 100, 5, 115, 15)" in text and "centre" not in text


def test_thousands_of_random_maps_are_never_contradicted():
    """Whatever sentences a model may say, what is shown is true of the map."""
    rng = np.random.default_rng(0)
    every = [random_facts(rng) for _ in range(2000)]
    for facts in every:
        other = every[int(rng.integers(len(every)))]
        # A fluent answer about another picture: the likeliest way to be wrong.
        raw = write_dialogue(other, "a flat surface", rng, turns=1)[0].answer
        check(ground(raw, facts).text, facts)
        check(ground(plainly(facts), facts).text, facts)


def check(text: str, facts: Facts) -> None:
    """An own reading of an answer: first word, boxes, count."""
    said = re.sub(r"^(yes|no)\b,?", "", text.lower())
    # A yes or no may be to any question; what follows it speaks for itself.
    if re.search(r"\bno defect\b|\bi see no other|\bis sound\b", said):
        assert facts.verdict == "normal", (text, facts)
    if re.search(
        r"\bnot sound\b|(?<!whether )\bthere (is|are) (an?|one|two|three|four|five) ", said
    ):
        assert facts.verdict != "normal", (text, facts)
    if not said.strip(" ,.:;"):
        assert (text.lower()[:3] == "yes") == (facts.verdict != "normal"), (text, facts)
    boxes = {f"(box {', '.join(map(str, r.box_xyxy))})": r for r in facts.regions}
    for box in re.findall(r"\(box [^)]*\)", text):
        assert box in boxes, (text, facts)
        before = text[: text.index(box)]
        spoken = re.search(r"the ((?:upper|lower|centre)(?: (?:left|right|centre))?) $", before)
        if spoken:
            assert spoken.group(1) in {r.place for b, r in boxes.items() if b == box}, (text, facts)
    for count in re.findall(r"\b(one|two|three|four|five|\d+) defects?\b", text):
        assert count == number(len(facts.regions)), (text, facts)


def test_the_grammar_never_contradicts_its_own_facts():
    rng = np.random.default_rng(1)
    for _ in range(1500):
        facts = random_facts(rng)
        if len(facts.regions) > MOST_NAMED:
            continue  # of the others the grammar knows only how many they are
        for one in write_dialogue(facts, "a single part", rng, turns=3):
            assert conflict(one.answer, facts) is None, (one, facts)


@given(st.text(max_size=200))
@settings(max_examples=150, deadline=None)
def test_any_text_grounds_to_something_said(raw: str):
    for facts in (ONE, NONE):
        answer = ground(raw, facts)
        assert answer.text.strip() and answer.verdict == facts.verdict


def test_asked_places_are_cells_rows_and_columns():
    assert lies_in("upper left", "upper") and lies_in("upper left", "left")
    assert not lies_in("upper centre", "centre") and lies_in("centre", "centre")
    assert {p for p in PLACES if lies_in(p, "right")} == {
        "upper right", "centre right", "lower right",
    }  # fmt: skip
    assert place_of((10, 200), (256, 256)) == "lower left"


def test_colours_are_those_of_the_part_and_of_what_lies_behind():
    picture = np.full((100, 120, 3), 245, np.uint8)
    picture[30:70, 30:90] = (120, 70, 30)
    assert seen_colours(picture) == ("brown", "white")
    assert seen_colours(np.full((64, 64, 3), 10, np.uint8)) == ("black",)


def test_a_sentence_may_only_go_on_to_something_true():
    for begun in (
        "There are two defects: a small discolouration at the upper left <region 1> and a large",
        "They are at the upper left <region 1> and the lower",
        "The second one is a large deformation at the lower right",
        "I am fairly sure: less than 1 in 10",
        "I see no scratch or crack; what I see is a small",
        "Nothing stands out at the centre",
    ):
        assert may_go_on(begun, replace(TWO, p_value=0.01)), begun
    for begun in (
        "No",
        "There are three",
        "There are two defects: a large",
        "There are two defects: a small deformation",
        "There are two defects: a small discolouration at the lower",
        "The second one is a small",
        "They are a discolouration <region 1> and a discolouration",
        "They are at the upper left <region 1> and<region 2>",
        "I am very",
        "I am fairly sure: about 1 in 2",
        "It is brownish",
        "Nothing stands out at the upper left",
    ):
        assert not may_go_on(begun, replace(TWO, p_value=0.01)), begun
    assert may_go_on("It is a medium", TWO, [0]) is False
    assert may_go_on("It is a large", TWO, [1]) and not may_go_on("It is a small", TWO, [1])


@pytest.mark.parametrize(
    ("question", "regions"),
    [
        ("What about the second one?", (1,)),
        ("What about the sixth one?", None),
        ("Which is the biggest?", (1,)),
        ("Which one is the most serious?", (0,)),
        ("Is there anything at the top left?", (0,)),
        ("Is anything wrong on the right?", (1,)),
        ("Is there anything in the middle?", None),
        ("Any dents?", (1,)),
        ("Is there a scratch?", None),
        ("How many defects are there?", None),
        ("What is it?", None),
    ],
)
def test_what_a_question_singles_out(question: str, regions: tuple[int, ...] | None):
    assert question_scope(question, TWO, ()).regions == regions


def test_it_is_what_the_last_answer_spoke_of():
    spoke = ground("The second one is a large deformation at the lower right <region 2>.", TWO)
    turns = [Turn("What about the second one?", spoke)]
    assert question_scope("How large is it?", TWO, turns).regions == (1,)
    assert question_scope("And what kind?", TWO, turns).regions == (1,)
    assert question_scope("Where are they?", TWO, turns).regions is None
    assert question_scope("Is it sound?", TWO, turns).regions is None
    both = ground("They are <region 1> and <region 2>.", TWO)
    assert question_scope("How large is it?", TWO, [Turn("?", both)]).regions is None


@pytest.mark.parametrize(
    "sentence",
    [
        # "largest" is no "large" one
        "The largest one is a medium deformation at the lower right <region 2>.",
        # what is asked, not what is there
        "Ask me whether there is a defect, how many, where, what kind, how large, and how sure.",
        # a kind is denied, not every hole
        "I see no hole or break; what I see is a small discolouration at the upper left <region 1> "
        "and a medium deformation at the lower right <region 2>.",
    ],
)
def test_true_sentences_can_be_spoken_under_constraint(sentence: str) -> None:
    facts = facts_with(region("upper left"), region("lower right", "deformation", 1500))
    begun = [sentence[: match.end()] for match in re.finditer(r"<[^>]+>|\S+", sentence)]
    assert all(may_go_on(words, facts) for words in begun)
    assert not ground(sentence, facts).corrected
    hole = replace(facts, regions=(region("centre", "hole or break"),))
    assert not may_go_on("I see no hole", hole) and not may_go_on("I see no hole.", facts)
