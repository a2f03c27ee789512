"""Answers judged by people: sampled, checked, ranked, exported; and how far people agree."""

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import gradio as gr
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from sklearn.metrics import cohen_kappa_score

from anomalyst.errors import AnomalystError
from anomalyst.evaluation.agreement import cohen_kappa, fleiss_kappa
from anomalyst.inspection.config import EMBEDDED_LANGUAGE
from anomalyst.server.auth import make_key, revoke_key
from anomalyst.server.config import ServingConfig
from anomalyst.server.corrections import Corrections
from anomalyst.server.errors import NotFound, Unauthorized
from anomalyst.server.records.agreement import agreement_report
from anomalyst.server.storage.preferences import (
    LeftOut,
    export_for_training,
    preference_pairs,
    rankings,
    unpaired,
)
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import InspectionRow
from anomalyst.server.ui.context import Bench
from anomalyst.types import Dialogue, Region
from anomalyst.vlm.candidates import candidates
from anomalyst.vlm.contradictions import contradiction, raw_words
from anomalyst.vlm.facts import Facts
from anomalyst.vlm.preferences import read_rankings
from anomalyst.vlm.version import model_version
from anomalyst.vlm.wording import resolved, unresolved
from serving import DEFECT, FLANGE, GOOD, client_of, service_over, teach_flange

API = "/api/v1"
WHERE = "Is there a defect, and where?"


def region(x: int, place: str, kind: str | None = None) -> Region:
    return Region(
        box_xyxy=(x, 40, x + 20, 60), area_px=400, peak=0.9, centre_xy=(x + 10.0, 50.0),
        place=place, kind=kind,
    )  # fmt: skip


def facts_with(*regions: Region, **more) -> Facts:
    plain = {
        "verdict": "anomalous" if regions else "normal", "p_value": 0.01 if regions else 0.6,
        "confidence": 0.9, "regions": regions, "size_hw": (256, 256), "num_good": 4,
        "guaranteed": False, "product": "bolt",
    }  # fmt: skip
    return Facts(**(plain | more))


BAD = facts_with(region(10, "upper left", "deformation"), region(200, "upper right"), told="see A")


# The model's side


@pytest.fixture(scope="module")
def flange(inspector):
    product = inspector.teach("flange", sorted((FLANGE / "good").glob("*.jpg"))[:3])
    return {path: inspector.inspect(path, product) for path in (DEFECT, GOOD)}


@pytest.mark.parametrize("question", [WHERE, "What could have caused it?", "Is anything missing?"])
@pytest.mark.parametrize("picture", [DEFECT, GOOD])
def test_answers_to_one_question_differ_and_agree_with_the_facts(
    inspector, flange, picture, question
):
    from anomalyst.vlm.facts import facts_of

    dialogue = Dialogue(flange[picture])
    found = candidates([inspector.speaker], question, dialogue, count=3, key="a")
    texts = [one.answer.text for one in found]
    assert 2 <= len(set(texts)) == len(texts) <= 3 and dialogue.turns == []
    assert texts[0] == inspector.ask(question, Dialogue(flange[picture])).text
    facts = facts_of(flange[picture])
    for one in found[1:]:
        assert contradiction(one.answer.raw, question, facts) == ""
        assert one.answer.model == model_version(EMBEDDED_LANGUAGE)
    again = candidates([inspector.speaker], question, dialogue, count=3, key="a")
    assert [(a.answer.text, a.temperature) for a in again] == [
        (a.answer.text, a.temperature) for a in found
    ]


def test_two_models_answer_in_turn_and_odd_counts_are_refused(inspector, flange):
    from anomalyst.vlm.generation import Speaker

    speaker = inspector.speaker
    rival = Speaker(speaker.model, speaker.processor, "rival")
    rival.spoken = lambda *given, **more: replace(  # another model, that says it its own way
        Speaker.spoken(rival, *given, **more), text="Of course."
    )
    found = candidates([speaker, rival], WHERE, Dialogue(flange[GOOD]), count=2)
    assert [one.answer.model for one in found] == [speaker.version, "rival"]
    for count in (1, 5):
        with pytest.raises(AnomalystError, match="2 to 4 can be ranked"):
            candidates([speaker], WHERE, Dialogue(flange[GOOD]), count=count)
    stubborn = Speaker(speaker.model, speaker.processor)
    stubborn.spoken = lambda *_, **__: found[0].answer
    with pytest.raises(AnomalystError, match="only one way to say it"):
        candidates([stubborn], WHERE, Dialogue(flange[GOOD]))


