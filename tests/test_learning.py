"""Judgements: who says what now; a product that learns it, or not, and forgets it again."""

import io
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalyst.calibration.operating_rule import Costs
from anomalyst.errors import AnomalystError
from anomalyst.product import Product
from anomalyst.product_index import BEFORE
from anomalyst.server.config import ServingConfig
from anomalyst.server.errors import Conflict
from anomalyst.server.records import judged
from anomalyst.server.records.judged import judgements
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import CorrectionRow, InspectionRow, now
from anomalyst.teaching.known_defects.crossed import held_out
from anomalyst.teaching.known_defects.left_out import LeftOutScores
from serving import client_of, service_over

API = "/api/v1"


@pytest.fixture
def store(tmp_path) -> Store:
    return Store.open(ServingConfig(home=tmp_path, products=tmp_path / "products"))


def inspected(store: Store, name: str, verdict: str = "normal", content: str = "") -> InspectionRow:
    picture = store.pictures.keep((content or name).encode(), ".png")
    region = {"box_xyxy": [1, 1, 5, 5]}
    row = InspectionRow(
        product="bolt", picture=picture, name=name, source="api", by="x", owner="x", state="done",
        false_alarm_rate=0.05, verdict=verdict, record={"regions": [region]},
    )  # fmt: skip
    store.acknowledge([row], None)
    return row


def says(
    store: Store, row: InspectionRow, kind: str, by: str = "ann", number: int = 0, **detail
) -> CorrectionRow:
    """`number`: ids sort by it, as they do by time."""
    said = CorrectionRow(
        inspection=row.id, product="bolt", kind=kind, detail=detail, by=by,
        id=f"{number:024x}" if number else None,
    )  # fmt: skip
    store.add_correction(said, None)
    return said


def test_every_kind_of_word_says_spoiled_or_fine_or_neither(store):
    everything = {
        "missed": ("normal", "wrong", {}), "found": ("anomalous", "right", {}),
        "painted": ("unsure", "mask", {"boxes_xyxy": [[0, 0, 2, 2]], "mask": "no.png"}),
        "good": ("normal", "right", {}), "alarm": ("anomalous", "wrong", {}),
        "empty": ("anomalous", "mask", {"boxes_xyxy": [], "mask": "no.png"}),
        "accepted": ("anomalous", "fine", {"boxes_xyxy": [[1, 1, 5, 5]]}),
        "in part": ("anomalous", "fine", {"boxes_xyxy": [[1, 1, 4, 4]]}),
        "unsure": ("unsure", "right", {}), "words": ("normal", "answer", {"chosen": "No."}),
    }  # fmt: skip
    for name, (verdict, kind, detail) in everything.items():
        says(store, inspected(store, name, verdict), kind, **detail)
    found = judgements(store, "bolt")
    assert {one.name for one in found.spoiled} == {"missed", "found", "painted"}
    assert {one.name for one in found.fine} == {"good", "alarm", "empty", "accepted"}
    assert not found.passed and judgements(store, "nut").spoiled == []


def test_the_newest_word_of_a_person_counts_until_it_is_undone(store):
    row = inspected(store, "a", "anomalous")
    says(store, row, "right", number=1)
    last = says(store, inspected(store, "again", "anomalous", "a"), "wrong", number=2)
    [one] = judgements(store, "bolt").fine
    assert one.name == "again"  # the same picture, inspected twice
    store.mark_correction(last.id, undone_at=now())
    assert [one.name for one in judgements(store, "bolt").spoiled] == ["a"]


def test_what_cannot_be_learnt_from_is_passed_over_and_counted(store):
    for by, kind in (("ann", "right"), ("ben", "wrong")):
        says(store, inspected(store, "disputed"), kind, by)
    gone, compared, known = (inspected(store, name) for name in ("gone", "compared", "known"))
    for row in (gone, compared, known):
        says(store, row, "wrong")
    store.pictures.forget(gone.picture)
    place = says(store, compared, "fine", boxes_xyxy=[[2, 2, 3, 3]])
    store.mark_correction(place.id, applied_at=now())
    found = judgements(store, "bolt", known=[known.picture.removesuffix(".png")])
    assert not found.spoiled and not found.fine
    assert found.passed == {
        judged.DISAGREE: ["disputed"], judged.GONE: ["gone"],
        judged.COMPARED: ["compared"], judged.TAUGHT: ["known"],
    }  # fmt: skip


def test_a_fine_picture_that_is_accepted_no_longer_judges_the_rule():
    from anomalyst.teaching.known_defects.defects import KnownDefects

    bad, fine = (tuple(Path(f"{kind}{i}.png") for i in range(3)) for kind in ("bad", "fine"))
    known = KnownDefects(pictures=bad, fine=fine, judged={path: f"x{path}" for path in fine})
    left = known.without_fine("xfine1.png")
    assert left.pictures == bad and left.fine == (fine[0], fine[2])
    assert set(left.judged) == {fine[0], fine[2]}
    assert known.without_fine("another.png") is known


