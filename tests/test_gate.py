"""A new language model goes live only if it is no worse on the gate; one step leads back."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from anomalyst.errors import AnomalystError
from anomalyst.evaluation.gate import judging
from anomalyst.evaluation.gate.claims import as_expected, by_facts, said_of
from anomalyst.evaluation.gate.figures import ROWS, GateFigures, RowFigures, compare
from anomalyst.evaluation.gate.items import GateItem, read_gate
from anomalyst.evaluation.gate.judging import judge_model, judged
from anomalyst.io.files import write_text
from anomalyst.server.config import ServingConfig
from anomalyst.server.errors import Conflict
from anomalyst.server.jobs.tasks import Ask, Inspect, Teach
from anomalyst.server.jobs.worker import Model
from anomalyst.server.language import proposing, versions
from anomalyst.server.language.proposing import propose
from anomalyst.server.language.recorded import recorded_items
from anomalyst.training.alignment.gate_dialogues import ASKED, GateConfig, draw_gate
from anomalyst.training.data.dialogues.writer import write_dialogue
from anomalyst.vlm.generation import Speaker
from anomalyst.vlm.version import EMBEDDED_LANGUAGE, model_version
from serving import DEFECT, FLANGE, client_of, service_over, teach_flange
from test_grounding import ONE, TWO, random_facts

SHIPPED = model_version(EMBEDDED_LANGUAGE)
SMALL = GateConfig(scenes=6, turns=2, looks=3)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def gate(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("home") / "gate"
    draw_gate(folder, SMALL)
    return folder


@pytest.fixture
def config(gate, tmp_path) -> ServingConfig:
    """A workbench's home with a frozen gate."""
    home = tmp_path / "home"
    shutil.copytree(gate, home / "gate")
    return ServingConfig(home=home, products=home / "products")


def other_model(folder: Path, noise: float) -> Path:
    """The shipped model with noise on every weight, as a share of its spread; 0: as it is."""
    shutil.copytree(EMBEDDED_LANGUAGE, folder)
    if noise:
        speaker = Speaker.load(folder)
        torch.manual_seed(0)
        with torch.no_grad():
            for weight in speaker.model.parameters():
                weight.add_(noise * weight.std() * torch.randn_like(weight))
        speaker.model.save_pretrained(folder)
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(told | {"trained_by": "test"}))
    return folder


def test_what_the_grammar_says_is_claimed_and_true():
    rng = np.random.default_rng(5)
    asked = dict.fromkeys(ROWS, 0)
    for _ in range(400):
        facts = random_facts(rng)
        for one in write_dialogue(facts, "a single part", rng, turns=3):
            said = said_of(one.answer)
            assert all(by_facts(row, said, facts) is not False for row in ROWS), one
            if row := ASKED.get(one.intent.name):
                assert as_expected(row, said, said), one
                asked[row] += 1
                nothing = said_of("The picture cannot tell that.")
                assert not as_expected(row, nothing, said), one
    assert min(asked.values()) > 40


@pytest.mark.parametrize(
    ("raw", "presence", "counts", "places", "kinds"),
    [
        ("Yes, it is sound: there is no defect.", False, {0}, set(), set()),
        ("No, it is not sound: there are 2 defects.", True, {2}, set(), set()),
        ("Yes: <region 1>.", True, set(), set(), set()),
        ("I see it at the top left <region 1>.", None, set(), {(1, "upper left")}, set()),
        ("It is a scratch or crack <region 2>.", None, set(), set(), {(2, "scratch or crack")}),
        ("I see no deformation and no other defect.", False, set(), set(), set()),
        ("Nothing stands out at the left; I see one defect.", True, {1}, set(), set()),
        ("Yes, there is a defect. It is sound.", None, set(), set(), set()),
    ],
)
def test_claims_are_read(raw, presence, counts, places, kinds):
    said = said_of(raw)
    assert (said.presence, said.counts) == (presence, counts)
    assert (said.places, said.kinds) == (places, kinds)


