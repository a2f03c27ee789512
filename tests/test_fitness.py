"""Pictures that cannot be judged are named as such: no pass, and no defect."""

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from anomalyst.calibration.conditions import Conditions, GoodConditions
from anomalyst.calibration.drift import causes
from anomalyst.calibration.tolerance import Tolerance
from anomalyst.cli.main import app
from anomalyst.errors import AnomalystError
from anomalyst.inspection.parts import fused
from anomalyst.product import Product
from anomalyst.server.config import ServingConfig
from anomalyst.server.service import Service
from anomalyst.server.storage.tables import DeliveryRow
from anomalyst.synthetic.procedural.episode import WorldConfig, defective_picture, normal_picture
from anomalyst.synthetic.procedural.families import draw_product
from anomalyst.types import Inspection, Unfit
from anomalyst.vlm.facts import facts_of
from conftest import DEMO
from serving import teach_flange

SIDE = 96


def written(folder, pictures):
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, picture in enumerate(pictures):
        paths.append(folder / f"{folder.name}{number}.png")
        cv2.imwrite(str(paths[-1]), picture[..., ::-1])
    return paths


@pytest.fixture(scope="module")
def line(inspector, tmp_path_factory):
    """Two drawn products, taught and saved, with good and defective pictures of each."""
    home = tmp_path_factory.mktemp("line")
    pictures = {}
    for number, family in enumerate(("biscuit", "machined part")):
        rng = np.random.default_rng((26, number))
        spec = draw_product(rng, only=(family,))
        name = family.split()[0]
        good = [normal_picture(spec, rng, SIDE) for _ in range(6)]
        bad = [defective_picture(spec, rng, WorldConfig(size_px=SIDE))[0] for _ in range(2)]
        product = inspector.teach(name, written(home / f"good-{name}", good[:4]))
        product.save(home / "products" / name)
        pictures[name] = written(home / name, [*good[4:], *bad])
    return home, pictures


@pytest.fixture(scope="module")
def biscuit(line):
    return Product.load(line[0] / "products" / "biscuit")


def test_another_product_is_named_and_a_defective_part_is_not(inspector, line, biscuit):
    for path in line[1]["biscuit"]:
        assert inspector.inspect(path, biscuit).unfit is None
    found = inspector.inspect(line[1]["machined"][0], biscuit)
    assert found.unfit is not None and found.unfit.cause == "product"
    assert found.verdict == "unsure" and not found.regions and not found.guaranteed
    assert "does not look like biscuit" in found.answer


def test_a_reason_survives_the_record(inspector, line, biscuit):
    found = inspector.inspect(line[1]["machined"][0], biscuit)
    again = Inspection.from_dict(json.loads(json.dumps(found.as_dict())), found.map, {})
    assert again.unfit == found.unfit and again.conditions == found.conditions


def test_asked_about_it_the_answer_is_the_reason(inspector, line, biscuit):
    found = inspector.inspect(line[1]["machined"][0], biscuit)
    answer = inspector.speaker.by_facts("Is there a defect?", facts_of(found))
    assert answer is not None and "does not look like biscuit" in answer.text


def spoiled(picture, how):
    if how == "dark":
        return (picture * 0.04).astype(np.uint8)
    if how == "over-exposed":
        return np.clip(picture * 6.0 + 90, 0, 255).astype(np.uint8)
    if how == "blurred":
        return cv2.GaussianBlur(picture, (0, 0), 2.5)
    return np.full_like(picture, np.median(picture[:4], axis=(0, 1)).astype(np.uint8))


@pytest.mark.parametrize("how", ["dark", "over-exposed", "blurred", "empty"])
def test_what_is_wrong_with_the_picture_is_named(inspector, line, biscuit, tmp_path, how):
    picture = cv2.imread(str(line[1]["biscuit"][0]))[..., ::-1]
    [path] = written(tmp_path, [spoiled(picture, how)])
    found = inspector.inspect(path, biscuit)
    assert found.unfit is not None and found.unfit.cause == how, found.conditions
    assert found.verdict == "unsure" and not found.regions


def test_a_product_of_before_still_knows_another_product(inspector, line, biscuit):
    old = replace(biscuit, conditions=None, likeness=None, memories=[])
    other, own = line[1]["machined"][0], line[1]["biscuit"][0]
    assert inspector.inspect(other, old).unfit is not None
    assert inspector.inspect(own, old).unfit is None


