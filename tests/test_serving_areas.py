"""A product's areas over REST, by the client and on the page."""

import subprocess
import sys

import numpy as np
import pytest

from anomalyst.io.masks import packed
from anomalyst.server.client import Client
from serving import CHROMIUM, DEFECT, GOOD, send

GOOD_PICTURES = 2  # that the service's product is taught from
API = "/api/v1/products/flange/areas"


def test_areas_are_set_told_and_respected(client, service):
    assert client.get(API).json() == {
        "height_px": 256, "width_px": 256, "areas": [], "on_product": False, "told": "",
    }  # fmt: skip
    first = send(client, DEFECT.read_bytes()).json()
    x0, y0, x1, y1 = first["record"]["regions"][0]["box_xyxy"]
    wide = [max(0, x0 - 25), max(0, y0 - 25), min(256, x1 + 25), min(256, y1 + 25)]
    corners = [[wide[0], wide[1]], [wide[2], wide[1]], [wide[2], wide[3]], [wide[0], wide[3]]]
    zone = {"name": "fracture", "use": "ignore", "points_xy": corners}
    mask = np.zeros((256, 256), bool)
    mask[:20, :20] = True
    label = {"name": "label", "use": "ignore", "mask": packed(mask).as_dict()}
    said = client.put(API, json={"areas": [zone, label]})
    assert said.status_code == 200, said.text
    assert said.json()["told"] == "2 areas are ignored: fracture, label."
    assert said.json() == client.get(API).json()
    again = send(client, DEFECT.read_bytes()).json()
    assert again["score"] < first["score"] and again["record"]["ignored"]["size"] == [256, 256]
    assert again["record"]["answer"].endswith("2 areas are ignored: fracture, label.")
    for region in again["record"]["regions"]:
        x, y = region["centre_xy"]
        assert not (wide[0] + 12 < x < wide[2] - 12 and wide[1] + 12 < y < wide[3] - 12)
    assert service.store.changes("flange", 1)[0].kind == "areas"
    assert client.put(API, json={"areas": []}).json()["told"] == ""


@pytest.mark.parametrize(
    ("areas", "status", "sentence"),
    [
        ([{"name": "a", "use": "ignore", "points_xy": [[1, 1], [2, 2]]}], 422, "needs 3 to"),
        (
            [{"name": "a", "use": "roi", "points_xy": [[1, 1], [9, 9], [9, 1], [1, 9]]}],
            422,
            "crosses itself",
        ),
        ([{"name": "a", "use": "roi", "mask": {"size": [9, 9], "counts": "11"}}], 422, "9x9"),
        ([{"name": "a", "use": "roi", "mask": {"size": [256], "counts": 7}}], 422, "COCO"),
        ([{"name": "a", "use": "blind", "points_xy": []}], 422, "ignore"),
    ],
)
def test_what_is_no_area_is_refused_in_a_sentence(client, areas, status, sentence):
    found = client.put(API, json={"areas": areas})
    assert found.status_code == status and sentence in found.text
    assert client.get(API).json()["areas"] == []


def test_the_front_process_checks_areas_without_torch(client):
    assert client.get("/api/v1/products/flang/areas").status_code == 404
    code = "import anomalyst.server.service, sys; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_polygon_is_drawn_moved_undone_named_and_saved(browser, server):
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(90_000)
    page.goto(f"{server.address}/products")
    page.wait_for_function("document.querySelector('#product-chosen input')?.value")
    page.click("#product-areas-open button")
    page.wait_for_selector(".an-areas[data-ready]")
    canvas = page.locator(".an-areas canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    for x, y in ((0.1, 0.1), (0.4, 0.1), (0.4, 0.4), (0.9, 0.9)):
        canvas.click(position={"x": x * box["width"], "y": y * box["height"]})
    page.keyboard.press("Backspace")  # the last point was one too many
    page.keyboard.press("c")
    page.fill(".an-areas-list input", "cable")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    corner = box["x"] + 0.1 * box["width"], box["y"] + 0.1 * box["height"]
    page.mouse.move(*corner)
    page.mouse.down()
    page.mouse.move(corner[0] + 20, corner[1], steps=3)
    page.mouse.up()
    for _ in range(5):
        page.keyboard.press("ArrowRight")  # the point that is held
    page.click("[data-act=save]")
    page.wait_for_selector("[data-said]:has-text('1 area is ignored: cable.')")
    page.goto(server.address)
    page.wait_for_function("document.querySelector('#inspect-product input')?.value")
    page.set_input_files("#inspect-drop input[type=file]", str(GOOD))
    page.wait_for_selector(".an-ignored")
    assert "1 area is ignored: cable." in page.text_content(".an-answer")
    page.close()
    with Client(server.address) as bench:
        product = bench.products()[0]["name"]
        [area] = bench.areas(product)["areas"]
        xs = sorted(x for x, _ in area["points_xy"])
        moved = 25.6 + 20 * 256 / box["width"] + 5
        assert area["name"] == "cable" and len(xs) == 3 and xs[0] == pytest.approx(moved, abs=2)
        assert bench.set_areas(product, [])["areas"] == []
