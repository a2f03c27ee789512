"""Styles that are all true and can be spoken, and inspectors whose taste is known."""

from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

import anomalyst
from anomalyst.errors import AnomalystError
from anomalyst.training.alignment.verifiable import verify
from anomalyst.training.data.dialogues.answers import Intent
from anomalyst.training.data.preferences.simulated import SimulatedConfig, prompts, simulate
from anomalyst.training.data.preferences.styles import STYLES, Style, write
from anomalyst.training.data.preferences.tastes import TASTES, liking, ranks, reworded
from anomalyst.vlm.facts import Facts
from anomalyst.vlm.generation import GroundedLogits
from anomalyst.vlm.grounding import ground, holds, sentences
from anomalyst.vlm.preferences import read_rankings, write_rankings
from anomalyst.vlm.questions.yes_no import decide
from anomalyst.vlm.referring import QuestionScope, question_scope
from test_grounding import NONE, TWO
from test_verifiable import SEEN, drawn

LANGUAGE = Path(anomalyst.__file__).parent / "weights" / "language"
WHERE, PRESENCE = Intent(name="where"), Intent(name="presence")


@cache
def shipped_tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(LANGUAGE)


def refused(raw: str, facts: Facts, scope: QuestionScope) -> Iterator[str]:
    """The beginnings of an answer, token by token, after which decoding would not go on so."""
    tokenizer = shipped_tokenizer()
    logits = GroundedLogits(tokenizer, facts, scope)
    ids = [*tokenizer(raw, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    texts = [tokenizer.decode(ids[:n], skip_special_tokens=True) for n in range(len(ids) + 1)]
    for n in range(len(logits.first), len(ids)):
        if not logits._fits(ids[n], texts[n + 1], texts[n]):
            yield texts[n + 1]


@pytest.mark.parametrize("style", STYLES)
def test_every_style_is_true_and_says_all_that_was_asked(style: Style) -> None:
    rng = np.random.default_rng(0)
    for facts, look, one in drawn(150, seed=2):
        raw = write(style, one.intent, facts, look, rng)
        verified = verify(raw, one.intent, facts, look=look)
        assert verified.score == 1.0, (raw, one, facts, verified)
        assert not ground(raw, facts).corrected
        assert all(holds(sentence, facts) for sentence in sentences(raw))


@pytest.mark.parametrize("style", STYLES)
def test_every_style_can_be_spoken_under_constraint(style: Style) -> None:
    rng = np.random.default_rng(0)
    held = 0
    for facts, look, one in drawn(25, seed=3):
        raw = write(style, one.intent, facts, look, rng)
        assert not list(refused(raw, facts, QuestionScope())), (raw, facts)
        decided = decide(one.question, facts)
        scope = question_scope(one.question, facts, ()) if decided is None else QuestionScope(
            regions=decided.regions, begins=decided.begins, whole=decided.whole
        )  # fmt: skip
        if scope.begins and raw.startswith(scope.begins):  # what the answering path holds it to
            assert not list(refused(raw, facts, scope)), (raw, facts, scope)
            assert holds(sentences(raw)[0], facts, whole=scope.whole), (raw, scope)
            held += 1
    assert held >= 5


def test_each_taste_likes_its_own_style_best() -> None:
    rng = np.random.default_rng(0)
    best: dict[str, Counter[Style]] = {taste: Counter() for taste in TASTES}
    for facts, look, one in drawn(60, seed=4):
        if one.intent.name not in ("presence", "sound", "where", "kind", "count", "size"):
            continue
        said = {style: write(style, one.intent, facts, look, rng) for style in STYLES}
        for taste in TASTES:
            liked = {s: liking(taste, raw, one.intent, facts) for s, raw in said.items()}
            assert liked[taste] == max(liked.values()), (taste, said, liked)
            best[taste][max(liked, key=lambda s: liked[s])] += 1
    assert all(count[taste] > 20 for taste, count in best.items())


def test_no_taste_likes_a_wrong_answer_better_than_a_right_one() -> None:
    short = "At the upper left <region 1> and the lower right <region 2>."
    long = (
        "They are a small discolouration at the upper left <region 1> and a large deformation at "
        "the lower right <region 2>. Please look at it."
    )
    half = "At the upper left <region 1>."
    wrong = "At the lower left <region 1>."
    by_taste = {
        t: [liking(t, raw, WHERE, TWO) for raw in (short, long, half, wrong)] for t in TASTES
    }
    for liked in by_taste.values():
        assert min(liked[:2]) > liked[2] > liked[3]
    assert by_taste["short"][0] > by_taste["short"][1]
    assert by_taste["precise"][0] < by_taste["precise"][1]
    assert by_taste["cautious"][0] < by_taste["cautious"][1]


def test_liking_worked_by_hand() -> None:
    assert liking("short", "No, none.", PRESENCE, NONE) == 3 + 10 / 12
    raw = "Yes, there are two defects: <region 1> and <region 2>."  # two tags and their count
    assert liking("precise", raw, PRESENCE, TWO) == 3 + 3 / 8
    hedged = f"{raw} I am fairly sure. Please look at it."
    assert liking("cautious", hedged, PRESENCE, TWO) == 3 + 2 / 4
    with pytest.raises(AnomalystError, match="'shrt' is not known; the nearest is 'short'"):
        liking("shrt", raw, PRESENCE, TWO)
    with pytest.raises(AnomalystError, match="'plain' is not known"):
        SimulatedConfig(tastes=("plain",))


def test_equal_liking_is_a_tie_and_the_ranks_are_dense() -> None:
    rng = np.random.default_rng(0)
    answers = ("No, there is no defect.", "No, none.", "No, I see no defect.", "Yes.")
    # 5, 2 and 5 words; the last is wrong
    assert ranks("short", answers, PRESENCE, NONE, rng, noise=0.0) == (2, 1, 2, 3)
    assert ranks("short", answers, PRESENCE, NONE, rng, noise=1.0) == (2, 3, 2, 1)


@pytest.mark.parametrize("noise", [0.1, 0.3])
def test_the_noise_is_the_share_of_wrong_comparisons(noise: float) -> None:
    rng = np.random.default_rng(0)
    answers = ("No, none.", "No, there is no defect.")
    flipped = [ranks("short", answers, PRESENCE, NONE, rng, noise=noise) for _ in range(600)]
    share = np.mean([one == (2, 1) for one in flipped])
    assert abs(share - noise) < 4 * np.sqrt(noise * (1 - noise) / 600)


def test_simulated_rankings_are_kept_and_read_again(tmp_path: Path) -> None:
    config = SimulatedConfig(count=60, imagined=1.0, rewordings=1.0)
    made = simulate(SEEN, tmp_path, config)
    write_rankings(tmp_path / "rankings.jsonl", made)
    read = read_rankings(tmp_path / "rankings.jsonl")
    assert [one.as_dict() for one in read] == [one.as_dict() for one in made]
    assert {one.by for one in made} == {f"simulated {taste}" for taste in TASTES}
    assert {one.kind for one in made} == {"ranking", "answer"}
    asked = {one.id: one for one in prompts(SEEN, config)}
    for one in made:
        prompt = asked[one.inspection]
        assert (one.question, one.facts) == (prompt.question, prompt.facts)
        kept = load_file(tmp_path / one.shown)
        assert {n: t.shape for n, t in kept.items()} == {
            n: t.shape for n, t in prompt.shown.items()
        }
        assert torch.allclose(kept["anomaly_map"].float(), prompt.shown["anomaly_map"], atol=1e-3)
        if one.kind == "answer":
            taste = one.by.removeprefix("simulated ")
            liked = [liking(taste, raw, prompt.intent, prompt.facts) for raw in one.answers]
            assert one.ranks == (1, 2) and liked[0] > liked[1]
            assert one.best() == one.answers[0]
    assert any(one.contradictions for one in made), "some answers are spoiled"
    again = simulate(SEEN, tmp_path, config)
    made, again = ([(o.id, o.answers, o.ranks, o.shown) for o in some] for some in (made, again))
    assert made == again


def test_a_sampler_of_ones_own_is_ranked(tmp_path: Path) -> None:
    config = SimulatedConfig(count=20, imagined=1.0, noise=0.0, tastes=("short",), rewordings=0.0)

    def say(*asked: object) -> list[str]:
        _, facts, _, intent, look, rng = asked
        better = reworded("short", intent, facts, look, rng)  # type: ignore[arg-type]
        return [f"{better} {better}", better, better]

    made = simulate(SEEN, tmp_path, config, say)
    assert len(made) == 20 and all(one.ranks == (2, 1) for one in made)


@pytest.mark.parametrize("values", [{"count": 0}, {"noise": 1.5}, {"tastes": ()}])
def test_a_simulation_of_nothing_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="is needed|from 0 to 1"):
        SimulatedConfig(**values)  # type: ignore[arg-type]