def test_words_taken_back_or_disputed_are_overruled(store):
    seen = inspected(store, "a", "anomalous")
    first, last = says(store, seen, "wrong", number=1), says(store, seen, "right", number=2)
    part = says(store, seen, "fine", number=3, boxes_xyxy=[[1, 1, 4, 4]])  # says nothing of it all
    assert judged.overruled(store, "bolt") == {first.id}
    other = says(store, seen, "wrong", by="bob", number=4)
    assert judged.overruled(store, None) == {first.id, last.id, other.id}
    assert part.id not in judged.overruled(store, None)


def test_right_after_painting_keeps_the_mask_and_products_do_not_overrule_each_other(store):
    seen = inspected(store, "a", "anomalous")
    old = says(store, seen, "mask", number=1, boxes_xyxy=[[0, 0, 2, 2]], mask="old.png")
    new = says(store, seen, "mask", number=2, boxes_xyxy=[[0, 0, 2, 2]], mask="new.png")
    agreed = says(store, seen, "right", number=3)  # adds nothing to the mask
    assert judged.overruled(store, "bolt") == {old.id, agreed.id}
    says(store, seen, "wrong", number=4)
    assert {old.id, new.id, agreed.id} == judged.overruled(store, "bolt")

    other = InspectionRow(  # the same picture, as another product
        product="nut", picture=seen.picture, name="a", source="api", by="x", owner="x",
        state="done", false_alarm_rate=0.05, verdict="anomalous", record=seen.record,
    )  # fmt: skip
    store.acknowledge([other], None)
    right = CorrectionRow(inspection=other.id, product="nut", kind="right", detail={}, by="bob")
    store.add_correction(right, None)
    assert judged.overruled(store, None) == judged.overruled(store, "bolt")


@pytest.mark.parametrize("kind", ["up", "ranking", "answer", "wrong"])
def test_only_undoing_a_judgement_of_the_picture_learns_anew(store, kind, monkeypatch):
    """And only of pictures that were learnt; where that fails, all is unlearnt."""
    from anomalyst.server.corrections import Corrections
    from anomalyst.server.learning import Learning

    row = inspected(store, "a")
    said = says(store, row, kind, number=1, verdict="anomalous")

    class Service:
        def __init__(self):
            self.store = store

        def product_names(self):
            return ["bolt"]

    asked: list[object] = []

    def refused(*_, only=None, **__):
        asked.append((only, store.correction(said.id).undone_at is not None))
        raise AnomalystError("the disk is full.")

    monkeypatch.setattr(Learning, "_learnt", lambda *_: [row.picture])
    monkeypatch.setattr(Learning, "_learn", refused)
    monkeypatch.setattr(Learning, "unlearn", lambda *_, **__: asked.append("unlearnt"))
    undone = Corrections(Service()).undo(said.id, by="eve")
    assert undone.undone_at is not None
    assert asked == ([([row.picture], True), "unlearnt"] if kind == "wrong" else [])


def test_a_mask_stays_with_what_is_called_spoiled(store):
    row = inspected(store, "a")
    says(store, row, "mask", number=1, boxes_xyxy=[[0, 0, 2, 2]], mask="m.png")
    says(store, row, "wrong", number=2)
    assert [one.masks for one in judgements(store, "bolt").spoiled] == [("m.png",)]
    says(store, row, "right", number=3)
    assert [one.masks for one in judgements(store, "bolt").fine] == [()]


def test_no_picture_is_judged_by_a_rule_that_saw_it():
    """Figures that tell each picture's label to whoever saw it help on no picture left out."""
    rng = np.random.default_rng(0)
    labels = np.array([0] * 15 + [1] * 15)
    scores = rng.normal(size=(1, 30))
    own = np.eye(30)[None] * 50  # a figure of its own for each picture
    figures = np.concatenate([scores[..., None], own], axis=2)
    nothing = np.full((1, 30), np.nan)
    looked = LeftOutScores([(1.0,)], scores, figures, nothing, labels)
    found = held_out(looked, Costs())
    right = [(one.verdict == "anomalous") == one.defective for one in found]
    assert [one.defective for one in found] == [bool(one) for one in labels]
    assert sum(right) < 24  # of 30; chance is 15, whoever saw them would have all
    scores[0] += 6 * labels
    figures[..., 0] = scores
    clear = held_out(LeftOutScores([(1.0,)], scores, figures, nothing, labels), Costs())
    assert sum((one.verdict == "anomalous") == one.defective for one in clear) >= 29


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with service_over(tmp_path_factory.mktemp("learning")) as found:
        yield found


