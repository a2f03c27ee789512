"""Base model and SFT on 1, 4 and 6 sets: what is read, what is judged, the page."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from anomalyst.cli.main import app
from anomalyst.errors import AnomalystError
from anomalyst.training.alignment.verifiable import verify
from anomalyst.training.studies.sft.page import write_sft_page
from anomalyst.training.studies.sft.study import (
    BASE,
    TUNINGS,
    SFTStudy,
    judged_answer,
    new_model,
    study_sft,
)
from anomalyst.training.studies.sft.texts import (
    SETS,
    TURN,
    answer_sample,
    held_out_prompts,
    running_text,
    text_sample,
)
from anomalyst.training.tasks.language import LanguageModelConfig

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = LanguageModelConfig(width=32, layers=2, heads=2, kv_heads=1, hidden=64)


@pytest.fixture(scope="module")
def processor():
    return new_model(SMALL)[1]


def test_running_text_goes_on_and_never_ends(processor):
    texts = [running_text(np.random.default_rng(seed)) for seed in range(40)]
    talks = [text for text in texts if TURN in text]
    assert 10 < len(talks) < 30  # about half are sentences alone
    assert all(text.endswith(TURN) and text.count("\nAnswer: ") == 4 for text in talks)
    assert not any(processor.tokenizer.eos_token in text for text in texts)


def test_base_learns_every_token_and_sft_the_answer_alone(processor):
    text = text_sample(processor, np.random.default_rng(0))
    assert torch.equal(text["input_ids"], text["labels"])
    for seed in range(5):
        tuned = answer_sample(processor, np.random.default_rng(seed), SETS["how many"])
        learnt = tuned["labels"] >= 0
        answer = processor.tokenizer.decode(tuned["input_ids"][learnt])
        before = processor.tokenizer.decode(tuned["input_ids"][~learnt])
        assert before.startswith("verdict: ")
        assert before.endswith("Answer:")
        assert answer.endswith(f".{processor.tokenizer.eos_token}\n")


def test_sets_share_no_kind_of_question_and_ask_only_their_own():
    names = [name for intents in SETS.values() for name in intents]
    assert len(names) == len(set(names))
    for name, intents in SETS.items():
        prompts = held_out_prompts(name, 5, 0)
        assert {one.intent.name for one in prompts} <= set(intents)
        again = held_out_prompts(name, 5, 0)
        assert [one.question for one in again] == [one.question for one in prompts]


def test_an_answer_is_judged_before_the_turn_it_begins_by_itself():
    prompt = next(one for one in held_out_prompts("yes or no", 30, 0)
                  if one.facts.verdict == "normal" and one.intent.name == "presence")  # fmt: skip
    right = "No, there is no defect."
    assert verify(right, prompt.intent, prompt.facts).right == 1
    rambling = judged_answer("yes or no", prompt, f"{right}\n{TURN} Where is it?", ended=False)
    assert (rambling.right, rambling.another_turn, rambling.ended) == (True, True, False)
    assert not judged_answer("yes or no", prompt, "There is a defect.", ended=True).right


@pytest.mark.slow
def test_four_models_answer_the_same_prompts_on_one_page(tmp_path):
    study = SFTStudy(base_steps=4, sft_steps=4, questions=2, batch=2, model=SMALL)
    answers = study_sft(study, tmp_path)
    assert list(answers) == [BASE, *TUNINGS]
    asked = [[one.question for one in said] for said in answers.values()]
    assert all(questions == asked[0] for questions in asked)
    assert len(asked[0]) == 2 * len(SETS)
    # A stopped study goes on: what is written is not made again.
    held = json.loads((tmp_path / "answers.json").read_text())
    held.pop("SFT on 6 sets")
    (tmp_path / "answers.json").write_text(json.dumps(held))
    assert study_sft(study, tmp_path) == answers
    text = write_sft_page(tmp_path, study, answers)
    assert all(name in text for name in (*TUNINGS, *SETS))
    assert (tmp_path / "sft.html").is_file()
    with pytest.raises(AnomalystError, match="choose another folder"):
        study_sft(SFTStudy(base_steps=5), tmp_path)


@pytest.mark.slow
def test_the_command_runs(tmp_path):
    found = CliRunner().invoke(app, ["study", "sft", "--tiny", "--out", str(tmp_path)])
    assert found.exit_code == 0, found.output
    assert "Base model, and SFT on 1, 4 and 6 data sets" in found.output