def test_figures_and_tolerance_survive_save_and_load(biscuit, tmp_path):
    told = Tolerance(
        darker=0.2, brighter=0.3, shift_px=5.0, turn_degrees=3.0, blur_px=0.7, pictures=1
    )
    before = replace(biscuit, tolerance=told)
    before.save(tmp_path / "biscuit")
    after = Product.load(tmp_path / "biscuit")
    assert after.tolerance == told and after.conditions == before.conditions
    np.testing.assert_allclose(after.conditions.first, before.conditions.first, atol=2e-3)
    assert len(after.conditions.each) == 4 and len(after.conditions.strangeness) == 4
    assert "light -20 % to +30 %" in told.told and "turn +-3 degrees" in told.told


def test_each_picture_of_a_mixed_folder_is_given_to_its_product(line, tmp_path):
    home, pictures = line
    rng = np.random.default_rng(1)
    stranger = draw_product(rng, only=("screw",))
    [none] = written(tmp_path / "none", [normal_picture(stranger, rng, SIDE)])
    asked = [*pictures["biscuit"][:2], *pictures["machined"][:2], none]
    result = CliRunner().invoke(
        app,
        ["inspect", *map(str, asked), "--product", "auto", "--products", str(home / "products"),
         "--json", "--out", str(tmp_path / "out")],
    )  # fmt: skip
    assert len((tmp_path / "out" / "inspections.csv").read_text().splitlines()) == 1 + len(asked)
    found = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    assert [one["product"] for one in found] == ["biscuit"] * 2 + ["machined"] * 2 + [""]
    assert found[-1]["unfit"]["cause"] == "product"
    assert result.exit_code == 2  # one could not be judged: a script must not take it for a pass


def test_the_taught_product_that_it_looks_like_is_suggested(line):
    home, pictures = line
    result = CliRunner().invoke(
        app,
        ["inspect", str(pictures["machined"][0]), "--product", "biscuit", "--products",
         str(home / "products"), "--json"],
    )  # fmt: skip
    assert json.loads(result.stdout.splitlines()[-1])["unfit"]["like"] == "machined"
    assert result.exit_code == 2


def test_the_server_keeps_the_reason_and_tells_it(tmp_path):
    config = ServingConfig(home=tmp_path, products=tmp_path / "products")
    with closing(Service(config, sinks=["hook"])) as service:
        teach_flange(service, pictures=2)
        other = next((DEMO / "circuit-module" / "good").glob("*.jpg"))
        sent = [service.take_file(other)]
        [id] = service.acknowledge(sent, "flange", by="test", source="test")
        row = service.wait(id)
        assert row.verdict == "unsure" and row.record["unfit"]["cause"] == "product"
        with service.store.session() as session:
            [told] = session.scalars(select(DeliveryRow))
        assert told.payload["unfit"]["said"] == "This does not look like flange."


def test_beside_a_reference_and_no_taught_product_the_reason_is_said(line, tmp_path):
    home, pictures = line
    good = [str(home / "good-biscuit" / f"good-biscuit{n}.png") for n in (0, 1)]
    words = ["inspect", str(pictures["machined"][0]), "--products", str(tmp_path), "--json"]
    result = CliRunner().invoke(app, [*words, "--reference", good[0], "--reference", good[1]])
    assert result.exit_code == 2
    said = json.loads(result.stdout.splitlines()[-1])["unfit"]["said"]
    assert said == "This does not look like the good pictures."
    alone = CliRunner().invoke(app, [*words, "--reference", good[0]])
    found = json.loads(alone.stdout.splitlines()[-1])
    assert alone.exit_code == 0 and found["unfit"] is None  # how much they differ is not known
    assert any("may show something else than the good pictures" in note for note in found["notes"])


def test_auto_without_a_product_says_what_to_do(tmp_path):
    result = CliRunner().invoke(
        app, ["inspect", str(tmp_path), "--product", "auto", "--products", str(tmp_path)]
    )
    assert isinstance(result.exception, (AnomalystError, SystemExit)) and result.exit_code != 0


def test_tolerance_grows_with_the_good_pictures_and_bounds_what_stays_good(inspector, line):
    product = Product.load(line[0] / "products" / "machined")
    found = inspector.tolerance(product)
    if found is None:
        pytest.skip("no good picture is normal as it is")
    assert 0 <= found.darker <= 0.4 and found.turn_degrees >= 0 and found.pictures == 1


