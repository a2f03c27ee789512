"""What people draw: out of a real record, back into it, what it teaches, and how it judges."""

import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from anomalyst.cli.main import app
from anomalyst.datasets.exchange import coco, label_studio
from anomalyst.datasets.reading import read_dataset
from anomalyst.detection.classifiers.own_kinds import KindExample, learn_own_kinds
from anomalyst.errors import AnomalystError
from anomalyst.evaluation.metrics import auroc
from anomalyst.io.masks import packed, union_of
from anomalyst.io.pictures import encoded, open_mask, open_picture
from anomalyst.product import Product
from anomalyst.server.config import ServingConfig
from anomalyst.server.corrections import Corrections
from anomalyst.server.errors import Conflict
from anomalyst.server.exchange import exporting, importing
from anomalyst.server.kinds import learn_kinds, unlearn_kinds
from anomalyst.server.learning import Learning
from anomalyst.server.records.drawn import Drawn, mask_of
from anomalyst.server.records.evaluated import evaluate_record, mask_agreement
from anomalyst.server.records.judged import judgements, not_undone
from anomalyst.server.records.standing import standing
from anomalyst.server.service import Service
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import CorrectionRow, InspectionRow, now
from anomalyst.teaching.known_defects.defects import masks_of
from conftest import DEMO
from serving import service_over, teach_flange

GOOD = sorted((DEMO / "flange" / "good").glob("*.jpg"))[4:]
SIDE = 256