@pytest.mark.parametrize(
    ("raw", "facts", "row"),
    [
        ("It is sound.", ONE, "presence"),
        ("There are two defects.", ONE, "count"),
        ("It is at the lower left <region 1>.", ONE, "place"),
        ("It is at the upper left <region 2>.", TWO, "place"),
        ("Nothing stands out at the upper left.", ONE, "place"),
        ("It is a deformation <region 1>.", TWO, "kind"),
        ("I see no discolouration.", ONE, "kind"),
    ],
)
def test_a_false_claim_is_wrong_in_its_row_alone(raw, facts, row):
    item = GateItem(question="Tell me.", facts=facts, shown=Path())
    found = judged(item, raw)
    assert found.pop(row) is False
    assert all(found.values())
    assert judged(item, "I am fairly sure.") == {}


def test_only_what_was_asked_is_compared():
    asked = said_of("Yes, there is one defect: a small deformation at the centre <region 1>.")
    assert as_expected("presence", said_of("Yes: <region 1>."), asked)
    assert not as_expected("place", said_of("Yes: <region 1>."), asked)
    assert not as_expected("place", said_of("It is at the centre <region 2>."), asked)
    none = said_of("Nothing is wrong: there is no defect.")
    assert as_expected("kind", said_of("There is no defect."), none)


def figures(wrong: dict[str, int], contradictions: int = 0, shown: int = 0) -> GateFigures:
    rows = {row: RowFigures(right=50 - wrong.get(row, 0), wrong=wrong.get(row, 0)) for row in ROWS}
    return GateFigures(
        items=200, rows=rows, contradictions=contradictions, unfinished=0, words=9.0,
        seconds=1.0, shown_contradictions=shown, corrected=0,
    )  # fmt: skip


def test_no_worse_means_no_worse_anywhere():
    live = figures({"place": 3, "kind": 5}, contradictions=4)
    assert compare(live, live).passes
    assert compare(live, figures({"place": 3}, contradictions=4)).passes
    refused = compare(live, figures({"place": 4}, contradictions=5, shown=1))
    assert not refused.passes
    assert [reason.split(":")[0] for reason in refused.reasons] == [
        "place", "contradictions", "contradictions",
    ]  # fmt: skip
    assert "place: 4 of 50 wrong, the live model has 3 of 50." in refused.reasons
    silent = compare(live, replace(live, unfinished=1))  # an endless answer contradicts nothing
    assert silent.reasons == ("unfinished: 1 of 200 answers have no end, the live model has 0.",)
    mute = compare(live, replace(live, silent=2))
    assert mute.reasons == (
        "silent: 2 answers to recorded questions claim nothing, the live model has 0 such.",
    )
    assert GateFigures.from_dict(json.loads(json.dumps(live.as_dict()))) == live


def test_an_answer_that_claims_nothing_is_counted_where_the_record_asks(tmp_path, monkeypatch):
    shown = tmp_path / "shown"
    dialogue = GateItem(question="?", facts=ONE, shown=shown, asked="count", expected="I see one.")
    recorded = GateItem(question="?", facts=ONE, shown=shown)
    said = ["Blue and so on.", "Blue and so on.", "", "There is one defect."]
    monkeypatch.setattr(judging, "raw_answers", lambda *_: said)
    found = judge_model(None, [dialogue, recorded, recorded, recorded])
    assert (found.silent, found.unfinished) == (1, 1)
    assert found.rows["count"] == RowFigures(right=1, wrong=1)


def test_a_frozen_gate_is_drawn_alike_and_not_changed(tmp_path):
    # both on one thread: two sum in another order, and what is shown differs in the last digits
    assert draw_gate(tmp_path / "again", SMALL) == draw_gate(tmp_path / "once", SMALL)
    items = read_gate(tmp_path / "again")
    assert len(items) == 12 and any(one.turns for one in items)
    lines = tmp_path / "again" / "dialogues.jsonl"
    lines.write_text(lines.read_text().replace("defect", "fault", 1))
    with pytest.raises(AnomalystError, match="was changed since it was frozen"):
        read_gate(tmp_path / "again")
    with pytest.raises(AnomalystError, match="is no gate that can be read"):
        read_gate(tmp_path / "nothing")