def test_a_version_is_of_what_is_read_and_not_of_where_it_lies(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "model.safetensors").write_bytes(b"weights")
    first = model_version(tmp_path / "one")
    assert len(first) == 12 and first == model_version(tmp_path / "two")
    (tmp_path / "two" / "model.safetensors").write_bytes(b"weightS")
    assert first != model_version(tmp_path / "two")
    with pytest.raises(AnomalystError, match="no model folder"):
        model_version(tmp_path / "three")


# Words and facts


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["a dent at", "<region 1>", "<region 2>", "<product>", "<told>"])))
def test_what_people_read_becomes_raw_again(parts):
    raw = " ".join(parts)
    assert unresolved(resolved(raw, BAD), BAD) == raw


def test_a_box_that_is_no_regions_stays_and_marks_mean_nothing():
    assert raw_words("at (region 2), (box 1, 2, 3, 4)", BAD) == "at <region 2>, (box 1, 2, 3, 4)"
    assert "<" not in raw_words("<|assistant|> ### Human: x", BAD)


@pytest.mark.parametrize(
    ("question", "words", "said"),
    [
        (WHERE, "No.", "it says no and the verdict is anomalous"),
        (WHERE, "Yes, a dent at the upper left (box 10, 40, 30, 60).", ""),
        (WHERE, "Yes, a dent.", ""),
        (WHERE, "Yes, at (box 1, 2, 3, 4).", "it names box 1, 2, 3, 4, where nothing was found"),
        (WHERE, "Yes, three defects.", "it counts 3 where there are 2"),
        (WHERE, "Yes, at the lower left.", "it speaks of the lower left"),
        ("Is it sound?", "No, reject the bolt.", ""),
        ("Is it sound?", "Yes, a dent.", "it says yes and the facts say no"),
        ("Is it at the lower left?", "No.", ""),
        ("How large is it?", "It is huge, see <region 3>.", "it names a region that is not there"),
    ],
)
def test_what_goes_against_the_facts_is_named(question, words, said):
    assert contradiction(raw_words(words, BAD), question, BAD) == said


# The store's side


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with service_over(tmp_path_factory.mktemp("bench")) as found:
        teach_flange(found, 2)
        yield found


@pytest.fixture(scope="module")
def corrections(service):
    return Corrections(service)


@pytest.fixture
def inspected(service):
    """A picture with a defect, inspected and asked about."""
    [id] = service.acknowledge([service.take_file(DEFECT)], "flange", by="ann", source="test")
    service.wait(id)
    return id, service.ask(id, WHERE, by="ann")


def test_two_requests_at_once_make_one_set(service, corrections, inspected, monkeypatch):
    id, turn = inspected
    made = {"answers": [turn.answer, turn.answer | {"text": "At the rim."}]}
    monkeypatch.setattr(service, "run_task", lambda _: made)  # both have them at one moment
    known = service.store.candidates_of
    both = threading.Barrier(2)

    def slowly(*asked):
        found = known(*asked)
        with suppress(threading.BrokenBarrierError):  # alone: nobody else looks meanwhile
            both.wait(0.3)
        return found

    monkeypatch.setattr(service.store, "candidates_of", slowly)
    with ThreadPoolExecutor(2) as pool:
        sets = list(pool.map(lambda _: corrections.sample(id, WHERE, by="ann", count=2), "ab"))
    assert sets[0].id == sets[1].id and len(known(id, "ann")) == 1


def test_a_set_is_ranked_again_undone_and_exported(service, corrections, inspected):
    id, _ = inspected
    shown = corrections.sample(id, WHERE, by="ann", count=4)
    assert corrections.sample(id, WHERE, by="ann", count=4).id == shown.id
    assert shown.turns == [] and sorted(shown.order) == list(range(len(shown.answers)))
    count = len(shown.answers)
    first = corrections.rank(shown.id, [1, *[2] * (count - 1)], by="ann")
    kept = corrections.rank(shown.id, [2, *[1] * (count - 1)], by="ann")
    assert service.store.correction(first.id).undone_at and not kept.undone_at
    other = corrections.rank(shown.id, [1, *[count] * (count - 1)], by="bob")
    assert service.store.correction(kept.id).undone_at is None
    assert kept.detail["model"] and kept.detail["facts"]["verdict"] == "anomalous"
    ours = [one for one in rankings(service.store) if one.id == kept.id]
    assert ours[0].answers == tuple(a["raw"] for a in kept.detail["answers"])
    assert ours[0].ranks == (2, *[1] * (count - 1)) and ours[0].by == "ann"
    assert corrections.undo(kept.id, by="eve").undone_at
    assert [one.id for one in rankings(service.store) if one.inspection == id] == [other.id]


