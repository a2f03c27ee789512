"""All pages in a real browser: for those who cannot see them well, and in every language."""

import re
import time

import numpy as np
import pytest

from anomalyst.io.pictures import encoded
from anomalyst.server.client import Client
from anomalyst.server.records.judged import opinion
from anomalyst.server.storage.tables import CorrectionRow, InspectionRow
from serving import CHROMIUM, DEFECT, drop, new_server, open_page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
PAGES = ("", "products", "review", "history", "live", "training", "help")
# Names, units and abbreviations, the same in every language.
NAMES = """
Anomalyst anomalyst English Deutsch MQTT REST URL CSV Parquet JSON API AUROC UTC IoU PNG WAV Python
SPC PDF Excel flange good fracture broken off extra part misplaced px mm ms MB kHz zip png jpg wav
mqtt rtsp usb genicam plc coil opc tcp https http host docs api store key propose DIR report html
pdf overlay heatmap depth thermal Ctrl Shift Enter Esc Escape Space AnomalyGPT local disc bulb lines
scratch length spots at most any area steps batch north south
"""  # the last line: what rules, changes and lines are written in

# What Gradio tells screen readers of its own parts, in English alone.
GRADIO = (
    "Click to upload or drop files All Copy Download File Fullscreen Open Table Thumbnail "
    "actions cell data menu of table Dataframe copy"
)


@pytest.fixture(scope="module")
def server():
    """One of its own: pages open with the product whose part came last, and show names."""
    with new_server() as found:
        yield found


def opened(browser, server, name: str, *, wide: int = 1280, **kind):
    """A page, once what it loads is there."""
    context = browser.new_context(viewport={"width": wide, "height": 900}, **kind)
    page = context.new_page()
    page.set_default_timeout(90_000)
    open_page(page, server, name)
    page.wait_for_selector(".an-top")
    if name == "":
        page.wait_for_selector("#inspect-view .an-viewer")
    if name == "review":
        page.wait_for_selector("#review-view .an-viewer, #review-view .an-hint")
    if name == "products":
        page.wait_for_selector("#product-figures .an-tile")
        page.wait_for_selector("#learn-changed p")
    time.sleep(1.5)  # what is loading is faded until it is there
    return page


@pytest.mark.parametrize(
    ("wide", "theme"),
    [  # the quick tests see each pair of width and theme once: the others in test_serving_browser
        (1280, "light"),
        (390, "dark"),
        pytest.param(1280, "dark", marks=pytest.mark.slow),
        pytest.param(390, "light", marks=pytest.mark.slow),
    ],
)
def test_axe_finds_nothing_serious_and_nothing_overflows(browser, server, theme, wide):
    base = pytest.importorskip("axe_playwright_python.base")
    found = []
    for name in PAGES:
        page = opened(browser, server, name, wide=wide, color_scheme=theme)
        assert page.evaluate("document.documentElement.scrollWidth") <= wide, name
        page.evaluate(base.AXE_SCRIPT)
        broken = page.evaluate("axe.run(document).then((found) => found.violations)")
        found += [
            (name, one["id"], node["html"][:200], node["failureSummary"][:200])
            for one in broken
            for node in one["nodes"]
            if one["impact"] in ("serious", "critical")
        ]
        page.context.close()
    assert not found, "\n".join(map(str, found))


# What is seen or read aloud and not marked as English.
SAID_JS = """() => {
  const said = [], ours = 'code, pre, kbd, script, style, noscript, datalist, template';
  const english = (node) => node.closest('[lang=en]') || node.closest(ours);
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walk.nextNode());)
    if (!english(node.parentElement) && node.parentElement.checkVisibility())
      said.push(node.textContent);
  const names = ['aria-label', 'title', 'placeholder', 'alt'];
  for (const node of document.querySelectorAll(names.map((name) => `[${name}]`).join()))
    if (!english(node)) said.push(...names.map((name) => node.getAttribute(name) || ''));
  return said;
}"""


@pytest.mark.parametrize(
    "language", ["ja", *(pytest.param(one, marks=pytest.mark.slow) for one in ("ko", "zh"))]
)
def test_no_page_is_half_translated(browser, server, language):
    left = {}
    for name in PAGES:
        page = opened(browser, server, name, locale=language)
        if name == "":
            page.click("#inspect-masks [data-masks-open]")
        assert page.evaluate("document.documentElement.lang").startswith(language)
        words = re.findall(r"[A-Za-z]{2,}", "\n".join(page.evaluate(SAID_JS)))
        left[name] = sorted(set(words) - set(f"{NAMES} {GRADIO}".split()))
        page.context.close()
    assert not any(left.values()), left


def test_the_language_is_chosen_on_the_page_and_stays(browser, server):
    page = opened(browser, server, "", locale="en-US")
    page.select_option("[data-language]", "de")
    page.wait_for_selector("#inspect-right:has-text('Richtig')")
    assert page.evaluate("navigator.language") == "de"
    page.wait_for_selector("#inspect-view .an-pill:has-text('auffällig')")
    assert page.text_content("#inspect-talk .an-question") == "Is there a defect, and where?"
    page.goto(f"{server.address}/review")
    page.wait_for_selector("#review-right:has-text('Richtig')")
    assert page.input_value("[data-language]") == "de"
    page.context.close()