def test_a_damaged_model_is_kept_aside_and_an_equal_one_goes_live_and_back(config, tmp_path):
    damaged = other_model(tmp_path / "damaged", 0.6)
    found = propose(config, damaged, "eve")
    assert not found.decision.passes and found.decision.reasons
    assert found.new.shown_contradictions is None  # no need to ask
    assert versions.read_live(config.home) == versions.Live(live=SHIPPED)

    equal = propose(config, other_model(tmp_path / "equal", 0), "ann")
    assert equal.decision.passes and equal.new.rows == equal.live.rows
    assert equal.new.shown_contradictions == 0
    live = versions.read_live(config.home)
    assert (live.live, live.before, live.by) == (equal.version, SHIPPED, "ann")
    states = {one.version: one.state for one in versions.list_versions(config.home)}
    assert states == {equal.version: "live", SHIPPED: "before", found.version: "aside"}
    with pytest.raises(Conflict, match="live already"):
        propose(config, tmp_path / "equal", "ann")
    assert found.frozen_before == "" and equal.frozen_before == equal.frozen == found.frozen
    assert (found.note, equal.note) == ("", "")
    assert "not those of the last proposal" in replace(equal, frozen_before="another").note

    assert versions.go_back(config.home, "bob").live == SHIPPED
    assert versions.go_back(config.home, "bob").live == equal.version


def test_two_who_go_back_at_once_go_back_once(config, tmp_path):
    version = versions.keep_version(config.home, other_model(tmp_path / "new", 0))
    versions.go_live(config.home, version, "ann")
    assert versions.go_back(config.home, "ann", seen=version).live == SHIPPED
    with pytest.raises(Conflict, match=f"{version} is no longer live"):
        versions.go_back(config.home, "bob", seen=version)
    with service_over(config.home) as service, client_of(service) as client:
        late = client.post("/api/v1/models/back", params={"seen": version})
        assert late.status_code == 409
        assert client.post("/api/v1/models/back", params={"seen": SHIPPED}).is_success

    with ThreadPoolExecutor(8) as pool:  # whoever is not first finds another model live

        def back(_):
            try:
                return versions.go_back(config.home, "all", seen=version).live
            except Conflict:
                return None

        assert [one for one in pool.map(back, range(8)) if one] == [SHIPPED]


def test_a_model_that_did_not_go_live_is_not_said_to_have(config, tmp_path, monkeypatch):
    """Another one goes live at the last moment, after all that can be looked at before."""
    rival = versions.keep_version(config.home, other_model(tmp_path / "rival", 0.3))
    equal = other_model(tmp_path / "equal", 0)

    def overtaken(*given, **more):
        versions.go_live(config.home, rival, "bob")
        return go_live(*given, **more)

    go_live = versions.go_live
    monkeypatch.setattr(proposing, "go_live", overtaken)
    with pytest.raises(Conflict, match="is no longer live"):
        propose(config, equal, "ann")
    assert versions.read_live(config.home).live == rival
    assert versions.read_gated(config.home, model_version(equal)) is None


def test_another_tokenizer_is_another_version(tmp_path):
    folder = other_model(tmp_path / "model", 0)
    before = model_version(folder)
    for name in ("gate.json", "notes.md"):
        (folder / name).write_text("{}")  # noted beside it, not read
    assert model_version(folder) == before
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace("defect", "dcfect", 1))
    assert model_version(folder) != before


def test_there_is_no_way_back_from_the_beginning(config, refused):
    with pytest.raises(Conflict, match="none to go back to"):
        versions.go_back(config.home, "ann")
    assert "none to go back to" in refused("store", "back", "--home", config.home)
    assert "give the folder of a saved model" in refused(
        "store", "propose", "gone", "--home", config.home
    )