@pytest.mark.parametrize(
    ("ranks", "said"),
    [
        ([1], "1 ranks for 2 answers"),
        ([2, 2], "at least one must be 1"),
        ([1, 3], "2 the worst"),
        ([1, 1], "nothing is preferred"),
    ],
)
def test_ranks_that_say_nothing_are_refused(corrections, inspected, ranks, said):
    shown = corrections.sample(inspected[0], WHERE, by="ann", count=2)
    with pytest.raises(AnomalystError, match=said):
        corrections.rank(shown.id, ranks, by="ann")


def test_what_goes_against_the_facts_is_kept_with_a_warning_and_never_learnt(
    service, corrections, inspected
):
    id, turn = inspected
    said = corrections.reword(id, turn.id, "No, the flange is fine.", by="ann")
    assert "goes against what was found: it says no and the verdict is" in said.detail["warning"]
    assert "whatever is said of the verdict" in said.detail["warning"]
    assert said.detail["contradictions"][0] and not said.detail["contradictions"][1]
    left = LeftOut()
    assert not [p for p in preference_pairs(service.store, left=left) if p["inspection"] == id]
    assert left.contradictory >= 1 and "against the facts" in str(left)
    assert [one.best() for one in rankings(service.store) if one.id == said.id] == [None]
    fine = corrections.reword(id, turn.id, turn.answer["text"] + " Take it out.", by="ann")
    assert fine.detail["warning"] == ""
    [pair] = [p for p in preference_pairs(service.store) if p["inspection"] == id]
    assert pair["chosen"][0]["content"][0]["text"].endswith("Take it out.")
    assert pair["margin"] == 1 and pair["model"] == turn.answer["model"]
    with pytest.raises(AnomalystError, match="is the answer itself"):
        corrections.reword(id, turn.id, turn.answer["text"], by="ann")


def test_a_cut_answer_is_liked_with_a_warning_and_a_later_thumb_counts(
    service, corrections, inspected
):
    id, turn = inspected
    up = corrections.thumb(id, turn.id, True, by="ann")
    down = corrections.thumb(id, turn.id, False, by="ann")
    assert service.store.correction(up.id).undone_at and not up.detail["warning"]
    cut = turn.answer | {"raw": "No, it is sound.", "corrected": True}
    later = service.store.add_turn(id, WHERE, cut, "ann")
    liked = corrections.thumb(id, later.id, True, by="ann")
    assert "it says no and the verdict is anomalous" in liked.detail["warning"]
    left = LeftOut()
    mine = [one for one in unpaired(service.store, left=left) if one["inspection"] == id]
    assert [one["label"] for one in mine] == [False] and left.contradictory >= 1
    assert corrections.undo(down.id, by="eve").undone_at


def test_what_is_gone_is_told_and_passed_over(service, corrections, inspected):
    id, turn = inspected
    corrections.thumb(id, turn.id, True, by="ann")
    picture = service.pictures.path(service.store.inspection(id).picture)
    away = picture.rename(picture.with_suffix(".away"))
    try:
        for judge in (
            lambda: corrections.thumb(id, turn.id, False, by="ann"),
            lambda: corrections.sample(id, WHERE, by="ann"),
        ):
            with pytest.raises(NotFound, match="picture of inspection .* is no longer kept"):
                judge()
        left = LeftOut()
        assert not [one for one in rankings(service.store, left=left) if one.inspection == id]
        assert left.deleted >= 1
    finally:
        away.rename(picture)
    with pytest.raises(NotFound, match="no set of answers 'none'"):
        corrections.rank("none", [1, 2], by="ann")


