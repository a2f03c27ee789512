"""Published sets are read as they are downloaded: tiny drawn trees of the published structure."""

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from anomalyst.cli.main import app
from anomalyst.datasets import layout_of, read_dataset
from anomalyst.datasets.checks import check
from anomalyst.errors import AnomalystError, PictureError
from anomalyst.io.pictures import open_mask
from anomalyst.senses.fields import read_field

SIDE = 32
RNG = np.random.default_rng(0)


def draw(root: Path, *names: str) -> None:
    """A picture of noise at each path."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), RNG.integers(60, 200, (SIDE, SIDE, 3), np.uint8))


def mark(root: Path, name: str, *rows: int, value: int = 255) -> None:
    """A mask that marks some rows; without any a black one."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[list(rows)] = value
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(root / name), mask)


def mvtec_3d(root: Path) -> None:
    for n in range(3):
        for where in ("train/good", "validation/good", "test/good", "test/hole"):
            draw(root, f"bagel/{where}/rgb/{n:03}.png")
            positions = RNG.uniform(0.4, 0.5, (SIDE, SIDE, 3)).astype(np.float32)
            (root / f"bagel/{where}/xyz").mkdir(exist_ok=True)
            cv2.imwrite(str(root / f"bagel/{where}/xyz/{n:03}.tiff"), positions)
        mark(root, f"bagel/test/good/gt/{n:03}.png")
        mark(root, f"bagel/test/hole/gt/{n:03}.png", 3, 4)
    (root / "bagel/calibration").mkdir()
    (root / "bagel/calibration/camera_parameters.json").write_text("{}")


def mvtec_loco(root: Path) -> None:
    for n in range(3):
        draw(root, f"juice/train/good/{n:03}.png", f"juice/validation/good/{n:03}.png")
        draw(root, f"juice/test/good/{n:03}.png", f"juice/test/logical_anomalies/{n:03}.png")
        mark(root, f"juice/ground_truth/logical_anomalies/{n:03}/000.png", 3, value=255)
        mark(root, f"juice/ground_truth/logical_anomalies/{n:03}/001.png", 9, 10, value=240)
    (root / "juice/defects_config.json").write_text("[]")


def mvtec_ad2(root: Path) -> None:
    for n in range(3):
        draw(root, f"can/train/good/{n:03}_regular.png", f"can/validation/good/{n:03}_regular.png")
        for light in ("regular", "shift_1"):
            draw(root, f"can/test_public/good/{n:03}_{light}.png")
            draw(root, f"can/test_public/bad/{n:03}_{light}.png")
            mark(root, f"can/test_public/ground_truth/bad/{n:03}_{light}_mask.png", 5)
        draw(root, f"can/test_private/{n:03}_regular.png")
        draw(root, f"can/test_private_mixed/{n:03}_mixed.png")


def btad(root: Path) -> None:
    for n in range(3):
        draw(root, f"01/train/ok/{n:04}.bmp", f"01/test/ok/{n:04}.bmp", f"01/test/ko/{n:04}.bmp")
        mark(root, f"01/ground_truth/ko/{n:04}.png", 7)


def dagm(root: Path) -> None:
    for split in ("Train", "Test"):
        draw(root, *(f"Class1/{split}/{n:04}.PNG" for n in range(1, 7)))
        mark(root, f"Class1/{split}/Label/0002_label.PNG", 4, 5)
        (root / f"Class1/{split}/Label/Labels.txt").write_text("1\n2\t1\t0002.PNG\t0\t0002_label\n")


def kolektor_sdd(root: Path) -> None:
    for item in ("kos01", "kos02"):
        for n in range(5):
            draw(root, f"{item}/Part{n}.jpg")
            mark(root, f"{item}/Part{n}_label.bmp", *([6] if n == 3 else []))


def kolektor_sdd2(root: Path) -> None:
    for split, first in (("train", 10000), ("test", 20000)):
        for n in range(first, first + 5):
            draw(root, f"{split}/{n}.png")
            mark(root, f"{split}/{n}_GT.png", *([6] if n == first + 3 else []))