def test_a_killed_or_refused_copy_leaves_nothing_half_written(config, tmp_path, monkeypatch):
    model = other_model(tmp_path / "model", 0)
    killed = (
        "import os, signal, shutil, sys; from pathlib import Path\n"
        "from anomalyst.server.language import versions\n"
        "def copytree(source, target, **_):\n"
        "    shutil.copy(source / 'config.json', target); os.kill(os.getpid(), signal.SIGKILL)\n"
        "shutil.copytree = copytree\n"
        "versions.keep_version(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    ended = subprocess.run([sys.executable, "-c", killed, config.home, model], check=False)
    assert ended.returncode == -9
    assert [one.version for one in versions.list_versions(config.home)] == [SHIPPED]

    def full(source, target, **_):
        shutil.copy(source / "config.json", target)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copytree", full)
        with pytest.raises(AnomalystError, match="disk is full"):
            versions.keep_version(config.home, model)
    version = versions.keep_version(config.home, model)
    kept = config.home / "language"
    assert [path.name for path in kept.iterdir()] == [version]
    assert model_version(kept / version) == version
    Speaker.load(kept / version)


def test_the_server_answers_with_the_live_version(config, tmp_path):
    model = Model(config)
    good = tuple((path, path.name) for path in sorted((FLANGE / "good").glob("*.jpg"))[:2])
    model.do([Teach(product="flange", good=tuple({"image": one} for one in good))], print)
    [seen] = model.do([Inspect(image=DEFECT, product="flange", false_alarm_rate=0.05)], print)
    assert isinstance(seen, dict)
    pictures = model.pictures
    ask = Ask(
        question="Hello!", record=seen["record"], heat=pictures.path(seen["heat"]),
        shown=pictures.path(seen["shown"]),
    )  # fmt: skip
    [before] = model.do([ask], print)
    version = versions.keep_version(config.home, other_model(tmp_path / "new", 0.3))
    versions.keep_version(config.home, EMBEDDED_LANGUAGE)
    versions.go_live(config.home, version, "ann")
    [after] = model.do([ask], print)
    assert after["model"] == version != before["model"]
    versions.go_back(config.home, "ann")
    [again] = model.do([ask], print)
    assert (again["raw"], again["model"]) == (before["raw"], before["model"])

    shutil.rmtree(config.home / "language" / version)
    write_text(config.home / "language" / "live.json", json.dumps({"live": version}))
    [gone] = model.do([ask], print)
    assert isinstance(gone, AnomalystError) and "is gone" in str(gone)


def test_last_months_record_without_what_was_judged(config, tmp_path):
    with service_over(config.home) as service:
        teach_flange(service, 2)
        sent = [service.take_file(DEFECT), service.take_file(DEFECT)]
        first, second = service.acknowledge(sent, "flange", by="ann", source="api")
        for id in (first, second):
            service.wait(id)
        where = service.ask(first, "Where is it?", by="ann")
        kind = service.ask(first, "What kind of defect is it?", by="ann")
        service.ask(first, "What caused it?", by="ann")  # by the facts: no model speaks
        service.ask(second, "Where is it?", by="ann")
        speaker = Speaker.load(EMBEDDED_LANGUAGE)
        items, left_out = recorded_items(service.store, speaker)
        assert [one.question for one in items] == [
            "Where is it?", "What kind of defect is it?", "Where is it?",
        ]  # fmt: skip
        assert [len(one.turns) for one in items] == [0, 1, 0] and left_out == 0
        found = judge_model(speaker, items)
        assert found.rows["place"] == RowFigures(right=2, wrong=0)

        client = client_of(service)
        said = {"turn": where.id, "kind": "answer", "better": "At the rim."}
        assert client.post(f"/api/v1/inspections/{first}/feedback", json=said).is_success
        assert client.post(
            f"/api/v1/inspections/{second}/feedback", json={"kind": "wrong"}
        ).is_success
        items, left_out = recorded_items(service.store, speaker)
        assert ([one.question for one in items], left_out) == (["What kind of defect is it?"], 2)
        assert recorded_items(service.store, speaker, days=0) == ([], 0)
        said = {"turn": kind.id, "kind": "up"}
        assert client.post(f"/api/v1/inspections/{first}/feedback", json=said).is_success
        assert recorded_items(service.store, speaker) == ([], 3)  # a new model may have learnt it
        said = {"turn": kind.id, "kind": "down"}
        assert client.post(f"/api/v1/inspections/{first}/feedback", json=said).is_success
        assert recorded_items(service.store, speaker) == ([], 3)

        models = client.get("/api/v1/models").json()
        assert models["live"] == SHIPPED and models["versions"][0]["state"] == "live"
        assert client.post("/api/v1/models/back").status_code == 409
        version = versions.keep_version(config.home, other_model(tmp_path / "new", 0))
        versions.go_live(config.home, version, "ann")
        assert client.post("/api/v1/models/back").json()["live"] == SHIPPED