def test_training_gets_what_the_model_was_shown_with_the_corrections(
    service, corrections, inspected, tmp_path
):
    id, turn = inspected
    corrections.thumb(id, turn.id, True, by="ann")
    wrong = corrections.judge(id, False, by="ann")
    path = export_for_training(service.store, tmp_path / "out")
    times = {one: one.stat().st_mtime_ns for one in (tmp_path / "out" / "shown").iterdir()}
    assert export_for_training(service.store, tmp_path / "out") == path
    assert times == {one: one.stat().st_mtime_ns for one in (tmp_path / "out" / "shown").iterdir()}
    mine = {one.id: one for one in read_rankings(path) if one.inspection == id}
    thumb = next(one for one in mine.values() if one.kind == "thumb")
    shown = load_file(path.parent / thumb.shown)
    assert {"anomaly_map", "regions", "image_embedding", "patches"} <= shown.keys()
    assert shown["anomaly_map"].max() > 0.5
    verdict = mine[wrong.id]
    assert verdict.answers[0] == "No, there is no defect." and verdict.facts.verdict == "normal"
    assert verdict.answers[1].startswith("Yes") and [p.margin for p in verdict.pairs()] == [1]
    corrected = load_file(path.parent / verdict.shown)
    assert corrected["anomaly_map"].max() == 0 and corrected["regions"].abs().max() == 0
    assert corrected["regions"].shape == shown["regions"].shape


def test_a_better_answer_of_before_is_exported_as_its_texts_say(service, inspected):
    from anomalyst.server.storage.tables import CorrectionRow

    id, turn = inspected
    old = {"question": WHERE, "rejected": turn.answer["text"], "chosen": "Yes, at the rim."}
    row = CorrectionRow(inspection=id, product="flange", kind="answer", detail=old, by="me")
    service.store.add_correction(row, None)
    [one] = [one for one in rankings(service.store) if one.id == row.id]
    assert one.answers == ("Yes, at the rim.", turn.answer["raw"]) and one.ranks == (1, 2)


def test_a_false_alarm_becomes_a_pair_that_people_can_read(service, corrections, inspected):
    """The rejected answer names places by the facts as they were found."""
    id, _ = inspected
    said = corrections.judge(id, False, by="zoe")
    try:
        [pair] = [one for one in preference_pairs(service.store) if one["by"] == "zoe"]
        chosen, rejected = (pair[k][0]["content"][0]["text"] for k in ("chosen", "rejected"))
        assert chosen.startswith("No, there is no defect") and "(box " in rejected
        assert "<region" not in rejected
        with service.store.session() as session:
            session.get(InspectionRow, id).verdict = "unsure"  # then it says neither
        assert not [one for one in preference_pairs(service.store) if one["by"] == "zoe"]
    finally:
        with service.store.session() as session:
            session.get(InspectionRow, id).verdict = "anomalous"
        corrections.undo(said.id, by="zoe")


def test_trl_reads_the_pairs_and_the_thumbs(service, corrections, inspected):
    datasets = pytest.importorskip("datasets")
    data_utils = pytest.importorskip("trl.data_utils")
    id, turn = inspected
    corrections.reword(id, turn.id, turn.answer["text"] + " Take it out.", by="ann")
    corrections.thumb(id, turn.id, True, by="ann")
    pairs = datasets.Dataset.from_list(list(preference_pairs(service.store)))
    assert data_utils.is_conversational(pairs[0])
    assert set(data_utils.unpair_preference_dataset(pairs)["label"]) == {True, False}
    assert datasets.Dataset.from_list(list(unpaired(service.store)))["label"]


# REST and pages


def test_answers_are_ranked_over_rest(service, inspected):
    id, turn = inspected
    with client_of(service) as client:
        path = f"{API}/inspections/{id}"
        shown = client.post(f"{path}/candidates", json={"question": WHERE, "count": 2})
        assert shown.status_code == 201 and len(shown.json()["answers"]) == 2
        where = f"{API}/candidates/{shown.json()['id']}/ranking"
        kept = client.post(where, json={"ranks": [2, 1]})
        assert kept.status_code == 201 and kept.json()["kind"] == "ranking"
        same = client.post(where, json={"ranks": [1, 1]})
        assert same.status_code == 422 and "nothing is preferred" in same.json()["detail"]
        assert client.post(f"{API}/candidates/x/ranking", json={"ranks": [1, 2]}).status_code == 404
        up = client.post(f"{path}/feedback", json={"kind": "up", "turn": turn.id})
        assert up.status_code == 201 and up.json()["detail"]["warning"] == ""
        without = client.post(f"{path}/feedback", json={"kind": "down"})
        assert without.status_code == 422 and "needs `turn`" in without.json()["detail"]
        line = client.get(f"{API}/feedback/preferences").text.splitlines()[-1]
        assert {"prompt", "chosen", "rejected", "images", "margin"} <= json.loads(line).keys()


