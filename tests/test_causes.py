"""What may have caused it: general knowledge with sources, never seen in the picture."""

from dataclasses import replace

import pytest
import torch

from anomalyst.detection.classifiers.defect_types import KINDS
from anomalyst.types import Answer, Region, Turn
from anomalyst.vlm.facts import Facts
from anomalyst.vlm.prompt_learner import region_figures
from anomalyst.vlm.questions.causes import GENERAL, about_causes, table
from test_grounding import check, facts_with, region
from yes_no import INSPECTIONS

ASKED = [
    "What may have caused the defect?", "How could this have happened?", "what caused it",
    "Where does the damage come from?", "What might have led to these defects?", "Root cause?",
    "What is the likely cause?", "What's behind this damage?", "Why is there a defect?",
    "Any idea what could cause this?", "How did it get damaged?",
]  # fmt: skip
NOT_CAUSES = [
    "Why?", "Why do you think so?", "Why was it rejected?", "Why do you believe it is damaged?",
    "Who is to blame for this?", "Who caused it?", "Could the crack cause a failure?",
    "What makes you think so?", "What is the reason for the verdict?", "What happened?",
    "Why do you show this map?", "Why are there two boxes?", "Is it due to be shipped?",
    "What is the reason for the low score?",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("question", ASKED)
def test_every_kind_has_causes_with_sources(question: str, kind: str):
    facts = facts_with(region("centre", kind))
    answer = about_causes(question, facts)
    assert answer and answer.text.endswith(GENERAL) and answer.sources
    assert answer.regions == facts.regions and "often comes from" in answer.text
    check(answer.text, facts)


def test_a_missing_and_an_extra_part_have_causes_of_their_own():
    for part, word in (("missing", "forgotten"), ("extra", "mistake")):
        one = replace(region("centre", "hole or break"), part=part)
        answer = about_causes("What caused it?", facts_with(one))
        assert answer and word in answer.text and "casting" not in answer.text


def test_every_cause_is_cited_and_every_source_is_used():
    causes = [c for cs in (*table().kinds.values(), *table().parts.values()) for c in cs]
    cited = {key for cause in causes for _, keys in cause.because for key in keys}
    assert set(table().kinds) == set(KINDS) and set(table().parts) == {"missing", "extra"}
    assert all(keys for cause in causes for _, keys in cause.because)
    assert cited == set(table().sources)


@pytest.mark.parametrize("question", NOT_CAUSES)
def test_other_questions_are_left_to_the_model(question: str):
    assert about_causes(question, INSPECTIONS["two"]) is None


def test_the_words_of_the_question_choose_among_causes_of_a_kind():
    crack, scratch = (
        about_causes(f"Why is there a {word}?", INSPECTIONS["two"]) for word in ("crack", "scratch")
    )
    assert crack and "fatigue" in crack.text and "abrasion" not in crack.text
    assert scratch and "abrasion" in scratch.text and "fatigue" not in scratch.text
    second = about_causes("What caused the second one?", INSPECTIONS["two"])
    assert second and second.regions == INSPECTIONS["two"].regions[1:]


def test_what_was_not_found_is_not_explained():
    sound = about_causes("Why is there a crack?", INSPECTIONS["normal"])
    assert sound and sound.text == "There is nothing to explain: there is no defect."
    assert not sound.sources
    other = about_causes("Why is there a dent?", INSPECTIONS["two"])
    assert other and other.text.startswith("I see no deformation.")
    third = about_causes("What caused the third one?", INSPECTIONS["two"])
    assert third and third.text.startswith("There is no third one.")
    unsure = about_causes("What caused it?", INSPECTIONS["unsure"])
    assert unsure and unsure.text.startswith("If this is a defect, it is a medium deformation")


def test_without_a_kind_no_cause_is_named():
    unknown = facts_with(region("centre", None))
    answer = about_causes("What caused it?", unknown)
    assert answer and "No kind of defect is known" in answer.text and not answer.sources
    called = about_causes("Why is there a crack?", unknown)
    assert called and "If it is what you call it: a crack" in called.text


def test_whether_it_was_heat_no_picture_tells():
    answer = about_causes("Was it caused by heat?", INSPECTIONS["unsure"])
    assert answer and answer.text.startswith("I cannot tell that from the picture.")


def test_sources_survive_a_record_and_old_records_have_none():
    answer = about_causes("What caused it?", INSPECTIONS["two"])
    assert answer and Answer.from_dict(answer.as_dict()) == replace(
        answer, seconds=round(answer.seconds, 4)
    )
    old = answer.as_dict()
    del old["sources"]
    assert Answer.from_dict(old).sources == ()


def shown(facts: Facts) -> dict[str, torch.Tensor]:
    return {
        "anomaly_map": torch.zeros(1, 1, 64, 64),
        "regions": region_figures(facts.regions, facts.size_hw, most=6)[None],
        "image_embedding": torch.zeros(1, 256),
        "patches": torch.zeros(1, 128, 4, 4),
    }


def test_the_dialogue_of_the_reports_works_as_three_turns():
    """Condition, visible defects, what might have caused them; then one more about one of them."""
    from anomalyst.inspection.config import EMBEDDED_LANGUAGE
    from anomalyst.vlm.generation import Speaker

    speaker, facts, turns = Speaker.load(EMBEDDED_LANGUAGE), INSPECTIONS["two"], []

    def ask(question: str) -> Answer:
        answer = speaker.answer(question, facts, shown(facts), turns)
        turns.append(Turn(question, answer))
        check(answer.text, facts)
        return answer

    assert "not sound" in ask("What is the condition of this part?").text
    assert "two defects" in ask("Are there any visible defects?").text
    causes = ask("What might have caused them?")
    assert "fatigue" in causes.text and causes.sources and causes.text.endswith(GENERAL)
    where = ask("And where is the second one?")
    assert "lower right" in where.text and "upper left" not in where.text
    again = ask("What could it come from?")
    assert isinstance(again.regions[0], Region) and again.regions == facts.regions[1:]
