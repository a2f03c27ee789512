"""The pages in a real browser: teach, inspect, ask, click, correct, find again; two at once."""

import time
from datetime import timedelta

import cv2
import numpy as np
import pytest

from anomalyst.server.client import Client
from anomalyst.server.config import ServingConfig
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import InspectionRow, now
from sensed import sound
from serving import CHROMIUM, DEFECT, FLANGE, GOOD, drop, open_page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


def test_inspect_ask_and_click_a_region(page):
    drop(page, DEFECT)
    assert page.text_content(".an-pill") == "anomalous"
    page.fill(
        "#inspect-question textarea, #inspect-question input", "Is there a defect, and where?"
    )
    page.keyboard.press("Enter")
    page.wait_for_selector(".an-phrase")
    page.click(".an-phrase >> nth=0")
    number = page.get_attribute(".an-phrase >> nth=0", "data-region")
    assert page.locator(f"rect.an-lit[data-region='{number}']").count() == 1
    assert page.locator(f"tr.an-lit[data-region='{number}']").count() == 1
    page.click(f"tr[data-region='{number}']")  # the same again: it goes out
    assert page.locator(".an-lit").count() == 0
    page.click(f"rect[data-region='{number}']")
    page.wait_for_selector(".an-likeness img >> nth=1")
    assert page.locator(".an-phrase.an-lit").count() == 1


def test_the_slider_and_the_views(page):
    drop(page, DEFECT)
    page.fill("[data-heat]", "0.2")
    assert page.evaluate("getComputedStyle(document.querySelector('.an-heat')).opacity") == "0.2"
    for view in ("beside", "mask", "plain", "overlay"):
        page.click(f"[data-view-to={view}]")
        assert page.get_attribute(".an-viewer", "data-view") == view


def test_answers_are_ranked_liked_and_said_better(page, server):
    drop(page, DEFECT)
    page.click("#inspect-up")
    page.wait_for_selector("text=nothing was asked about this part yet")
    page.click("button:has-text('How sure are you?')")
    page.wait_for_selector(".an-reply:has-text('sure')")
    page.click("#inspect-rank")
    page.wait_for_selector("#inspect-ranking .an-card")
    page.click("#inspect-rank-a label >> nth=0")
    page.click("#inspect-keep-ranking")
    page.wait_for_selector("text=answer B has no rank yet")
    for letter in "bcd"[: page.locator("#inspect-ranking .an-card:visible").count() - 1]:
        page.click(f"#inspect-rank-{letter} label >> nth=1")
    page.click("#inspect-keep-ranking")
    page.wait_for_selector("#inspect-said :text('Your ranking is kept')")
    page.wait_for_selector("#inspect-keep-ranking", state="hidden")
    page.click("text=Say it better")
    # the box is drawn when it is first opened, so it may not be there yet
    page.wait_for_function("document.querySelector('#inspect-better textarea')?.value")
    time.sleep(1.5)  # what opening it asked for has come, and nothing writes over what is typed
    page.fill("#inspect-better textarea", "There is no defect.")
    time.sleep(0.5)
    page.click("#inspect-reword")
    page.wait_for_selector("#inspect-said :text('goes against what was found')")
    with Client(server.address) as client:
        newest = next(client.history(product="flange"))
        said = client.request("GET", f"inspections/{newest.id}/feedback")
    assert {one["kind"] for one in said} == {"ranking", "answer"}
    assert next(one for one in said if one["kind"] == "ranking")["detail"]["ranks"][:2] == [1, 2]


def test_a_wrong_file_is_told_and_the_others_go_on(page, tmp_path):
    bad = tmp_path / "notes.png"
    bad.write_text("no picture")
    drop(page, bad, GOOD, DEFECT)
    page.wait_for_selector("text=notes.png: is not a picture")
    page.wait_for_selector("#inspect-list :text('good-000.jpg')")
    assert page.locator("#inspect-list :text('notes.png')").count() == 0