def test_a_revoked_key_ranks_nothing(tmp_path):
    with service_over(tmp_path, keys=True) as service:
        key = make_key(service.store, "ann", "operator")
        bench = Bench(service, Corrections(service), None, None)
        at_the_page = gr.Request(username="ann")
        assert bench.who(at_the_page).name == "ann"
        revoke_key(service.store, "ann")
        with client_of(service) as client:
            said = client.post(
                f"{API}/candidates/x/ranking", json={"ranks": [1, 2]}, headers={"X-API-Key": key}
            )
            assert said.status_code == 401
        with pytest.raises(Unauthorized, match="sign in again"):
            bench.who(at_the_page)


def test_a_rival_that_is_no_model_is_refused_at_once(tmp_path):
    with pytest.raises(AnomalystError, match="--rival .*: holds no config.json"):
        ServingConfig(home=tmp_path, rival=tmp_path)


# Agreement


def test_cohens_kappa_is_that_of_a_reference():
    rng = np.random.default_rng(0)
    for labels in (2, 3, 5):
        first = rng.integers(0, labels, 60)
        second = np.where(rng.random(60) < 0.6, first, rng.integers(0, labels, 60))
        ours = cohen_kappa(first.tolist(), second.tolist())
        assert ours == pytest.approx(cohen_kappa_score(first, second))
    assert cohen_kappa(["up"] * 3, ["up"] * 3) is None
    assert cohen_kappa([1, 2], [2, 1]) == -1


def test_fleiss_kappa_is_that_of_the_worked_example():
    """Fourteen people, ten things, five labels: 0.210 (the example most textbooks take)."""
    counts = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    assert fleiss_kappa(np.array(counts)) == pytest.approx(0.2099, abs=5e-5)
    assert fleiss_kappa(np.array([[3, 0], [0, 3]])) == 1
    assert fleiss_kappa(np.array([[3, 0]])) is None


def test_people_who_disagree_are_told_apart(service, corrections, tmp_path):
    alone = Store.open(ServingConfig(home=tmp_path))
    assert agreement_report(alone).startswith("Nobody judged the same as another yet")
    alone.engine.dispose()
    sent = [service.take_file(path) for path in (DEFECT, GOOD, DEFECT)]
    ids = service.acknowledge(sent, "flange", by="ann", source="test")
    for id, votes in zip(ids, ("ttt", "ttf", "ttf"), strict=True):
        service.wait(id)
        for person, vote in zip(("kim", "lee", "max"), votes, strict=True):
            corrections.judge(id, vote == "t", by=person)
    shown = corrections.sample(ids[0], WHERE, by="kim", count=2)
    corrections.rank(shown.id, [1, 2], by="kim")
    corrections.rank(shown.id, [2, 1], by="lee")
    told = agreement_report(service.store, "flange")
    assert "  kim and lee: Cohen's kappa 1.00 (n = 3 of 3 inspections, too few to tell" in told
    assert "  3 people each: Fleiss' kappa " in told and "kim and max" in told
    assert "  kim and lee: Cohen's kappa 0.00 (n = 1" in told
    worst = told.split("They disagree most about:\n")[1].splitlines()
    assert "answers compared, flange" in worst[0] and len(worst) == 3


def test_the_forms_are_written_from_the_command_line(tmp_path, refused, capsys):
    from anomalyst.cli.main import main

    home, target = ("--home", str(tmp_path / "home")), tmp_path / "r.jsonl"
    with pytest.MonkeyPatch.context() as patch:
        for words, said in (
            (("preferences", str(target), "--form", "rankings"), "r.jsonl: 0 rankings.\n"),
            (("preferences", str(target), "--form", "unpaired"), "r.jsonl: 0 thumbs.\n"),
            (("agreement",), "Nobody judged the same as another yet (0 judged by one person)"),
        ):
            patch.setattr(sys, "argv", ["anomalyst", "store", *words, *home])
            with pytest.raises(SystemExit) as stop:
                main()
            assert not stop.value.code and said in capsys.readouterr().out
    assert "none of pairs, rankings, unpaired" in refused(
        "store", "preferences", target, "--form", "pears", *home
    )
