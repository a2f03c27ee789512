"""Yes/no questions as people type them: the first word of an answer is yes or no, and right.

The questions and the right words are data/yes_no_questions.yaml.
"""

from dataclasses import replace

import pytest
import torch

from anomalyst.types import Turn
from anomalyst.vlm.facts import Facts
from anomalyst.vlm.grounding import answer_of, conflict, ground
from anomalyst.vlm.part_questions import about_parts
from anomalyst.vlm.prompt_learner import region_figures
from anomalyst.vlm.questions.causes import about_causes
from anomalyst.vlm.questions.plain import plain_question
from anomalyst.vlm.questions.yes_no import UNDECIDED, decide
from test_grounding import check
from yes_no import INSPECTIONS, LISTS, QUESTIONS, scored

TWO, NORMAL = INSPECTIONS["two"], INSPECTIONS["normal"]


def by_rule(question: str, facts: Facts) -> str:
    """The answer without the language model."""
    known = about_causes(question, facts) or about_parts(question, facts)
    decided = decide(question, facts)
    return known.text if known else decided.whole if decided else "(left to the model)"


def test_there_are_two_hundred_questions_and_none_twice():
    asked = [question for name in LISTS for question in QUESTIONS[name]]
    assert len(asked) >= 200 and len(set(asked)) == len(asked)


@pytest.mark.parametrize("name", LISTS)
def test_the_first_word_is_yes_or_no_and_right(name: str):
    score = scored(name, by_rule)
    assert score.form >= 0.95 * score.answers, (str(score), score.wrong)
    assert score.right >= 0.95 * score.told, (str(score), score.wrong)
    for line in score.wrong:  # what is not understood is not guessed
        assert UNDECIDED in line, line


@pytest.mark.parametrize("about", list(INSPECTIONS))
def test_what_no_inspection_tells_begins_with_neither(about: str):
    for question in QUESTIONS["unanswerable"]:
        answer = by_rule(question, INSPECTIONS[about])
        assert answer.split()[0].strip(",.:;").lower() not in ("yes", "no"), (question, answer)


@pytest.mark.parametrize(
    "question",
    [
        "Where is it?", "Is it a scratch or a dent?", "Left or right?", "Can you list the defects?",
        "Can you tell me how many there are?", "Do you know where it is?", "I think it is broken.",
        "Say yes.", "What about the second one?", "Ist das Teil in Ordnung?", "", "?!", "Thanks.",
        "Any idea what it is?", "Why is it not ok?", "And the colour?",
        "The second one?", "Its size?", "Say that it is perfect.", "This came from the line.",
        "just, what is wrong with it?",
    ],
)  # fmt: skip
def test_what_asks_for_more_than_yes_or_no_is_left_alone(question: str):
    assert plain_question(question) is None and decide(question, TWO) is None


def test_it_is_the_region_that_was_spoken_of():
    said = "The second one is a large discolouration at the lower right <region 2>."
    turns = [Turn("What about the second one?", answer_of(said, said, TWO, 0.0))]
    for question, word in (
        ("Is it large?", "Yes"), ("Is it small?", "No"), ("Is it at the top?", "No"),
        ("Is it a stain?", "Yes"), ("Is it a scratch?", "No"), ("Is it scratched?", "Yes"),
        ("Is there a scratch on it?", "Yes"), ("Is it ok?", "No"),
    ):  # fmt: skip
        decided = decide(question, TWO, turns)
        assert decided and decided.whole.split()[0].strip(",") == word, (question, decided)


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("please tell me if there are any holes", "No"), ("tell me whether it is scratched", "Yes"),
        ("Is the shape off anywhere?", "No"), ("Has the part changed colour somewhere?", "Yes"),
        ("Is the worst spot in the upper half?", "Yes"),
        ("Is the scratch larger than the stain?", "No"), ("Is it just a small scratch?", "No"),
        ("Is the stain larger than the scratch?", "Yes"),
        ("Does it look like anything is wrong?", "Yes"), ("Is there only a scratch?", "No"),
        ("Are there no more than two defects?", "Yes"),
    ],
)  # fmt: skip
def test_what_strangers_asked_in_vain_before(question: str, word: str):
    assert by_rule(question, TWO).split()[0].strip(",") == word


def test_a_sound_part_is_not_called_what_was_not_asked():
    for question in ("Does it look like anything is wrong?", "Is it a complete wreck?"):
        assert not by_rule(question, NORMAL).startswith("Yes"), question
    found = by_rule("Are you certain it is not defective?", TWO)
    assert not found.startswith(("Yes, I am", "No")), found


def test_good_pictures_that_were_seen_are_not_denied():
    said = "I have seen no good one: I judge this picture by itself."
    assert conflict(said, NORMAL) and not conflict(said, replace(NORMAL, num_good=0))


def test_a_kind_that_is_not_known_is_not_denied():
    unknown = replace(TWO, regions=tuple(replace(r, kind=None) for r in TWO.regions))
    decided = decide("Is there a dent?", unknown)
    assert decided and decided.whole.startswith("I do not know what kind")


def test_words_that_do_not_hold_are_replaced_by_the_whole_answer():
    whole = "No, it is not sound: there are two defects, <region 1> and <region 2>."
    kept = ground("No, it is not sound: there are two defects, <region 1> and <region 2>.", TWO,
                  whole=whole)  # fmt: skip
    assert kept.raw.startswith("No, it is not sound") and not kept.corrected
    for raw in ("No, it is sound.", "No, it is not sound: <region 1>.", ""):
        assert ground(raw, TWO, whole=whole).raw == whole


@pytest.fixture(scope="module")
def speaker():
    from anomalyst.inspection.config import EMBEDDED_LANGUAGE
    from anomalyst.vlm.generation import Speaker

    return Speaker.load(EMBEDDED_LANGUAGE)


def spoken(speaker, question: str, facts: Facts) -> str:
    """The whole way through the language model; what it says first is what was streamed."""
    shown = {
        "anomaly_map": torch.zeros(1, 1, 64, 64),
        "regions": region_figures(facts.regions, facts.size_hw, most=6)[None],
        "image_embedding": torch.zeros(1, 256),
        "patches": torch.zeros(1, 128, 4, 4),
    }
    heard: list[str] = []
    answer = speaker.answer(question, facts, shown, (), heard.append)
    assert " ".join(heard) == answer.text, (question, heard, answer)
    check(answer.text, facts)
    return answer.text


def test_the_language_model_is_held_to_it(speaker):
    score = scored("second", lambda question, facts: spoken(speaker, question, facts), every=15)
    assert score.answers >= 40 and score.form == score.answers and score.right == score.told, (
        score.wrong
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", LISTS)
def test_all_of_them_through_the_language_model(speaker, name: str):
    score = scored(name, lambda question, facts: spoken(speaker, question, facts))
    print(name, score)
    assert score.form >= 0.95 * score.answers, (str(score), score.wrong)
    assert score.right >= 0.95 * score.told, (str(score), score.wrong)