def test_rays_rows_say_why_a_picture_cannot_be_judged(line, tmp_path):
    """What a worker of a Ray cluster does with a batch; Ray itself only carries it."""
    pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    from anomalyst.server.cluster import batch_inspect

    home, pictures = line
    own = pictures["biscuit"][0]
    grey = (cv2.imread(str(own)) * 0.05).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "dark.png"), grey)
    images = [str(own), str(tmp_path / "dark.png"), str(tmp_path / "none.png")]
    job = batch_inspect.Job(
        product=home / "products" / "biscuit", encoder="embedded", false_alarm_rate=0.05
    )
    columns = batch_inspect.Worker(job)({"image": images})
    rows = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    assert [row["unfit"] for row in rows] == [None, "dark", None] and rows[2]["problem"]
    assert rows[1]["verdict"] == "unsure" and "too dark to judge" in rows[1]["unfit_said"]
    part, paths = tmp_path / "part-00000.parquet", [Path(image) for image in images]
    table = batch_inspect.pa.Table.from_pylist(rows, schema=batch_inspect.SCHEMA)
    pq.write_table(table, part)
    summary = batch_inspect.Summary()
    batch_inspect._count(part, summary)
    assert summary.unfit == {"dark": 1} and len(summary.bad) == 1
    assert batch_inspect._is_of(part, paths) and not batch_inspect._is_of(part, paths[:2])
    pq.write_table(table.drop_columns(["unfit"]), part)  # as an earlier version wrote it
    assert not batch_inspect._is_of(part, paths)


def test_figures_say_what_was_done_to_a_picture():
    rng = np.random.default_rng(0)
    picture = np.full((64, 64, 3), 60, np.uint8)
    picture[16:40, 20:44] = rng.integers(120, 200, (24, 24, 1))
    good = GoodConditions.of([[picture], [np.roll(picture, 1, 0)]])
    moved = Conditions.of([np.roll(picture, 6, 1)], good.first)
    assert moved.shift_x == pytest.approx(6 / 64, abs=0.01) and abs(moved.shift_y) < 0.01
    dim = Conditions.of([(picture * 0.5).astype(np.uint8)], good.first)
    assert dim.brightness == pytest.approx(0.5 * good.each[0].brightness, rel=0.05)
    assert dim.sharpness == pytest.approx(good.each[0].sharpness, rel=0.1)  # levels are rounded
    soft = Conditions.of([cv2.GaussianBlur(picture, (0, 0), 2)], good.first)
    assert soft.sharpness < 0.5 * good.each[0].sharpness
    assert good.unfit(good.each[1]) is None and good.unfit(dim) is None


def figures(rng, count, **changed):
    usual = {"brightness": 0.5, "sharpness": 0.3, "shift_x": 0.0, "shift_y": 0.0}
    middle = usual | {"strangeness": -2.0} | changed
    noise = {"shift_x": 0.004, "shift_y": 0.004, "strangeness": 0.1}
    return [
        {
            name: value + noise.get(name, 0.01) * rng.standard_normal()
            for name, value in middle.items()
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({}, []),
        ({"brightness": 0.4}, ["light: 20% darker"]),
        ({"sharpness": 0.2}, ["focus"]),
        ({"shift_x": 0.05}, ["position: 5"]),
        ({"strangeness": -1.0}, ["product"]),
        ({"strangeness": -1.0, "brightness": 0.6}, ["light"]),
    ],
)
def test_what_has_moved_is_named_and_nothing_else(changed, named):
    rng = np.random.default_rng(3)
    found = causes(figures(rng, 20), figures(rng, 30, **changed))
    assert len(found) == len(named)
    assert all(one.startswith(start[:6]) for one, start in zip(found, named, strict=True))


def test_a_product_that_lies_anywhere_has_no_position_to_drift():
    rng = np.random.default_rng(3)
    assert causes(figures(rng, 20), figures(rng, 30, shift_x=0.05), placed=False) == []


def seen_by(sense, verdict, p_value, unfit=None):
    grey = np.zeros((32, 32), np.float32)
    return Inspection(
        image=Path("part.png"), map=grey, size_hw=(32, 32), score=1.0, p_value=p_value,
        verdict=verdict, confidence=0.5, guaranteed=unfit is None, regions=(), answer="",
        notes=(), seconds={}, sense=sense, unfit=unfit, view=np.zeros((32, 32, 3), np.uint8),
    )  # fmt: skip


def test_what_one_sense_cannot_see_is_no_pass_and_no_defect_of_the_part():
    dark = Unfit(cause="dark", said="The picture is too dark to judge.")
    beside = {"image": seen_by("image", "unsure", 0.001, dark)}
    alone = fused(beside | {"depth": seen_by("depth", "normal", 0.6)}, None, 0.05)
    assert (alone.verdict, alone.guaranteed, alone.unfit) == ("unsure", False, dark)
    worn = fused(beside | {"depth": seen_by("depth", "anomalous", 0.001)}, None, 0.05)
    assert worn.verdict == "anomalous" and worn.unfit is None  # the other sense saw it
    assert dark.said in worn.answer