def real_iad(root: Path) -> None:
    name = "audiojack_{:04}_{}_C{}_2023.{}"
    listed: dict[str, list[dict[str, object]]] = {"train": [], "test": []}
    for part in range(1, 6):
        for view in (1, 2):
            good = f"OK/S{part:04}/{name.format(part, 'OK', view, 'jpg')}"
            bad = f"NG/BX/S{part:04}/{name.format(part, 'NG_BX', view, 'jpg')}"
            mask = bad.replace(".jpg", ".png")
            draw(root, f"realiad_256/audiojack/{good}", f"realiad_256/audiojack/{bad}")
            mark(root, f"realiad_256/audiojack/{mask}", 8)
            listed["train" if part < 3 else "test"].append(
                {"category": "audiojack", "anomaly_class": "OK", "image_path": good,
                 "mask_path": None}
            )  # fmt: skip
            listed["test"].append(
                {"category": "audiojack", "anomaly_class": "BX", "image_path": bad,
                 "mask_path": mask}
            )  # fmt: skip
    file = root / "realiad_jsons/realiad_jsons/audiojack.json"
    file.parent.mkdir(parents=True)
    meta = {"prefix": "audiojack/", "normal_class": "OK", "pre_transform": "x"}
    file.write_text(json.dumps({"meta": meta, **listed}))


def visa(root: Path) -> None:
    draw(root, *(f"candle/Data/Images/Normal/{n:04}.JPG" for n in range(5)))
    draw(root, *(f"candle/Data/Images/Anomaly/{n:03}.JPG" for n in range(3)))
    for n in range(3):
        mark(root, f"candle/Data/Masks/Anomaly/{n:03}.png", 9, value=2)
    lines = [
        *(f"candle/Data/Images/Normal/{n:04}.JPG,normal," for n in range(5)),
        *(f"candle/Data/Images/Anomaly/{n:03}.JPG,melt,candle/Data/Masks/Anomaly/{n:03}.png"
          for n in range(3)),
    ]  # fmt: skip
    (root / "candle/image_anno.csv").write_text("\n".join(["image,label,mask", *lines]))


def visa_split(root: Path) -> None:
    """The same with the official split, in a table that went through a Windows spreadsheet."""
    visa(root)
    rows = ["object;split;label;image;mask"]
    for n in range(5):
        split = "train" if n < 3 else "test"
        rows.append(rf"candle;{split};normal;candle\Data\Images\Normal\{n:04}.JPG;")
    for n in range(3):
        image, mask = (rf"candle\Data\{k}\Anomaly\{n:03}" for k in ("Images", "Masks"))
        rows.append(rf"candle;test;anomaly;{image}.JPG;{mask}.png")
    (root / "split_csv").mkdir()
    (root / "split_csv" / "1cls.csv").write_text("\ufeff" + "\r\n".join(rows), "utf-16")


# layout -> how it is drawn; (split, label) -> pictures; masks
SETS = {
    "mvtec-3d": (mvtec_3d, {"train normal": 6, "test normal": 3, "test anomalous": 3}, 3),
    "mvtec-loco": (mvtec_loco, {"train normal": 6, "test normal": 3, "test anomalous": 3}, 3),
    "mvtec-ad2": (
        mvtec_ad2, {"train normal": 6, "test normal": 6, "test anomalous": 6, "test None": 6}, 6,
    ),
    "btad": (btad, {"train normal": 3, "test normal": 3, "test anomalous": 3}, 3),
    "dagm": (
        dagm, {"train normal": 5, "train anomalous": 1, "test normal": 5, "test anomalous": 1}, 2,
    ),
    "kolektor-sdd": (kolektor_sdd, {"train normal": 7, "test normal": 1, "test anomalous": 2}, 2),
    "kolektor-sdd2": (
        kolektor_sdd2,
        {"train normal": 4, "train anomalous": 1, "test normal": 4, "test anomalous": 1}, 2,
    ),
    "real-iad": (real_iad, {"train normal": 4, "test normal": 6, "test anomalous": 10}, 10),
    "visa": (visa, {"train normal": 4, "test normal": 1, "test anomalous": 3}, 3),
    "visa split": (visa_split, {"train normal": 3, "test normal": 2, "test anomalous": 3}, 3),
}  # fmt: skip


@pytest.fixture(params=SETS)
def published(request, tmp_path):
    """(layout, its folder, what it holds)."""
    write, counts, masks = SETS[request.param]
    root = tmp_path / "download"
    root.mkdir()
    write(root)
    return request.param.partition(" ")[0], root, counts, masks