def test_a_part_that_sounds_and_glows_is_taught(page, server, tmp_path):
    rng, files = np.random.default_rng(0), []
    for i in range(2):
        heat = 30_000 + 10 * rng.normal(size=(48, 64))  # hundredths of a kelvin
        files += [sound(tmp_path / f"p{i}.wav", rng), tmp_path / f"p{i}_thermal.png"]
        cv2.imwrite(str(files[-1]), heat.astype(np.uint16))
    open_page(page, server, "products")
    page.fill("#teach-name textarea, #teach-name input", "bulb")
    page.set_input_files("#teach-drop input[type=file]", [str(one) for one in files])
    page.wait_for_selector("#teach-thermal-unit")
    assert not page.is_visible("#teach-rate") and not page.is_visible("#teach-depth-unit")
    page.click("#teach-go")
    page.wait_for_selector("text=say which one they hold")
    page.click("#teach-thermal-unit label >> nth=2")
    page.click("#teach-go")
    page.wait_for_selector("#teach-said :text('knows 2 good parts')")
    page.wait_for_selector("#product-figures :text('heat, sound')")
    page.wait_for_selector("#product-references :text('p1.wav')")
    with Client(server.address) as client:
        assert client.product("bulb")["senses"] == ["thermal", "audio"]
        client.delete_product("bulb")


def test_teach_correct_and_find_again(page, server):
    open_page(page, server, "products")
    page.fill("#teach-name textarea, #teach-name input", "disc")
    good = sorted((FLANGE / "good").glob("*.jpg"))[:2]
    page.set_input_files("#teach-drop input[type=file]", [str(one) for one in good])
    page.wait_for_selector("#teach-drop :text('001')")
    page.click("#teach-go")
    page.wait_for_selector("#teach-said :text('knows 2 good pictures')")
    page.wait_for_selector("#product-figures :text('good pictures')")

    open_page(page, server, "")
    page.wait_for_selector("#inspect-drop input[type=file]", state="attached")
    page.click("#inspect-product input")
    page.click("ul[role=listbox] >> text=disc")
    drop(page, DEFECT)
    before = page.text_content(".an-figures")
    page.click("#inspect-fine")
    page.wait_for_selector("#inspect-said :text('Learnt')")
    drop(page, DEFECT)
    page.wait_for_function(
        "before => document.querySelector('.an-figures')?.textContent !== before", arg=before
    )
    page.click("#inspect-undo")
    page.wait_for_selector("#inspect-said :text('Undone')")

    open_page(page, server, "history")
    page.click("#history-product input")
    page.click("ul[role=listbox] >> text=disc")
    page.wait_for_selector("#history-total :text('2 of 2')")
    page.click("#history-table [role=gridcell]:has-text('fracture-001.jpg') >> nth=0")
    page.wait_for_selector("#history-view .an-viewer")
    assert page.text_content("#history-view .an-name") == DEFECT.name


def test_the_history_finds_what_resembles_a_file_or_a_sentence(page, server):
    drop(page, GOOD, DEFECT)  # at once: a second drop may come before the field is empty again
    open_page(page, server, "history")
    page.wait_for_selector("#history-total :text(' of ')")
    page.click("text=Find what resembles")
    page.set_input_files("#history-file input[type=file]", str(DEFECT))
    page.wait_for_selector("#history-file :text('fracture-001')")
    page.click("#history-find")
    page.wait_for_selector("#history-total :text('most similar')")
    page.click("#history-table [role=gridcell]:has-text('1.000 image') >> nth=0")
    page.wait_for_selector("#history-view .an-viewer")
    assert page.text_content("#history-view .an-name") == DEFECT.name
    page.fill("#history-words textarea, #history-words input", "a metal disc")
    page.click("#history-find")  # both at once
    page.wait_for_selector("text=give either a sentence or a file")


def test_the_review_queue_is_worked_off_with_keys(page, server):
    drop(page, GOOD)
    open_page(page, server, "review")
    page.wait_for_selector("#review-view .an-viewer")
    waiting = page.text_content("#review-left")
    page.keyboard.press("r")
    page.wait_for_function(
        "before => document.querySelector('#review-left')?.textContent !== before", arg=waiting
    )
    page.wait_for_selector("#review-said :text('Marked right')")
    assert page.text_content("#review-left") != waiting


def test_two_people_work_at_once_and_see_their_own(browser, server):
    pages = []
    for picture in (DEFECT, GOOD):
        page = browser.new_context().new_page()
        page.set_default_timeout(90_000)
        page.goto(server.address)
        page.wait_for_selector("#inspect-drop input[type=file]", state="attached")
        pages.append((page, picture))
    time.sleep(0.5)
    for page, picture in pages:
        page.set_input_files("#inspect-drop input[type=file]", str(picture))
    for page, picture in pages:
        page.wait_for_selector(f"#inspect-view .an-name:has-text('{picture.name}')")
        assert page.locator("#inspect-view .an-name").count() == 1
    assert [p.text_content(".an-pill") for p, _ in pages] == ["anomalous", "normal"]
    for page, _ in pages:
        page.context.close()


