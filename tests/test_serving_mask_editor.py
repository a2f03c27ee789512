"""The mask editor in a real browser: clicks, strokes, keys, fingers; what is kept comes back."""

import numpy as np
import pytest

from anomalyst.io.masks import packed, unpacked
from anomalyst.server.client import Client
from anomalyst.types import Mask
from serving import CHROMIUM, DEFECT, drop, open_page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
EDITOR = "document.querySelector('#inspect-masks .an-masks').anomalystEditor"
CRACK = (75, 140)  # a place of the picture that lies in the fracture
HOLE = (127, 130)  # and one in the large hole


# The editor is of the picture that is shown; after a drop it follows a moment later.
FOLLOWED = """() =>
    JSON.parse(document.querySelector('#inspect-masks [data-about]').dataset.about).id
    === document.querySelector('.an-viewer').dataset.id"""


def open_editor(page) -> None:
    page.wait_for_function(FOLLOWED)
    page.click("#inspect-masks [data-masks-open]")
    page.wait_for_selector("[data-part=said]:has-text('Click on the thing')")


def at(page, x: float, y: float) -> tuple[float, float]:
    """Where a place of the picture is on the page."""
    frame = page.locator(".an-board canvas").bounding_box()
    left, top = page.evaluate(f"{EDITOR}.canvas.toScreen({x}, {y})")
    return frame["x"] + left, frame["y"] + top


def drawn(page) -> np.ndarray:
    """What is drawn now and not kept yet: bool (H, W), by the page's own run lengths."""
    return unpacked(Mask.from_dict(page.evaluate(f"{EDITOR}.session._mask()")))


def stroke(page, start, end) -> None:
    page.mouse.move(*at(page, *start))
    page.mouse.down()
    page.mouse.move(*at(page, *end), steps=5)
    page.mouse.up()


def said(page, text: str) -> None:
    page.wait_for_selector(f"[data-part=said]:has-text('{text}')")


def boxed_and_clicked(page) -> np.ndarray:
    """A mask of the hole in the middle: by a box, then a click."""
    page.keyboard.press("x")
    stroke(page, (80, 80), (175, 175))
    page.wait_for_function(f"{EDITOR}.session.steps.length === 1")
    boxed = drawn(page)
    assert boxed.any() and boxed[80:175, 80:175].sum() > 0.9 * boxed.sum()
    page.click("[data-tool=plus]")
    page.mouse.click(*at(page, *HOLE))
    page.wait_for_function(f"{EDITOR}.session.steps.length === 2")
    return drawn(page)


def test_click_paint_erase_undo(page):
    drop(page, DEFECT)
    open_editor(page)
    clicked = boxed_and_clicked(page)
    assert clicked[HOLE[1], HOLE[0]]
    assert "predicted IoU" in page.text_content("[data-part=iou]")
    page.keyboard.press("b")
    stroke(page, (150, 40), (200, 40))
    painted = drawn(page)
    assert painted[40, 150:200].all() and painted.sum() > clicked.sum()
    page.keyboard.press("e")
    stroke(page, (150, 40), (200, 40))
    assert not drawn(page)[40, 150:200].any()
    page.keyboard.press("Control+z")
    assert (drawn(page) == painted).all()
    page.keyboard.press("Control+Shift+z")
    assert not drawn(page)[40, 150:200].any()
    page.click("[data-part=undo]")
    page.click("[data-part=undo]")
    assert (drawn(page) == clicked).all()


def test_what_is_kept_is_there_again_until_it_is_removed(page, server):
    drop(page, DEFECT)
    open_editor(page)
    clicked = boxed_and_clicked(page)
    page.fill("[data-part=label]", "scratch")
    page.click("[data-part=defect]")
    said(page, 'Kept as defect "scratch"')
    assert not drawn(page).any()
    page.keyboard.press("b")
    stroke(page, (120, 120), (180, 130))
    part = drawn(page)
    page.keyboard.press("Shift+Enter")
    said(page, "Kept as part")
    shown = page.evaluate(f"{EDITOR}.about.id")
    page.keyboard.press("Escape")
    page.wait_for_selector("#inspect-said :text('The mask is kept')")
    page.wait_for_selector("#inspect-view .an-reviewed:has-text('marked right')")
    page.wait_for_selector("#inspect-view .an-drawn", state="attached")
    with Client(server.address) as client:
        first, second = client.masks(shown)
    assert (first["what"], first["label"], first["by"]) == ("defect", "scratch", "local")
    assert first["tools"] == ["box", "click"] and second["what"] == "part"
    assert (unpacked(Mask.from_dict(first["mask"])) == clicked).all()
    assert (unpacked(Mask.from_dict(second["mask"])) == part).all()

    open_page(page, server, "history")
    page.click("#history-table [role=gridcell]:has-text('fracture-001.jpg') >> nth=0")
    page.wait_for_selector("#history-view .an-drawn", state="attached")
    page.goto(server.address)
    page.wait_for_function("document.querySelector('#inspect-product input')?.value")
    drop(page, DEFECT)  # another inspection: nothing is drawn on it yet
    page.wait_for_selector("#inspect-masks :text('none drawn yet')")