def counted(samples) -> dict[str, int]:
    return dict(Counter(f"{s.split} {s.label}" for s in samples))


def test_a_published_set_is_known_and_read_by_itself(published, tmp_path):
    layout, root, counts, masks = published
    assert layout_of(root) == layout
    samples = read_dataset(root)
    assert counted(samples) == counts
    assert all(s.image.is_file() and s.category for s in samples)
    marked = [s for s in samples if s.mask is not None]
    assert len(marked) == masks and all(s.label == "anomalous" and s.defect for s in marked)
    assert all(open_mask(s.mask, (SIDE, SIDE)).any() for s in marked)
    report = check(root)
    assert report.layout == layout and not report.masks_orphaned
    assert sum(c.masks_read for c in report.categories) == masks
    assert not [f for c in report.categories for f in (*c.broken, *c.masks_broken)]
    # An archive may wrap the set in a folder, and a category alone is a set, too.
    wrapped = tmp_path / "archive"
    wrapped.mkdir()
    root.rename(wrapped / root.name)
    assert layout_of(wrapped) == layout and counted(read_dataset(wrapped)) == counts
    assert check(wrapped).categories[0].counts


def test_a_published_set_is_converted_with_its_masks(published, tmp_path):
    layout, root, counts, masks = published
    out = tmp_path / "out"
    found = CliRunner().invoke(app, ["data", "convert", "auto", str(root), str(out)])
    assert found.exit_code == 0, found.output
    assert ("6 pictures without a label were left out" in found.output) == (layout == "mvtec-ad2")
    samples = read_dataset(out)
    assert layout_of(out) == "mvtec"
    known = {key: n for key, n in counts.items() if not key.endswith("None")}
    assert counted(samples) == known
    before = {s.image.read_bytes(): s for s in read_dataset(root)}
    for sample in samples:
        source = before[sample.image.read_bytes()]
        assert (source.label, source.defect, source.split) == (
            sample.label, sample.defect, sample.split,
        )  # fmt: skip
        if sample.mask is not None and source.mask is not None:
            one, other = (open_mask(s.mask, (SIDE, SIDE)) for s in (sample, source))
            assert (one == other).all()
    assert sum(s.mask is not None for s in samples) == masks


def test_several_masks_of_a_picture_are_joined(tmp_path):
    mvtec_loco(tmp_path)
    sample = read_dataset(tmp_path)[-1]
    mask = open_mask(sample.mask, (SIDE, SIDE))
    assert np.flatnonzero(mask.any(1)).tolist() == [3, 9, 10] and mask.sum() == 3 * SIDE
    assert check(tmp_path).findings() == []  # other greys for other defects are no grey mask
    cv2.imwrite(str(sample.mask / "002.png"), np.zeros((8, 8), np.uint8))
    with pytest.raises(PictureError, match=r"002.png: this mask is 8x8 pixels"):
        open_mask(sample.mask, (SIDE, SIDE))
    (tmp_path / "empty").mkdir()
    with pytest.raises(PictureError, match="empty: holds no mask"):
        open_mask(tmp_path / "empty", (SIDE, SIDE))


def test_what_names_and_folders_say_is_kept(tmp_path):
    for name, write in (("2", mvtec_ad2), ("3d", mvtec_3d), ("iad", real_iad)):
        (tmp_path / name).mkdir()
        write(tmp_path / name)
    ad2, depth, iad = (read_dataset(tmp_path / name) for name in ("2", "3d", "iad"))
    assert {s.extra["light"] for s in ad2} == {"regular", "shift_1", "mixed"}
    assert {s.extra["published_split"] for s in ad2 if s.label is None} == {
        "test_private", "test_private_mixed",
    }  # fmt: skip
    assert {s.extra["view"] for s in iad} == {"C1", "C2"} and iad[0].extra["part"] == "S0001"
    for sample in depth:
        assert Path(sample.extra["xyz"]).stem == sample.image.stem