def spoiled(picture: np.ndarray, kind: str, at: int) -> tuple[np.ndarray, np.ndarray]:
    """A demo picture with a dark bar or a bright disc, and where that is."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    y, x = 90 + 25 * at, 80 + 35 * at
    if kind == "bar":
        mask = (abs(rows - y) < 5) & (abs(columns - x) < 34)
        return np.where(mask[..., None], 15, picture).astype(np.uint8), mask
    mask = (rows - y) ** 2 + (columns - x) ** 2 < 13**2
    return np.where(mask[..., None], (250, 240, 60), picture).astype(np.uint8), mask


class Bench:
    """A record of six pictures with bars and discs and three good ones, drawn on by two people."""

    def __init__(self, service: Service):
        self.service, self.store = service, service.store
        self.corrections = Corrections(service)
        self.masks: dict[str, np.ndarray] = {}
        teach_flange(service)
        sent = []
        for number in range(3):
            picture = open_picture(GOOD[number])
            for kind in ("bar", "disc"):
                name = f"{kind}-{number}.png"
                shown, self.masks[name] = spoiled(picture, kind, number)
                sent.append(service.take(io.BytesIO(encoded(shown)), name))
            sent.append(service.take_file(GOOD[number + 3]))
        ids = service.acknowledge(sent, "flange", by="test", source="api")
        self.rows = {row.name: row for row in map(service.wait, ids)}
        for name, row in self.rows.items():
            if name not in self.masks:
                self.corrections.judge(row.id, row.verdict == "normal", by="ann")
                continue
            kind = name.partition("-")[0]
            self.draw(name, self.masks[name], "ann", label=kind)
            self.draw(name, self.masks[name], "ann", what="part", label="hub")
        self.draw("bar-0.png", np.roll(self.masks["bar-0.png"], 4, axis=0), "ben", label="bar")

    def draw(self, name: str, mask: np.ndarray, by: str, **said) -> CorrectionRow:
        return self.corrections.outline(self.rows[name].id, mask, Drawn(**said), by=by)

    def held(self) -> set[tuple]:
        """What holds now: picture, defect or part, kind, pixels."""
        found = set()
        for row, seen in not_undone(self.store, "flange"):
            if row.kind == "mask":
                said = Drawn.of(row.detail)
                found.add(
                    (seen.name, said.what, said.label, mask_of(row, seen, self.store.pictures))
                )
        return found

    def undo_masks(self) -> None:
        for row, _ in not_undone(self.store, "flange"):
            if row.kind == "mask":
                self.store.mark_correction(row.id, undone_at=now())


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    with service_over(tmp_path_factory.mktemp("bench")) as service:
        yield Bench(service)


@pytest.fixture
def record(bench) -> list[object]:
    config = bench.service.config
    return ["--home", config.home, "--products", config.products]


def run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.parametrize(
    ("form", "file"), [("coco", coco.FILE), ("labelstudio", label_studio.FILE)]
)
def test_masks_go_out_and_come_back_as_they_were(bench, record, tmp_path, form, file):
    out, before = tmp_path / "out", bench.held()
    said = run("store", "export", out, "--format", form, "--predictions", *record)
    assert said.exit_code == 0, said.output
    assert "6 pictures, 13 masks" in said.output
    pictures = sorted((out / "flange" / "images").iterdir())
    assert len(pictures) == 6
    times = [one.stat().st_mtime_ns for one in pictures]
    text = (out / "flange" / file).read_text()
    assert run("store", "export", out, "--format", form, "--predictions", *record).exit_code == 0
    assert [one.stat().st_mtime_ns for one in pictures] == times
    assert (out / "flange" / file).read_text() == text

    come = ["store", "import", out / "flange", "--format", form, "--product", "flange"]
    again = run(*come, "--by", "eve", *record)
    assert "0 masks taken in, 13 were there" in again.output and bench.held() == before
    bench.undo_masks()
    back = run(*come, "--by", "eve", *record)
    assert back.exit_code == 0, back.output
    # Two people's bars on one picture are one, for both are eve's now.
    assert "12 masks taken in" in back.output
    # COCO keeps what was found in a file of its own.
    assert ("found by a detector, not drawn" in back.output) == (form == "labelstudio")
    bars = {entry for entry in before if entry[:3] == ("bar-0.png", "defect", "bar")}
    both = packed(union_of([entry[3] for entry in bars]))
    assert bench.held() == before - bars | {("bar-0.png", "defect", "bar", both)}
    assert "0 masks taken in" in run(*come, "--by", "eve", *record).output
    bench.undo_masks()
    for name, mask in bench.masks.items():
        bench.draw(name, mask, "ann", label=name.partition("-")[0])
        bench.draw(name, mask, "ann", what="part", label="hub")
    bench.draw("bar-0.png", np.roll(bench.masks["bar-0.png"], 4, axis=0), "ben", label="bar")


def test_the_mvtec_layout_is_what_evaluate_and_teaching_read(bench, record, tmp_path):
    out = tmp_path / "sets"
    said = run("store", "export", out, "--format", "mvtec", *record)
    assert said.exit_code == 0 and "13 pictures, 6 masks" in said.output, said.output
    samples = read_dataset(out)
    found = [(one.split, one.defect) for one in samples]
    wanted = {("train", None): 4, ("test", None): 3, ("test", "bar"): 3, ("test", "disc"): 3}
    assert {one: found.count(one) for one in set(found)} == wanted
    checked = run("data", "check", out)
    assert checked.exit_code == 0 and "Nothing to look at" in checked.output, checked.output
    folder = out / "flange" / "test" / "disc"
    masks = masks_of(sorted(folder.iterdir()), out / "flange" / "ground_truth" / "disc")
    for picture, mask in masks.items():
        name = picture.name.rpartition("-")[0] + ".png"
        assert (open_mask(mask, (SIDE, SIDE)) == bench.masks[name]).all()
    come = ["store", "import", out / "flange", "--format", "mvtec", "--product", "flange"]
    assert "0 masks taken in, 6 were there" in run(*come, "--by", "eve", *record).output


def test_what_matches_nothing_is_listed_and_the_rest_goes_on(bench, record, tmp_path):
    out = tmp_path / "out"
    run("store", "export", out, "--format", "coco", *record)
    path = out / "flange" / coco.FILE
    data = json.loads(path.read_text())
    moved = np.roll(bench.masks["disc-1.png"], 7, axis=1)
    segmentation = packed(moved).as_dict()
    for number, image in enumerate(data["images"]):
        image |= {"picture": "", "file_name": image["name"]}
        if number == 0:
            image |= {"name": "stranger.png", "file_name": "stranger.png"}
        if image["name"] == "disc-1.png":
            here = image["id"]
    data["annotations"].append(
        {"id": 99, "image_id": here, "category_id": 1, "segmentation": segmentation}
    )
    wrong = {"size": [9, 9], "counts": [81]}
    data["annotations"].append(data["annotations"][-1] | {"id": 98, "segmentation": wrong})
    (tmp_path / "theirs.json").write_text(json.dumps(data))
    come = ["store", "import", tmp_path / "theirs.json", "--format", "coco", "--by", "zoe"]
    said = run(*come, "--product", "flange", *record)
    assert said.exit_code == 2 and "1 mask taken in" in said.output, said.output
    assert "stranger.png: product 'flange' inspected no such picture" in said.output
    assert "annotation 98: its RLE is of size [9, 9]" in said.output
    [row] = [row for row, _ in not_undone(bench.store, "flange") if row.by == "zoe"]
    assert row.inspection == bench.rows["disc-1.png"].id
    bench.store.mark_correction(row.id, undone_at=now())
    unsaid = run(*come[:-1], " ", "--product", "flange", *record)
    assert "say who drew" in str(unsaid.exception)
    nobody = run(*come, "--product", "nut", *record)
    assert isinstance(nobody.exception, AnomalystError) and "no inspection" in str(nobody.exception)


def test_a_picture_that_was_deleted_meanwhile_is_left_out_and_named(bench, record, tmp_path):
    gone = bench.store.pictures.path(bench.rows["bar-2.png"].picture)
    run("store", "export", tmp_path / "whole", "--format", "labelstudio", *record)
    gone.rename(tmp_path / "aside")
    try:
        for form, count in (("coco", "5 pictures, 11 masks"), ("mvtec", "12 pictures, 5 masks")):
            said = run("store", "export", tmp_path / form, "--format", form, *record)
            assert count in said.output and "bar-2.png" in said.output, said.output
        found = importing.read(tmp_path / "whole" / "flange", "labelstudio")
        done = importing.take_in(bench.corrections, "flange", found, by="eve")
        assert done.refused == ["bar-2.png: the picture is no longer kept; inspect it again."]
    finally:
        shutil.move(tmp_path / "aside", gone)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["export", "OUT", "--format", "yolo"], "is none of coco, labelstudio, mvtec"),
        (["export", "OUT", "--format", "mvtec", "--polygons"], "--polygons are of coco"),
        (["export", "OUT", "--format", "coco", "--product", "nut"], "nobody drew on a picture"),
        (["export", "OUT", "--format", "coco", "--since", "2999-01-01"], "since 2999-01-01"),
        (["import", "no.json", "--format", "coco", "--product", "flange", "--by", "x"], "no such"),
        (["import", ".", "--format", "yolo", "--product", "flange", "--by", "x"], "is none of"),
        (["export", "/dev/null/x", "--format", "mvtec"], "a file is in the way"),
        (["evaluate", "--product", "nut"], "nobody called a picture"),
    ],
)
def test_wrong_wishes_are_refused_in_a_sentence(refused, bench, tmp_path, words, why):
    words = [str(tmp_path / "out") if word == "OUT" else word for word in words]
    assert why in refused("store", *words, "--home", bench.service.config.home)


def test_two_pictures_of_one_name_need_their_content(bench):
    known = importing.Inspected(bench.store, "flange")
    known.called["bar-0.png"].add("f" * 64)
    one = exporting.DrawnPicture(name="x/bar-0.png", size_hw=(SIDE, SIDE), drawn=())
    with pytest.raises(AnomalystError, match="2 different pictures"):
        known.row_of(one)
    picture = bench.rows["bar-0.png"].picture
    beside = bench.store.pictures.path(picture)
    copy = replace(one, picture=picture).copy_name
    for told in (replace(one, picture=picture), replace(one, file=beside), replace(one, name=copy)):
        assert known.row_of(told).id == bench.rows["bar-0.png"].id
    with pytest.raises(AnomalystError, match="256x256; masks of its size"):
        known.row_of(replace(one, picture=picture, size_hw=(9, 9)))


def test_the_record_is_judged_by_what_people_said_and_drew(bench, record):
    said = json.loads(run("store", "evaluate", "--json", *record[:2]).output)
    [figures] = said["products"]
    assert (figures["spoiled"], figures["fine"], figures["masks"]) == (6, 3, 6)
    labels = [int(name in bench.masks) for name in bench.rows]
    scores = [row.score for row in bench.rows.values()]
    assert figures["image_auroc"] == auroc(labels, scores)
    assert figures["pixel_auroc"] > 0.8 and 0 < figures["pixel_aupro_30"] <= 1
    assert figures["drawn_by"] == {"ann": 6, "ben": 1}
    first = bench.masks["bar-0.png"]
    other = np.roll(first, 4, axis=0)
    iou = (first & other).sum() / (first | other).sum()
    assert said["agreement"] == [{"people": ["ann", "ben"], "iou": [pytest.approx(iou)]}]
    shown = run("store", "evaluate", *record[:2]).output
    assert "flange" in shown and "ann and ben: IoU" in shown
    assert f"ann and ben: IoU {iou:.2f}" in run("store", "agreement", *record[:2]).output


def test_named_masks_teach_a_product_its_own_kinds(bench, record):
    service, folder = bench.service, bench.service.config.products / "flange"
    with pytest.raises(Conflict, match="no kinds of its own"):
        unlearn_kinds(service, "flange", by="test")
    tried = run("store", "learn", "flange", "--kinds", "--dry-run", *record)
    assert tried.exit_code == 0, (tried.output, tried.exception)
    assert "bar (3), disc (3)" in tried.output and Product.load(folder).kinds is None
    found = learn_kinds(service, "flange", by="test")
    assert found["taken"] and found["own"] >= found["shipped"] + 0.1, found
    kinds = Product.load(folder).kinds
    assert kinds.names == ("bar", "disc") and len(kinds.about["corrections"]) == 7

    picture = open_picture(GOOD[6])
    for kind in ("bar", "disc"):
        shown, _ = spoiled(picture, kind, 1)
        sent = service.take(io.BytesIO(encoded(shown)), f"new {kind}.png")
        [id] = service.acknowledge([sent], "flange", by="test", source="api")
        region = service.wait(id).record["regions"][0]
        assert region["called"] == kind and region["kind"] not in ("bar", "disc")

    # An undone mask no longer teaches: two pictures of bars are too few.
    row = next(
        row
        for row, seen in not_undone(bench.store, "flange")
        if seen.name == "bar-1.png" and row.kind == "mask" and row.detail["what"] == "defect"
    )
    bench.corrections.undo(row.id, by="test")
    assert Product.load(folder).kinds is None
    changes = [one.kind for one in bench.store.changes("flange")][:3]
    assert changes == ["kinds unlearnt", "kinds not learnt", "kinds learnt"]
    bench.store.mark_correction(row.id, undone_at=None)


def examples(labels, figures: np.ndarray, shipped: str = "hole or break") -> list[KindExample]:
    import torch

    return [
        KindExample(
            figures=torch.tensor(row, dtype=torch.float32), label=label, picture=str(number),
            found=True, shipped=shipped,
        )
        for number, (label, row) in enumerate(zip(labels, figures, strict=True))
    ]  # fmt: skip


def test_kinds_are_taken_only_where_they_are_told_on_pictures_left_out():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(20, 8))
    labels = "ab" * 10
    apart = noise + 4 * np.array([[label == "a"] * 8 for label in labels])
    kinds, figures = learn_own_kinds(examples(labels, apart))
    assert figures.own == 1 and kinds is not None and figures.taken
    assert kinds.names_of(examples(labels, apart)[0].figures[None]) == ["a"]
    # Figures of its own for each picture tell nothing of the others.
    kinds, figures = learn_own_kinds(examples(labels, np.eye(20) * 9))
    assert kinds is None and "one name for all 50%" in figures.reason
    # The shipped classifier is as good already.
    known = examples(["hole"] * 10, apart[::2])
    other = examples(["dent"] * 10, apart[1::2], shipped="deformation")
    renamed = [replace(one, picture=f"x{one.picture}") for one in other]
    kinds, figures = learn_own_kinds([*known, *renamed])
    assert kinds is None and (figures.own, figures.shipped) == (1, 1)
    kinds, figures = learn_own_kinds(examples("aaabb", noise[:5]))
    assert kinds is None and "1 is there" in figures.reason and figures.left_out == {"b": 2}


@pytest.fixture
def store(tmp_path) -> Store:
    return Store.open(ServingConfig(home=tmp_path, products=tmp_path / "products"))


def inspected(store: Store, name: str, heat: np.ndarray, **values) -> InspectionRow:
    row = InspectionRow(
        product="bolt", picture=store.pictures.keep(name.encode(), ".png"), name=name, source="api",
        by="x", owner="x", state="done", false_alarm_rate=0.05, verdict="anomalous", done_at=now(),
        heat=store.pictures.keep(encoded((heat * 200).astype(np.uint8)), ".png"),
        record={"regions": [], "height_px": heat.shape[0], "width_px": heat.shape[1]}, **values,
    )  # fmt: skip
    store.acknowledge([row], None)
    return row


def painted(store: Store, row: InspectionRow, mask: np.ndarray, by: str = "ann", **said):
    found = [[0, 0, 1, 1]] if mask.any() else []
    detail = {"mask": store.pictures.keep(encoded(mask), ".png"), "boxes_xyxy": found, **said}
    one = CorrectionRow(inspection=row.id, product="bolt", kind="mask", detail=detail, by=by)
    store.add_correction(one, None)
    return one


def spot(x: int) -> np.ndarray:
    mask = np.zeros((20, 30), bool)
    mask[5:10, x : x + 5] = True
    return mask


def names_of(store: Store) -> list[tuple[str, str]]:
    held = standing(not_undone(store, "bolt"))
    return [(row.by, row.detail.get("label", "")) for row, _ in held]


def test_the_newest_mask_of_a_kind_holds_and_an_empty_one_takes_defects_back(store):
    row = inspected(store, "a", spot(0) * 1.0)
    painted(store, row, spot(1), label="dent")
    painted(store, row, spot(2), label="pit")
    last = painted(store, row, spot(3), label="dent")
    part = painted(store, row, spot(0), what="part", label="hub")
    painted(store, row, spot(9), by="ben")
    assert names_of(store) == [("ben", ""), ("ann", "hub"), ("ann", "dent"), ("ann", "pit")]
    [one] = judgements(store, "bolt").spoiled
    assert len(one.masks) == 3 and part.detail["mask"] not in one.masks
    store.mark_correction(last.id, undone_at=now())  # the former holds again
    assert ("ann", "dent") in names_of(store)
    empty = painted(store, row, np.zeros((20, 30), bool))
    assert names_of(store) == [("ann", ""), ("ben", ""), ("ann", "hub")]
    painted(store, row, spot(4), label="pit")
    assert names_of(store) == [("ann", "pit"), ("ben", ""), ("ann", "hub")]
    assert empty.id not in {r.id for r, _ in standing(not_undone(store, "bolt"))}


def test_defects_of_several_kinds_teach_together_and_parts_do_not(store):
    class Served:
        def __init__(self):
            self.store, self.pictures = store, store.pictures

    row = inspected(store, "a", spot(0) * 1.0)
    painted(store, row, spot(1), label="dent")
    painted(store, row, spot(20), label="pit")
    painted(store, row, np.ones((20, 30), bool), what="part")
    [one] = judgements(store, "bolt").spoiled
    [taught] = Learning(Served())._pictures([one])
    assert (open_mask(taught.mask, (20, 30)) == spot(1) | spot(20)).all()
    for said, _ in not_undone(store, "bolt"):
        if said.detail.get("what") != "part":
            store.mark_correction(said.id, undone_at=now())
    assert not judgements(store, "bolt").spoiled  # a part says nothing of the verdict


def test_figures_of_the_record_by_hand(store):
    """A map that is the mask, one that misses it, a fine picture; and a later inspection."""
    right = inspected(store, "right", spot(3) * 1.0, score=3.0)
    missed = inspected(store, "missed", spot(20) * 1.0, score=1.0)
    fine = inspected(store, "fine", np.zeros((20, 30)), score=2.0)
    painted(store, right, spot(3))
    painted(store, right, spot(3), by="ben", label="dent")
    painted(store, missed, spot(3))
    empty = painted(store, fine, np.zeros((20, 30), bool), by="ben")
    inspected(store, "missed", spot(3) * 1.0, score=9.0)  # it may have learnt from what was said
    [one] = evaluate_record(store)
    assert (one.spoiled, one.fine, one.masks, one.image_auroc) == (2, 1, 2, 0.5)
    assert one.drawn_by == {"ann": 2, "ben": 1}
    # Of 50 defective pixels half are above all but 25 of 1750 good ones, half tie with the rest.
    half = 0.5 * (1725 / 1750 + 0.5 * 25 / 1750 + 0) + 0.5 * 0.5 * 1725 / 1750
    assert one.pixel_auroc == pytest.approx(half)
    assert mask_agreement(store) == {("ann", "ben"): [1.0]}
    painted(store, fine, spot(0))
    assert mask_agreement(store)["ann", "ben"] == [0.0, 1.0]  # one says there is nothing
    store.pictures.forget(str(right.heat))
    store.mark_correction(empty.id, undone_at=now())
    [one] = evaluate_record(store)
    assert one.masks == 2 and sum(one.passed.values()) == 1
