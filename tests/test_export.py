"""An exported product inspects as Anomalyst does, without Anomalyst; engines give its verdicts."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from anomalyst.calibration.conformal import Calibration
from anomalyst.cli.main import app
from anomalyst.deployment.checking import check_export, open_runner
from anomalyst.deployment.folder import RUNNER, decision_rule, export_product
from anomalyst.errors import AnomalystError
from anomalyst.inspection.config import InspectorConfig
from anomalyst.inspector import Inspector
from anomalyst.io.pictures import open_picture
from anomalyst.product import Product
from conftest import DEMO

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
FLANGE = DEMO / "flange"
PICTURES = sorted((FLANGE / "test").glob("*.jpg"))


@pytest.fixture(scope="module")
def plain() -> Inspector:
    """In float32, as an exported network computes."""
    return Inspector.load(config=InspectorConfig(precision="float32", engine="torch"))


@pytest.fixture(scope="module")
def exported(plain, tmp_path_factory) -> tuple[Product, Path]:
    """A product of one good picture, and the folder it was exported to."""
    folder = tmp_path_factory.mktemp("export")
    product = plain.teach("flange", sorted((FLANGE / "good").glob("*"))[:1])
    product.save(folder / "products" / "flange")
    export_product(plain, product, folder / "out")
    return product, folder / "out"


def test_it_agrees_with_anomalyst_on_every_picture(plain, exported):
    product, folder = exported
    found = check_export(plain, product, folder, PICTURES)
    assert found.pictures == len(PICTURES) and not found.verdicts
    assert found.score < 5e-3 and found.map < 1e-2


def test_the_command_compares_with_torch_and_says_how_far_they_are(exported, tmp_path, monkeypatch):
    product, _ = exported
    monkeypatch.chdir(tmp_path)
    products = ["--products", str(product.folder.parent)]
    told = CliRunner().invoke(app, ["export", "flange", "--check", str(FLANGE / "test"), *products])
    assert told.exit_code == 0, told.output
    assert "0 verdicts differ" in told.output and (tmp_path / "out/export/flange").is_dir()
    said = re.search(r"score differs by at most ([\d.e-]+)", told.output)
    # Two engines never round alike; the same one does.
    assert said is not None and 1e-12 < float(said[1]) < 1e-3


def test_many_good_pictures_and_a_grid_that_four_does_not_divide(plain, tmp_path):
    wide = tmp_path / "wide"
    wide.mkdir()
    for path in sorted((FLANGE / "good").glob("*"))[:9] + PICTURES[:2]:
        picture = open_picture(path)[40:200]  # 160 x 256: the grid of stride 16 is 13 x 20
        cv2.imwrite(str(wide / f"{path.stem}.png"), picture[..., ::-1])
    good = sorted(wide.glob("0*.png"))
    product = plain.teach("wide", good, calibrated=False)
    product.save(tmp_path / "products" / "wide")
    export_product(plain, product, tmp_path / "out")
    found = check_export(plain, product, tmp_path / "out", sorted(wide.glob("[!0]*.png")))
    assert found.pictures == 2 and not found.verdicts and found.score < 5e-3


def test_it_runs_where_there_is_neither_torch_nor_anomalyst(plain, exported, tmp_path):
    product, folder = exported
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.modules['torch'] = sys.modules['anomalyst'] = None\n"
    )
    told = subprocess.run(
        [sys.executable, moved / "runner.py", PICTURES[0], PICTURES[3]],
        capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path), "PATH": ""}, check=True,
    )  # fmt: skip
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    for line, picture in zip(lines, (PICTURES[0], PICTURES[3]), strict=True):
        ours = plain.inspect(picture, product)
        assert line["score"] == pytest.approx(ours.score, rel=1e-3)
        assert line["p_value"] == pytest.approx(ours.p_value, abs=0.01)
        assert line["verdict"] == ours.verdict
    assert len(RUNNER.read_text().splitlines()) <= 60


def spoilt(folder):
    """A picture of the flange as it is, and what nobody could judge by it."""
    good = open_picture(FLANGE / "good" / "009.jpg")
    rng = np.random.default_rng(4)
    pictures = {
        "fit": good,
        "dark": (good * 0.1).astype(np.uint8),
        "over-exposed": np.clip(good.astype(int) * 6, 0, 255).astype(np.uint8),
        "blurred": cv2.GaussianBlur(good, (0, 0), 6),
        "empty": np.full_like(good, np.median(good[:8], axis=(0, 1))),
        "product": rng.integers(0, 255, (8, 8, 3), np.uint8).repeat(32, 0).repeat(32, 1),
    }
    for name, picture in pictures.items():
        cv2.imwrite(str(folder / f"{name}.png"), picture[..., ::-1])
    return {name: folder / f"{name}.png" for name in pictures}


def test_it_says_what_cannot_be_judged_as_anomalyst_does(plain, tmp_path):
    product = plain.teach("flange", sorted((FLANGE / "good").glob("*"))[:4], calibrated=False)
    product.save(tmp_path / "products" / "flange")
    export_product(plain, product, tmp_path / "out")
    pictures = spoilt(tmp_path)
    told = subprocess.run(
        [sys.executable, tmp_path / "out" / "runner.py", *pictures.values()],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    for line, (cause, path) in zip(lines, pictures.items(), strict=True):
        ours = plain.inspect(path, product)
        assert (ours.unfit.cause if ours.unfit else "fit") == cause
        expected = ours.unfit and {"cause": ours.unfit.cause, "said": ours.unfit.said}
        assert line["unfit"] == expected and line["verdict"] == ours.verdict
    assert "two are needed" not in (tmp_path / "out" / "README.md").read_text()
    found = check_export(plain, product, tmp_path / "out", list(pictures.values()))
    assert found.pictures == 6 and not found.verdicts


def test_a_folder_that_tells_no_dark_picture_is_found_out(plain, exported, tmp_path):
    product, folder = exported
    moved = shutil.copytree(folder, tmp_path / "moved")
    manifest = json.loads((moved / "manifest.json").read_text())
    manifest["fitness"]["good"] = []
    (moved / "manifest.json").write_text(json.dumps(manifest))
    dark = spoilt(tmp_path)["dark"]
    assert check_export(plain, product, folder, [dark]).verdicts == []
    assert check_export(plain, product, moved, [dark]).verdicts == [dark]


def test_the_engine_gives_the_whole_inspection(plain, exported):
    product, _ = exported
    built = Inspector.load(config=InspectorConfig(engine="onnx"))
    other = Product.load(product.folder)
    for picture in PICTURES[:3]:
        ours, theirs = plain.inspect(picture, product), built.inspect(picture, other)
        assert theirs.score == pytest.approx(ours.score, rel=1e-3)
        assert theirs.verdict == ours.verdict
        assert [(r.kind, r.place) for r in theirs.regions] == [
            (r.kind, r.place) for r in ours.regions
        ]
        for name, tensor in ours.shown.items():
            assert np.allclose(tensor, theirs.shown[name], atol=1e-2), name
        assert "network" in theirs.seconds


def test_auto_takes_what_was_built_and_torch_is_asked_for_by_name(exported):
    product, _ = exported
    once = Inspector.load().inspect(PICTURES[0], Product.load(product.folder))
    assert "network" in once.seconds
    torch = Inspector.load(config=InspectorConfig(engine="torch"))
    assert "decode" in torch.inspect(PICTURES[0], Product.load(product.folder)).seconds


def test_networks_of_before_or_half_gone_are_made_anew(exported, tmp_path):
    product = Product.load(shutil.copytree(exported[0].folder, tmp_path / "flange"))
    (network,) = (product.folder / "engines").glob("onnx-*/tile0.onnx")
    network.unlink()
    built = Inspector.load(config=InspectorConfig(engine="onnx"))
    assert "network" in built.inspect(PICTURES[0], product).seconds
    assert network.is_file()
    # As if they were of the product before it was taught again.
    network.parent.rename(network.parent.with_name("onnx-0123456789abcdef"))
    again = Product.load(product.folder)
    assert "decode" in Inspector.load().inspect(PICTURES[0], again).seconds
    assert "network" in built.inspect(PICTURES[0], again).seconds
    assert network.is_file() and len(list(network.parents[1].iterdir())) == 1


def test_an_export_of_another_product_is_not_compared(plain, exported):
    other = plain.teach("other", sorted((FLANGE / "good").glob("*"))[1:2])
    with pytest.raises(AnomalystError, match="was exported from another product"):
        check_export(plain, other, exported[1], PICTURES[:1])


def test_the_runner_refuses_a_picture_and_goes_on(exported, tmp_path):
    deep = tmp_path / "deep.png"
    cv2.imwrite(str(deep), np.zeros((64, 64), np.uint16))
    turned, upright = tmp_path / "turned.jpg", open_picture(PICTURES[0])
    with Image.open(PICTURES[0]) as image:
        exif = image.getexif()
        exif[0x0112] = 6  # shot on its side
        image.rotate(90, expand=True).save(turned, exif=exif, quality=100, subsampling=0)
    told = subprocess.run(
        [sys.executable, exported[1] / "runner.py", deep, tmp_path / "nothing.png", turned],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 2
    assert f"{deep}: one 8-bit grey or RGB picture" in told.stderr and "nothing.png" in told.stderr
    assert [json.loads(line)["image"] for line in told.stdout.splitlines()] == [str(turned)]
    read = open_runner(exported[1]).read(turned)
    assert read.shape == upright.shape and np.abs(read.astype(int) - upright).mean() < 3


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "webp"])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_the_runner_refuses_a_picture_that_is_cut_short(exported, tmp_path, suffix, share):
    whole, cut = tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
    with Image.open(PICTURES[0]) as image:
        image.save(whole)
    cut.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
    runner = open_runner(exported[1])
    assert runner.read(whole).shape == open_picture(whole).shape
    with pytest.raises(ValueError, match="not cut short"):
        runner.read(cut)


@pytest.mark.parametrize("manifest", ["{}", '{"files": {}}'])
def test_a_folder_with_another_manifest_is_not_replaced(plain, exported, tmp_path, manifest):
    (tmp_path / "manifest.json").write_text(manifest)
    (tmp_path / "index.html").write_text("a page")
    with pytest.raises(AnomalystError, match="holds (something else|more than an export)"):
        export_product(plain, exported[0], tmp_path)
    assert (tmp_path / "index.html").read_text() == "a page"
    with pytest.raises(AnomalystError, match="holds something else"):
        export_product(plain, exported[0], tmp_path / "index.html")


def test_exporting_again_replaces_the_export(plain, exported, tmp_path):
    for _ in range(2):
        manifest = export_product(plain, exported[0], tmp_path / "out", rate=0.025)
    assert "2.5 %" not in (tmp_path / "out" / "README.md").read_text()  # nothing is promised
    assert manifest["decision"]["rate"] == 0.025


def test_a_changed_or_missing_file_is_refused(exported, tmp_path):
    moved = shutil.copytree(exported[1], tmp_path / "moved")
    (moved / "tile0.onnx").write_bytes(b"something else")
    with pytest.raises(AnomalystError, match=r"tile0.onnx: is missing or was changed; export"):
        open_runner(moved)
    (moved / "tile0.onnx").unlink()
    with pytest.raises(AnomalystError, match=r"tile0.onnx: is missing"):
        open_runner(moved)
    with pytest.raises(AnomalystError, match="is no exported product"):
        open_runner(tmp_path)


def test_a_few_scores_become_a_line_that_is_exact_where_the_verdict_changes(plain):
    own = Calibration(scores=(-6.1, -6.0, -5.8, -5.9), method="leave-one-out")
    product = Product(
        name="x", encoder="embedded", fingerprint="", frame=None, pose="fixed",
        references=[Path("a")] * 4, features=[], calibration=own,
    )  # fmt: skip
    rule = decision_rule(plain, product, 0.05)
    assert rule["interpolate"] and rule["by"] == "score"
    for score in np.linspace(-7, -4, 50):
        read = np.interp(score, rule["scores"], rule["p_values"])
        true = own.estimated_p_value(float(score))
        assert read == pytest.approx(true, abs=0.01)
        assert own.verdict(float(read), 0.05) == own.verdict(true, 0.05)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["export", "nothing"], "there is no product 'nothing'"),
        (["inspect", str(PICTURES[0]), "--reference", str(PICTURES[0]), "--engine", "onx"],
         "'onx': is none of auto, torch, onnx, openvino; the nearest is 'onnx'"),
        (["inspect", str(PICTURES[0]), "--reference", str(PICTURES[0]), "--precision", "float23"],
         "the nearest is 'float32'"),
    ],
)  # fmt: skip
def test_wrong_words_name_the_nearest(asked, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, asked)
    assert told in str(result.exception)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_says_why(plain, exported, tmp_path):
    product, _ = exported
    with pytest.raises(AnomalystError, match=r"--format 'onxx': is none of openvino, onnx"):
        export_product(plain, product, tmp_path / "x", format="onxx")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(AnomalystError, match="holds something else"):
        export_product(plain, product, tmp_path / "mine")
    unsaved = plain.teach("new", product.references)
    with pytest.raises(AnomalystError, match="is not saved yet"):
        export_product(plain, unsaved, tmp_path / "x")
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_a_product_is_packed_without_what_was_built_for_this_machine(exported, tmp_path):
    from anomalyst.server.records.packing import pack, unpack

    product, _ = exported
    assert list((product.folder / "engines").glob("onnx-*/tile0.onnx"))
    pack("flange", product.folder.parent, tmp_path / "flange.zip")
    assert unpack(tmp_path / "flange.zip", tmp_path / "products") == "flange"
    assert not (tmp_path / "products" / "flange" / "engines").exists()


def test_a_product_taught_again_forgets_its_engines(plain, exported, tmp_path):
    product = plain.teach("flange", sorted((FLANGE / "good").glob("*"))[:1])
    product.save(tmp_path / "flange")
    shutil.copytree(exported[0].folder / "engines", tmp_path / "flange" / "engines")
    more = plain.teach("flange", sorted((FLANGE / "good").glob("*"))[1:2], product=product)
    more.save(tmp_path / "flange")
    assert not (tmp_path / "flange" / "engines").exists()
