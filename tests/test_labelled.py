"""Labelled pictures: splits, modes, idx files, names that leak, drawn parts."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalyst.datasets.builders.parts import PartsConfig, plan_parts, write_parts
from anomalyst.datasets.idx import read_idx
from anomalyst.datasets.labelled import channels_of, open_labelled, read_labelled
from anomalyst.datasets.name_leaks import name_leaks
from anomalyst.errors import AnomalystError


def write(path: Path, size_wh: tuple[int, int] = (24, 24), mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size_wh, 90 if mode == "L" else (90, 20, 20)).save(path)


def folders(root: Path, counts: dict[str, int], **made) -> Path:
    number = 0
    for name, count in counts.items():
        for _ in range(count):
            number = (number * 7 + 3) % 1009
            write(root / name / f"{number:04d}.png", **made)
    return root


def idx(values: np.ndarray) -> bytes:
    head = b"\0\0\x08" + bytes([values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.tobytes()


def test_each_class_is_split_in_the_same_share_and_alike_for_a_seed(tmp_path):
    root = folders(tmp_path / "set", {"nut": 20, "bolt": 10})
    found = read_labelled(root)
    assert found.classes == ("bolt", "nut")
    counts = {(p, c): sum(x.label == c for x in part) for p, part in
              (("train", found.train), ("test", found.test)) for c in found.classes}  # fmt: skip
    assert counts == {("train", "bolt"): 8, ("train", "nut"): 16, ("test", "bolt"): 2,
                      ("test", "nut"): 4}  # fmt: skip
    assert not {x.path for x in found.train} & {x.path for x in found.test}
    assert read_labelled(root).test == found.test
    assert read_labelled(root, seed=1).test != found.test


def test_a_split_that_is_there_stays_and_good_comes_first(tmp_path):
    folders(tmp_path / "train", {"scratch": 4, "good": 6})
    folders(tmp_path / "test", {"scratch": 3, "good": 2})
    found = read_labelled(tmp_path)
    assert found.classes == ("good", "scratch")
    assert all("train" in x.path.parts for x in found.train) and len(found.test) == 5


def test_kinds_of_an_inspection_set_are_classes_or_one(tmp_path):
    folders(tmp_path / "train", {"good": 10})
    folders(tmp_path / "test", {"good": 5, "crack": 5, "stain": 5})
    folders(tmp_path / "ground_truth", {"crack": 5})
    kinds = read_labelled(tmp_path)
    assert kinds.classes == ("good", "crack", "stain")
    assert len(kinds.train) + len(kinds.test) == 25
    verdict = read_labelled(tmp_path, labels="verdict")
    assert verdict.classes == ("good", "defective")
    assert sum(x.label == "defective" for x in (*verdict.train, *verdict.test)) == 10


def test_idx_files_are_read_plain_and_gzipped(tmp_path):
    rng = np.random.default_rng(0)
    for prefix, count in (("train", 12), ("t10k", 6)):
        pictures = rng.integers(0, 255, (count, 28, 28), dtype=np.uint8)
        (tmp_path / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pictures)))
        labels = np.arange(count, dtype=np.uint8) % 3
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels))
    found = read_labelled(tmp_path)
    assert found.classes == ("0", "1", "2") and channels_of(found.train) == 1
    opened = open_labelled(found.test, found.classes, 28, 1)
    assert (opened.pixels[..., 0] == pictures).all() and opened.labels.tolist() == [
        0,
        1,
        2,
        0,
        1,
        2,
    ]
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(AnomalystError, match="t10k-labels-idx1-ubyte.* is missing"):
        read_labelled(tmp_path)


def digits(root: Path, prefix: str, labels: list[int], shade: int) -> None:
    """Pictures of which each has a shade of its own, from `shade` on."""
    shades = np.arange(shade, shade + len(labels), dtype=np.uint8)[:, None, None]
    (root / f"{prefix}-images-idx3-ubyte").write_bytes(idx(shades.repeat(28, 1).repeat(28, 2)))
    (root / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(np.array(labels, np.uint8)))


def test_idx_files_of_other_classes_are_split_anew_each_row_from_its_own_file(tmp_path):
    digits(tmp_path, "train", [0, 1] * 6, 0)
    digits(tmp_path, "t10k", [1, 2] * 8, 100)  # more rows than train has
    found = read_labelled(tmp_path)
    for part in (found.train, found.test):
        shades = [x.number + 100 * x.path.name.startswith("t10k") for x in part]
        opened = open_labelled(part, found.classes, 28, 1)
        assert opened.pixels[:, 0, 0, 0].tolist() == shades
    assert len({x.path for x in found.train}) == 2


@pytest.mark.parametrize("prefix", ["train", "t10k"])
def test_one_pair_of_idx_files_is_split(tmp_path, prefix):
    digits(tmp_path, prefix, [0, 1] * 10, 0)
    found = read_labelled(tmp_path)
    assert (len(found.train), len(found.test)) == (16, 4)
    assert not {x.name for x in found.train} & {x.name for x in found.test}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [(b"PNG", "is no idx file"), (idx(np.zeros((2, 3), np.uint8))[:-1], "5 bytes .* 2x3 .* need 6"),
     (b"\0\0\x08\x02\0\0", "cut short within its head")],
)  # fmt: skip
def test_broken_idx_files_are_refused(tmp_path, data, sentence):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(AnomalystError, match=sentence):
        read_idx(tmp_path / "x")


def test_mixed_sizes_and_modes_become_one_and_broken_files_are_named(tmp_path):
    folders(tmp_path / "a", {"x": 5})
    folders(tmp_path / "b", {"x": 2}, size_wh=(40, 30), mode="RGB")
    (tmp_path / "a" / "x" / "cut.png").write_bytes(b"\x89PNG\r\n")
    found = read_labelled(tmp_path)
    every = (*found.train, *found.test)
    opened = open_labelled(every, found.classes, 16, channels_of(every))
    assert opened.pixels.shape == (7, 16, 16, 1)
    said = " ".join(opened.notes)
    assert "2 sizes (5 of 24x24, 2 of 40x30); all are resized to 16x16" in said
    assert "5 pictures are grey, 2 coloured; all are made grey" in said and "cut.png" in said


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [({"only": 3}, "holds no two folders of pictures"), ({}, "no such folder"),
     ({"a": 5, "b": 1}, "class 'b' has one picture")],
)  # fmt: skip
def test_sets_that_cannot_be_learnt_are_refused(tmp_path, counts, sentence):
    root = folders(tmp_path / "set", counts)
    with pytest.raises(AnomalystError, match=sentence):
        read_labelled(root)


def test_names_that_tell_the_class_are_told_with_two_examples():
    names = [f"{k}_{i}.png" for k in ("scratch", "good") for i in (3, 1, 4)]
    [said] = name_leaks(names, ["scratch"] * 3 + ["good"] * 3)
    assert "'scratch_3.png' of 'scratch' and 'good_3.png' of 'good'" in said
    ranges = [f"img{i:03d}.png" for i in range(20)]
    [said] = name_leaks(ranges, ["a"] * 10 + ["b"] * 10)
    assert "'a' has 0 to 9, 'b' 10 to 19" in said
    assert not name_leaks(ranges, ["a", "b"] * 10)
    assert not name_leaks([f"{i:03d}.png" for i in range(8)] * 2, ["a"] * 8 + ["b"] * 8)


def test_drawn_parts_are_balanced_repeatable_and_their_names_do_not_leak(tmp_path):
    config = PartsConfig(count=24, by_kind=True, kinds=("stain", "hole"), size_px=48)
    one, two = tmp_path / "one", tmp_path / "two"
    filled = write_parts(one, config, workers=1)
    write_parts(two, config, workers=1)
    assert filled.made_now == 24 and not write_parts(one, config, workers=1).made_now
    files = sorted(p.relative_to(one) for p in one.rglob("*.png"))
    assert all((one / f).read_bytes() == (two / f).read_bytes() for f in files)
    found = read_labelled(one)
    assert found.classes == ("good", "hole", "stain") and not found.notes
    assert (len(found.train), len(found.test)) == (19, 5)
    rows = (one / "train" / "hole" / "index.csv").read_text()
    assert "box_xyxy" in rows and "hole" in rows
    with pytest.raises(AnomalystError):
        write_parts(one, PartsConfig(count=30, size_px=48))
    assert len({j.number for j in plan_parts(config)}) == 24


def test_parts_that_cannot_be_drawn_are_refused(refused, tmp_path):
    assert "no defect 'rust'" in refused("data", "parts", tmp_path / "x", "--kind", "rust")
    assert "there is no family" in refused("data", "parts", tmp_path / "x", "--family", "cheese")
    assert not (tmp_path / "x").exists()
    assert "at least one of each" in refused("data", "parts", tmp_path / "x", "--count", "3")


def test_a_set_that_changes_has_another_fingerprint(tmp_path):
    root = folders(tmp_path / "set", {"nut": 6, "bolt": 6})
    mark = read_labelled(root).fingerprint()
    write(root / "nut" / "9999.png")
    assert read_labelled(root).fingerprint() != mark