@pytest.mark.parametrize(
    ("wide", "theme"),
    [
        (1280, "dark"),
        (390, "light"),
        pytest.param(1280, "light", marks=pytest.mark.slow),
        pytest.param(390, "dark", marks=pytest.mark.slow),
    ],
)
def test_every_page_fits_in_light_and_dark(browser, server, theme, wide):
    context = browser.new_context(viewport={"width": wide, "height": 900}, color_scheme=theme)
    page = context.new_page()
    failed: list[str] = []
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.on("request", lambda r: failed.append(r.url) if foreign(r.url, server) else None)
    for name in ("", "products", "review", "history", "live", "training", "help"):
        page.goto(f"{server.address}/{name}?__theme={theme}")
        page.wait_for_selector(".an-top")
        assert page.evaluate("document.documentElement.scrollWidth") <= wide
        assert page.evaluate("document.body.classList.contains('dark')") == (theme == "dark")
    assert failed == []
    context.close()


def foreign(url: str, server) -> bool:
    """Whether a page asks for something from elsewhere: it must work offline."""
    return not url.startswith((server.address, "data:", "blob:"))


def test_a_locked_workbench_asks_for_name_and_key(browser, tmp_path):

    from anomalyst.product_index import RECORD
    from anomalyst.server.auth import make_key
    from anomalyst.server.config import ServingConfig
    from anomalyst.server.load_test import PRODUCT, Server, free_port
    from anomalyst.server.storage.store import Store

    config = ServingConfig(home=tmp_path, keys=True)
    key = make_key(Store.open(config), "ann", "operator")
    server = Server(tmp_path, free_port(), "--keys")
    try:
        server.await_page()
        product = tmp_path / "products" / PRODUCT / RECORD
        for _ in range(600):  # the first product, of which only its folder tells without a key
            if product.exists():
                break
            time.sleep(0.1)
        page = browser.new_context().new_page()
        page.set_default_timeout(90_000)
        page.goto(server.address)
        page.fill("input[type=text], textarea", "ann")
        page.fill("input[type=password]", key)
        page.click("button:has-text('Login')")
        page.wait_for_function("document.querySelector('#inspect-product input')?.value")
        drop(page, DEFECT)
        page.click("#inspect-masks [data-masks-open]")  # its script asks under ann's name
        page.wait_for_selector("[data-part=said]:has-text('Click on the thing')")
        page.click("[data-tool=brush]")
        page.click(".an-board canvas")
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-part=saved] li:has-text('ann')")
        assert page.locator("[data-remove]").count() == 0  # that takes an engineer
        page.goto(f"{server.address}/products")
        page.fill("#teach-name textarea, #teach-name input", "x")
        page.click("#teach-go")
        page.wait_for_selector("text=this takes the role engineer; yours is operator")
        assert not (tmp_path / "products" / "x").exists()
        page.context.close()
    finally:
        server.stop()


def test_live_shows_each_line_and_what_it_makes(page, server):
    store = Store.open(ServingConfig(home=server.home))
    region = {"box_xyxy": [10, 10, 40, 40], "kind": "scratch or crack", "place": "centre"}
    [seen] = store.history(Filter(source="demo"), limit=1)  # whose picture is kept
    record = seen.record | {"regions": [region], "width_px": 80, "height_px": 80}
    for n in range(60):
        bad = n % 10 == 0
        store.keep(InspectionRow(
            product="flange", picture=seen.picture, heat=seen.heat,
            name=f"{n}.png", source="watch", by="w", owner="w",
            false_alarm_rate=0.05, state="done", verdict="anomalous" if bad else "normal",
            score=1.0, p_value=0.5, record=record if bad else record | {"regions": []},
            revision="r", signal_ms=80.0,
            line="north" if n < 40 else "south", late="there was no verdict" if n == 5 else None,
            created_at=now() - timedelta(minutes=n),
        ))  # fmt: skip
    store.engine.dispose()
    open_page(page, server, "live")
    page.wait_for_selector("#live-production svg >> nth=3")  # yield, chart, kinds, places
    page.wait_for_selector("#live-production img.an-heat")
    page.wait_for_selector(".an-lines tr:has-text('north') td")
    cells = page.locator(".an-lines tr:has-text('north') td").all_text_contents()
    assert cells == ["40", "10.0%", "1"]  # of the last hour, 4 bad, one late
    page.click("#live-line input")
    page.click("[role=option]:has-text('south')")
    page.wait_for_selector("#live-production :text('of 20')")
    page.wait_for_selector(".an-lines", state="detached")  # one line's figures are the tiles
    with Client(server.address) as client:
        assert client.request("GET", "lines", params={"product": "flange"}) == ["north", "south"]
