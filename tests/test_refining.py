"""Regions' crisp masks, panoptic labels, and the commands that write them, on real pictures."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from anomalyst.cli.main import app
from anomalyst.detection.regions import find_regions
from anomalyst.evaluation.benchmarks.segmentation import boundary_f, next_click
from anomalyst.inspection.refining import masks_of, refined, view_of
from anomalyst.io.masks import mask_iou, unpacked
from anomalyst.segmentation.prompts import Segment
from anomalyst.types import Mask

DEMO = Path("src/anomalyst/demo")


class Answers:
    """A segmenter that answers each look with the next of some masks."""

    name = "answers"

    def __init__(self, masks, quality):
        self.masks, self.quality, self.asked = list(masks), quality, []

    def look(self, picture, view=None):
        self.view, self.size_hw = view, picture.shape[:2]
        return self

    def segment(self, prompt):
        self.asked.append(prompt.checked(self.size_hw))
        x0, y0, x1, y1 = self.view
        logits = np.where(self.masks.pop(0)[y0:y1, x0:x1], 5.0, -5.0).astype(np.float32)
        return (Segment(logits=logits, view_xyxy=self.view, size_hw=self.size_hw,
                        iou=self.quality),)  # fmt: skip


def blurred(*boxes, size_hw=(120, 160)):
    """A map with a soft blob over each box."""
    heat = np.zeros(size_hw, np.float32)
    for x0, y0, x1, y1 in boxes:
        heat[y0:y1, x0:x1] = 1
    return cv2.GaussianBlur(heat, (0, 0), 4)


def box_mask(box, size_hw=(120, 160)):
    mask = np.zeros(size_hw, bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def test_a_region_takes_the_shape_of_its_mask():
    heat, truth = blurred((50, 40, 80, 60)), box_mask((52, 42, 78, 58))
    [raw] = find_regions(heat, 0.5)
    segmenter = Answers([truth], 0.9)
    [crisp] = refined([raw], np.zeros((120, 160, 3), np.uint8), heat, segmenter)
    assert crisp.box_xyxy == (52, 42, 78, 58)
    assert crisp.area_px == truth.sum()
    assert crisp.centre_xy == (65, 50)
    assert (unpacked(crisp.mask) == truth).all()
    assert (masks_of([crisp], heat)[0] == truth).all()
    prompt = segmenter.asked[0]
    assert prompt.box_xyxy == raw.box_xyxy and prompt.positive == (True,)
    assert prompt.mask[50, 65] == heat[50, 65] and prompt.mask[0, 0] == 0


@pytest.mark.parametrize(
    ("answer", "quality"), [((52, 42, 78, 58), 0.1), ((100, 90, 120, 110), 0.9)]
)
def test_what_is_not_trusted_or_lies_elsewhere_leaves_the_region(answer, quality):
    heat = blurred((50, 40, 80, 60))
    regions = find_regions(heat, 0.5)
    picture = np.zeros((120, 160, 3), np.uint8)
    assert refined(regions, picture, heat, Answers([box_mask(answer)], quality)) == regions


def test_regions_of_one_thing_become_one():
    heat = blurred((20, 40, 50, 60), (70, 40, 100, 60), (130, 90, 150, 110))
    regions = find_regions(heat, 0.5)
    whole, other = box_mask((22, 42, 98, 58)), box_mask((132, 92, 148, 108))
    place = {True: other, False: whole}
    masks = [place[one.box_xyxy[0] > 110] for one in regions]
    found = refined(regions, np.zeros((120, 160, 3), np.uint8), heat, Answers(masks, 0.9))
    assert sorted(one.box_xyxy for one in found) == [(22, 42, 98, 58), (132, 92, 148, 108)]


def test_a_view_shows_what_lies_around_and_stays_on_the_picture():
    assert view_of((100, 100, 140, 120), (400, 600)) == (70, 70, 170, 150)
    x0, y0, x1, y1 = view_of((0, 0, 4, 4), (20, 20))
    assert (x0, y0) == (0, 0) and x1 <= 20 and y1 <= 20


def test_boundary_f_allows_a_small_shift_and_clicks_go_to_the_largest_error():
    mask = box_mask((40, 30, 90, 80))
    assert mask_iou(mask, mask) == 1 and boundary_f(mask, mask) == 1
    moved = np.roll(mask, 1, 1)
    assert boundary_f(moved, mask) == 1 and boundary_f(np.roll(mask, 12, (0, 1)), mask) < 0.4
    place, positive = next_click(np.zeros_like(mask), mask)
    assert positive and mask[int(place[1]), int(place[0])]
    place, positive = next_click(mask | box_mask((100, 10, 150, 110)), mask)
    assert not positive and place[0] > 100


def run(*words):
    result = CliRunner().invoke(app, [str(one) for one in words])
    assert result.exit_code == 0, result.output
    return result.output


def test_inspect_refines_and_labels_real_pictures(tmp_path):
    good = next((DEMO / "flange" / "good").iterdir())
    defect = next(p for p in sorted((DEMO / "flange" / "test").iterdir()) if "good" not in p.name)
    run("inspect", defect, "--reference", good, "--panoptic", "--out", tmp_path)
    record = json.loads((tmp_path / f"{defect.stem}.json").read_text())
    assert record["regions"] and "refine" in record["seconds"]
    for region in record["regions"]:
        if region["mask"]:
            mask = unpacked(Mask.from_dict(region["mask"]))
            x0, y0, x1, y1 = region["box_xyxy"]
            assert mask.sum() == region["area_px"] and mask[y0:y1, x0:x1].sum() == mask.sum()
    label = json.loads((tmp_path / f"{defect.stem}.panoptic.json").read_text())
    coded = cv2.imread(str(tmp_path / f"{defect.stem}.panoptic.png"))[..., ::-1].astype(int)
    numbers = coded[..., 0] + 256 * coded[..., 1] + 65536 * coded[..., 2]
    assert set(np.unique(numbers)) == {one["id"] for one in label["segments_info"]}
    for one in label["segments_info"]:
        assert (numbers == one["id"]).sum() == one["area"]
    assert {"background", "product"} <= {one["name"] for one in label["categories"]}
    assert any("region" in one for one in label["segments_info"])
    assert (tmp_path / f"{defect.stem}.parts.png").exists()


def test_segment_writes_the_mask_of_a_click(tmp_path):
    good = next((DEMO / "flange" / "good").iterdir())
    picture = cv2.imread(str(good))
    middle = f"{picture.shape[1] // 2},{picture.shape[0] // 2}"
    out = tmp_path / "mask.png"
    said = json.loads(run("segment", good, "--point", middle, "--out", out, "--json"))
    assert len(said) == 3 and said[0]["iou"] >= said[1]["iou"]
    mask = cv2.imread(str(out), 0)
    assert mask.shape == picture.shape[:2]
    assert (unpacked(Mask.from_dict(said[0]["mask"])) == (mask > 127)).all()
    for words, wrong in (
        (["--point", "5"], "2 numbers"),
        (["--point", "9999,5"], "outside the picture"),
        (["--everything", "--point", "5,5"], "needs no prompt"),
        ([], "nothing was asked"),
        (["--view", "0,0,4,4", "--point", "2,2"], "look at more"),
    ):
        result = CliRunner().invoke(app, ["segment", str(good), *words, "--out", str(out)])
        told = result.output + str(result.exception)
        assert result.exit_code and wrong in told, told