def test_depth_is_the_third_of_a_position_and_no_position_is_a_hole(tmp_path):
    mvtec_3d(tmp_path)
    file = tmp_path / "bagel/train/good/xyz/000.tiff"
    positions = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)[..., ::-1].copy()  # x, y, z
    positions[4:6] = 0
    cv2.imwrite(str(file), positions[..., ::-1])
    np.save(tmp_path / "same.npy", positions)
    for one in (file, tmp_path / "same.npy"):
        field = read_field(one, "depth", "m")
        assert np.flatnonzero(field.holes.all(1)).tolist() == [4, 5]
        assert np.allclose(field.values[8:], positions[8:, :, 2] * 1000)
        with pytest.raises(PictureError, match="32x32x3 numbers; one channel"):
            read_field(one, "thermal", "C")


def test_real_iad_without_its_lists_keeps_the_pictures_of_a_part_together(tmp_path):
    real_iad(tmp_path)
    file = tmp_path / "realiad_jsons/realiad_jsons/audiojack.json"
    for text in ("{", "[]", '{"train": [{}]}', '{"train": 3}', '{"train": [{"image_path": 1}]}'):
        file.write_text(text)
        with pytest.raises(AnomalystError, match=r"audiojack.json: is not one of Real-IAD's lists"):
            read_dataset(tmp_path)
    file.unlink()
    samples = read_dataset(tmp_path / "realiad_256" / "audiojack")
    assert counted(samples) == {"train normal": 8, "test normal": 2, "test anomalous": 10}
    assert {s.extra["part"] for s in samples if s.split == "train"} == {
        "S0001", "S0002", "S0003", "S0004",
    }  # fmt: skip


def test_a_broken_or_missing_label_says_nothing(tmp_path):
    kolektor_sdd(tmp_path)
    (tmp_path / "kos01/Part0_label.bmp").write_bytes(b"BM no bitmap")
    (tmp_path / "kos01/Part1_label.bmp").unlink()
    (tmp_path / "kos02/Part4.jpg").unlink()
    samples = {s.image.relative_to(tmp_path).as_posix(): s for s in read_dataset(tmp_path)}
    assert samples["kos01/Part0.jpg"].label is None and samples["kos01/Part1.jpg"].label is None
    report = check(tmp_path)
    assert [f.path for f in report.categories[0].masks_broken] == ["kos01/Part0_label.bmp"]
    assert report.masks_orphaned == ("kos02/Part4_label.bmp",)


def test_pictures_of_one_name_are_told_apart_by_their_folders(tmp_path):
    kolektor_sdd(tmp_path / "set")
    found = CliRunner().invoke(
        app, ["data", "convert", "kolektor-sdd", str(tmp_path / "set"), str(tmp_path / "out")]
    )
    assert found.exit_code == 0, found.output
    names = {p.name for p in (tmp_path / "out").rglob("*.jpg")}
    assert {"kos01_Part0.jpg", "kos02_Part3.jpg"} <= names


def test_wrong_use_of_the_conversion_is_one_sentence(tmp_path):
    btad(tmp_path / "set")
    for words, said in (
        (["coco"], "no conversion from 'coco'; there are auto, manifest"),
        (["auto", "--train-share", "0.5"], "--train-share: the btad layout has a split"),
        (["mvtec-loco"], "holds no pictures in the mvtec-loco layout; looked for CATEGORY/valid"),
        (["btad", "--category", "09"], "has no category '09'; it has '01'"),
    ):
        places = [str(tmp_path / "set"), str(tmp_path / "out")]
        found = CliRunner().invoke(app, ["data", "convert", *words[:1], *places, *words[1:]])
        assert found.exit_code != 0 and said in str(found.exception) + found.output
        assert not (tmp_path / "out").exists()


def test_a_published_set_is_evaluated(tmp_path, monkeypatch):
    """Several masks, unlabelled pictures and conditions, through the command, once."""
    monkeypatch.chdir(tmp_path)
    mvtec_ad2(tmp_path / "set")
    mvtec_loco(tmp_path / "set2")
    for root, more in (("set", ["--by", "light"]), ("set2", [])):
        words = ["evaluate", root, "--shots", "1", "--seeds", "1", "--out", f"out/{root}", "--json"]
        found = CliRunner().invoke(app, [*words, *more])
        assert found.exit_code == 0, found.output
    found = json.loads((tmp_path / "out/set2/results.json").read_text())
    assert "pixel_ap" in json.dumps(found)