def test_the_first_page_opens_with_a_lit_answer_and_tries_another(browser, server):
    page = opened(browser, server, "")  # with the newest: not by us, if other tests came before
    page.click(f"[data-thumb='{DEFECT.name}']")
    page.wait_for_selector(f"#inspect-view .an-name:has-text('{DEFECT.name}')")
    with Client(server.address) as client:
        demo = [one.whole for one in client.history(source="demo")]
    assert (demo[-1]["name"], demo[-1]["by"]) == (DEFECT.name, "anomalyst")  # before anybody asked
    assert page.locator("rect.an-lit").count() == 1
    assert page.locator(".an-phrase.an-lit").count() >= 1
    first = page.get_attribute(".an-viewer", "data-id")
    page.keyboard.press("j")
    page.wait_for_selector(f".an-viewer:not([data-id='{first}'])")
    page.wait_for_selector("#inspect-talk .an-reply")
    page.keyboard.press("k")
    page.wait_for_selector(f".an-viewer[data-id='{first}']")  # the same record, not a new one
    page.context.close()


def test_the_picture_is_the_largest_thing_on_the_page(browser, server):
    page = opened(browser, server, "")
    area = "(one) => one.clientWidth * one.clientHeight"
    picture = page.eval_on_selector(".an-over", area)
    others = page.eval_on_selector_all(
        "#inspect-strip, #inspect-drop, #inspect-talk, #inspect-product, .an-regions, textarea",
        f"(all) => all.map({area})",
    )
    assert picture > max(others)
    page.context.close()


def test_zoom_shows_the_pictures_own_pixels(page, tmp_path):
    """A fine grid of a large picture is grey from afar; close by its lines are there."""
    page.set_default_timeout(90_000)  # 12 megapixels take a while
    drawn = np.full((3000, 4000, 3), 200, np.uint8)
    drawn[:, ::2] = 0  # every other column
    large = tmp_path / "lines.png"
    large.write_bytes(encoded(drawn, ".png"))
    drop(page, large)
    with page.expect_response("**/view.jpg?*") as answer:
        page.dblclick("#inspect-view .an-over", position={"x": 300, "y": 200})
    assert answer.value.ok
    page.wait_for_selector(".an-over .an-detail", state="attached")
    page.wait_for_function("document.querySelector('.an-over .an-detail').complete")
    assert page.evaluate(CONTRAST_JS, ".an-over .an-detail") > 3 * page.evaluate(
        CONTRAST_JS, ".an-over .an-base"
    )
    assert page.text_content("[data-zoomed]") != "100 %"
    page.keyboard.press("0")
    page.wait_for_function("document.querySelector('[data-zoomed]').textContent === '100 %'")


# How much neighbours along a row differ, of 255.
CONTRAST_JS = """(selector) => {
  const image = document.querySelector(selector);
  const pen = new OffscreenCanvas(400, 1).getContext('2d');
  pen.drawImage(image, 0, 0, 400, 1, 0, 0, 400, 1);
  const data = pen.getImageData(0, 0, 400, 1).data;
  let sum = 0;
  for (let i = 4; i < 1600; i += 4) sum += Math.abs(data[i] - data[i - 4]);
  return sum / 399;
}"""


def test_before_and_after_part_the_picture_where_the_slider_is(page):
    drop(page, DEFECT)
    page.click("[data-view-to=compare]")
    page.fill("[data-cut]", "100")
    assert "inset(0" in page.evaluate(
        "getComputedStyle(document.querySelector('.an-marked')).clipPath"
    )
    seen = page.locator(".an-over").screenshot()
    page.fill("[data-cut]", "0")
    assert page.locator(".an-over").screenshot() != seen
    page.keyboard.press("ArrowRight")  # it is a slider for the keyboard, too
    assert page.input_value("[data-cut]") == "0.5"


def test_review_by_keys_leads_back_and_calls_defective(page, server):
    drop(page, DEFECT)
    drop(page, DEFECT)
    open_page(page, server, "review")
    page.wait_for_selector("#review-view .an-viewer")
    first = page.get_attribute("#review-view .an-viewer", "data-id")
    page.keyboard.press("j")
    page.wait_for_selector(f"#review-view .an-viewer:not([data-id='{first}'])")
    second = page.get_attribute("#review-view .an-viewer", "data-id")
    page.keyboard.press("k")
    page.wait_for_selector(f"#review-view .an-viewer[data-id='{first}']")
    page.keyboard.press("d")
    page.wait_for_selector(f"#review-view .an-viewer[data-id='{second}']")
    page.keyboard.press("k")
    page.wait_for_selector(f"#review-view .an-viewer[data-id='{first}'] .an-reviewed")


def test_products_are_cards_that_say_their_state(browser, server):
    page = opened(browser, server, "products")
    page.wait_for_selector("[data-product=flange] .an-light")
    card = page.text_content("[data-product=flange]")
    assert "steady" in card and "inspected" in card and "drift" in card
    assert page.get_attribute("[data-product=flange]", "aria-pressed") == "true"
    page.context.close()


@pytest.mark.parametrize("verdict", ["normal", "unsure", "anomalous"])
def test_defect_calls_a_part_spoiled_whatever_the_verdict_was(verdict):
    said = CorrectionRow(kind="wrong", detail={"verdict": "anomalous", "called": "anomalous"})
    assert opinion(said, InspectionRow(verdict=verdict)) is True
    assert opinion(CorrectionRow(kind="wrong", detail={}), InspectionRow(verdict="unsure")) is None