@pytest.fixture(scope="module")
def client(service):
    with client_of(service) as found:
        yield found


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def judge(client, paths: list[Path], spoiled: bool, masks: Path) -> list[dict]:
    """What a person who knows the labels says; spoiled ones that were missed they paint."""
    files = [("pictures", (path.name, path.read_bytes())) for path in paths]
    data = {"product": "cookie", "wait": "true"}
    seen = client.post(f"{API}/inspections/batch", data=data, files=files).json()["items"]
    said = []
    for path, one in zip(paths, seen, strict=True):
        where = f"{API}/inspections/{one['id']}"
        if one["verdict"] == "unsure":
            white = io.BytesIO()
            size = one["record"]["width_px"], one["record"]["height_px"]
            empty = Image.new("L", size)
            (Image.open(masks / f"{path.stem}_mask.png") if spoiled else empty).save(white, "PNG")
            reply = client.post(f"{where}/mask", files={"mask": ("m.png", white.getvalue())})
        else:
            right = (one["verdict"] == "anomalous") == spoiled
            kind = "right" if right else "wrong"
            reply = client.post(f"{where}/feedback", json={"kind": kind})
        assert reply.status_code == 201, reply.text
        said.append(reply.json())
    return said


def test_a_product_learns_what_people_judged_and_forgets_it_without_a_trace(
    service, client, cookie
):
    good = sorted((cookie / "train" / "good").iterdir())[:6]
    cracked = sorted((cookie / "test" / "cracked").glob("*.jpg"))[:3]
    sound = sorted((cookie / "test" / "good").iterdir())[:2]
    service.teach("cookie", [service.take_file(one) for one in good], by="test")
    folder = service.config.products / "cookie"
    was = contents(folder)
    path, masks = f"{API}/products/cookie", cookie / "ground_truth" / "cracked"

    refused = client.post(f"{path}/learn")
    assert refused.status_code == 409 and "nobody has judged" in refused.json()["detail"]
    assert client.post(f"{path}/unlearn").status_code == 409
    said = judge(client, cracked[:2], True, masks)
    refused = client.post(f"{path}/learn").json()["detail"]
    assert "2 pictures were called spoiled; 3 are needed" in refused
    judge(client, [*cracked[2:]], True, masks)
    judge(client, [*sound, good[0]], False, masks)

    found = client.post(f"{path}/learn").json()
    assert found["taken"], found["reason"]
    assert (found["spoiled"], found["fine"], found["held_out"]) == (3, 2, 5)
    assert found["passed"][judged.TAUGHT]["names"] == [good[0].name]

    def wrong(side):
        return side["missed"] + side["alarms"] + side["good_alarms"][0]

    assert wrong(found["after"]) <= wrong(found["before"])
    assert found["after"]["calibrates"] == found["before"]["calibrates"] == 6
    product = Product.load(folder)
    assert product.num_references == 6 and len(product.bad.fine) == 2
    assert product.calibration == Product.load(folder / BEFORE).calibration
    assert client.get(path).json()["rule"]["threshold"] == found["after"]["threshold"]

    # With one spoiled picture less there are too few, and all is as it was.
    assert client.post(f"{API}/feedback/{said[0]['id']}/undo").status_code == 200
    assert contents(folder) == was
    kinds = [row.kind for row in service.store.changes("cookie")]
    assert kinds == ["unlearnt", "learnt", "taught"]


@pytest.mark.slow
def test_learning_is_whole_or_not_at_all_and_keeps_what_was_changed_since(service, client, cookie):
    folder, path = service.config.products / "cookie", f"{API}/products/cookie"
    cracked = sorted((cookie / "test" / "cracked").glob("*.jpg"))
    masks = cookie / "ground_truth" / "cracked"
    said = judge(client, [cracked[0], cracked[3]], True, masks)  # the first one's was undone
    was = contents(folder)
    tried = client.post(f"{path}/learn", params={"dry_run": True}).json()
    assert contents(folder) == was and service.store.changes("cookie")[0].kind == "unlearnt"

    with ThreadPoolExecutor(1) as aside:
        learning = aside.submit(client.post, f"{path}/learn")
        time.sleep(2)
        os.kill(service.queue.aside.pid, signal.SIGKILL)
        assert contents(folder) == was
        assert learning.result().json() == tried and tried["taken"]  # another process did it
    product, learnt = Product.load(folder), contents(folder)
    with pytest.raises(AnomalystError, match="cannot be saved"):
        product.save(folder, folder / "nothing")
    assert contents(folder) == learnt

    assert client.post(f"{API}/feedback/{said[0]['id']}/undo").status_code == 200
    assert len(Product.load(folder).bad.pictures) == 3  # learnt anew, without it
    more = sorted((cookie / "train" / "good").iterdir())[6]
    service.teach("cookie", [service.take_file(more)], by="test", describe="round")
    product = Product.load(folder)
    assert len(product.bad.judged) == 5 and product.num_references == 7
    packed = service.export_product("cookie")
    assert service.import_product(packed, "other", "test")["rule"]["judged"]
    assert client.post(f"{path}/unlearn").json() == {"exactly": False}
    product = Product.load(folder)
    assert product.num_references == 7 and product.rule is None and product.bad is None
    assert product.description == "round"
    with pytest.raises(Conflict, match="learnt nothing"):
        client.app.state.corrections.learning.unlearn("cookie", by="test")