def test_masks_are_removed_in_the_editor_and_by_undo(page, server):
    page.wait_for_selector(".an-viewer[data-id]:not([data-id='None'])")
    before = page.evaluate("document.querySelector('.an-viewer').dataset.id")
    with Client(server.address) as bench:
        kept = bench.masks(before)
    drop(page, DEFECT)
    open_editor(page)
    page.keyboard.press("b")
    for y in (60, 160):
        stroke(page, (120, y), (180, y))
        page.keyboard.press("Enter")
        page.wait_for_selector(f"[data-part=saved] li >> nth={y // 160}")
    page.click("[data-part=saved] [data-remove] >> nth=0")
    said(page, "Removed")
    page.wait_for_selector("[data-part=saved] li >> nth=1", state="detached")  # one is left
    page.keyboard.press("b")
    stroke(page, (20, 20), (60, 20))
    page.keyboard.press("Enter")
    said(page, "Kept as defect")
    page.click("[data-act=close]")
    page.wait_for_selector("#inspect-masks :text('2 drawn')")
    page.click("#inspect-undo")
    page.wait_for_selector("#inspect-masks :text('1 drawn')")
    with Client(server.address) as bench:  # nothing is kept of the one that was shown before
        assert bench.masks(before) == kept


def test_what_cannot_be_is_told_and_taken_back(page):
    drop(page, DEFECT)
    open_editor(page)
    page.mouse.click(*at(page, *CRACK))
    said(page, "Found in")
    before = drawn(page)
    page.keyboard.press("s")
    page.mouse.click(*at(page, *CRACK))
    said(page, "is said to be on the thing and beside it")
    assert len(page.evaluate(f"{EDITOR}.session.state.points")) == 1
    assert (drawn(page) == before).all()
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    said(page, "Nothing is drawn yet")


def test_keys_alone_are_enough(page):
    drop(page, DEFECT)
    page.wait_for_timeout(1500)  # what comes with the result may take the focus
    page.press("#inspect-masks [data-masks-open]", "Enter")
    said(page, "Click on the thing")
    page.keyboard.press("b")
    for key in ("ArrowLeft", "ArrowLeft", "ArrowUp", " "):
        page.keyboard.press(key)
    x, y = page.evaluate(f"{EDITOR}.canvas.toPicture(...{EDITOR}.pointer.cursor)")
    dot = drawn(page)
    assert dot[int(y), int(x)] and dot.sum() < 2000
    page.keyboard.press("+")
    page.keyboard.press("+")
    zoomed = page.evaluate(f"{EDITOR}.canvas.scale / {EDITOR}.canvas.fitting")
    assert zoomed == pytest.approx(2.25)
    page.keyboard.press("0")
    with page.expect_request("**/segment") as asked:
        page.keyboard.press("1")  # the region that was found: its box is asked about
    box = page.evaluate(f"{EDITOR}.about.regions[0].box_xyxy")
    assert asked.value.post_data_json["box_xyxy"] == box
    page.keyboard.press("Escape")
    assert not drawn(page).any() and page.locator("dialog[open]").count() == 1
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog[open]", state="detached")


def test_fingers_tap_and_pinch(browser, server):
    context = browser.new_context(viewport={"width": 390, "height": 800}, has_touch=True)
    page = context.new_page()
    page.set_default_timeout(90_000)
    page.goto(server.address)
    page.wait_for_function("document.querySelector('#inspect-product input')?.value")
    drop(page, DEFECT)
    page.tap("#inspect-masks [data-masks-open]")
    said(page, "Click on the thing")
    page.touchscreen.tap(*at(page, *CRACK))
    said(page, "Found in")
    assert drawn(page)[CRACK[1], CRACK[0]]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(f"{EDITOR}.canvas.scale === {EDITOR}.canvas.fitting")  # all is seen
    frame, touch = page.locator(".an-board canvas").bounding_box(), context.new_cdp_session(page)
    middle = frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2
    for name, apart in (("touchStart", 40), ("touchMove", 80), ("touchMove", 120)):
        points = [{"x": middle[0] + s * apart, "y": middle[1], "id": s} for s in (-1, 1)]
        touch.send("Input.dispatchTouchEvent", {"type": name, "touchPoints": points})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_function(f"{EDITOR}.canvas.scale > 2.5 * {EDITOR}.canvas.fitting")
    assert len(page.evaluate(f"{EDITOR}.session.state.points")) == 1  # two fingers click nothing
    context.close()


def test_the_page_packs_masks_as_we_do(page):
    rng = np.random.default_rng(0)
    masks = [rng.random((13, 17)) < share for share in (0.0, 0.1, 0.5, 0.9, 1.0)]
    large = np.zeros((3000, 4000), bool)
    large[40:2900, 100:3900] = True
    for mask in (*masks, large):
        own = packed(mask)
        again = page.evaluate(
            """([[high, wide], counts]) => {
              const bits = new anomalyst.MaskBits(wide, high);
              bits.fill(anomalyst.unpackRuns(counts));
              return [anomalyst.packRuns(bits.runs()), bits.area()];
            }""",
            [list(own.size_hw), own.counts],
        )
        assert again == [own.counts, mask.sum()]
