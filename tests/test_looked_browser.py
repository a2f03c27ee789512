"""Touching a word of an answer on the page Inspect, in a real browser."""

import pytest

from anomalyst.server.client import Client, ServerError
from serving import CHROMIUM, DEFECT, drop

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


def answer_of(page, question: str) -> str:
    page.fill("#inspect-question textarea", question)
    page.keyboard.press("Enter")
    page.wait_for_selector(f".an-question:has-text('{question}') + .an-reply .an-word")
    return page.text_content(".an-reply >> nth=-1")


def bars(page, heading: str) -> dict[str, float]:
    """The shares under a heading of the panel, in %."""
    return page.evaluate(
        """(heading) => {
          let one = [...document.querySelectorAll('.an-looked h4')]
            .find((h) => h.textContent.startsWith(heading)).nextElementSibling;
          const found = {};
          for (; one && one.matches('.an-looked-bar'); one = one.nextElementSibling)
            found[one.querySelector('span').textContent] =
              parseFloat(one.querySelector('b').textContent);
          return found;
        }""",
        heading,
    )


def test_a_touched_word_shows_where_it_looked(page, server, tmp_path):
    drop(page, DEFECT)
    assert "centre left" in answer_of(page, "Is there a defect, and where?")
    page.click(".an-word:text-is('left')")
    page.wait_for_selector(".an-looked b:has-text('“left”')")
    assert "an-looked-at" in page.get_attribute(".an-word:text-is('left')", "class")
    groups, record = bars(page, "Where it looked"), bars(page, "The record")
    assert sum(groups.values()) == pytest.approx(100, abs=0.5)
    assert sum(record.values()) == pytest.approx(groups["the record"], abs=0.5)
    assert max(record, key=record.get).startswith("<region 1>")  # the line that says "left"
    assert page.locator(".an-looked-cells i").count() == 18
    page.screenshot(path=tmp_path / "looked.png", full_page=True)

    page.focus(".an-word:text-is('left')")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_selector(".an-looked b:has-text('“centre”')")
    with Client(server.address) as client:
        newest = next(client.history()).id
        [turn] = client.request("GET", f"inspections/{newest}/turns")
        found = client.request("GET", f"inspections/{newest}/turns/{turn['id']}/attention")
        with pytest.raises(ServerError, match="has no turn"):
            client.request("GET", f"inspections/{newest}/turns/none/attention")
    assert found["text"] == turn["answer"]["text"]


def test_the_panel_says_that_the_record_answered(page):
    drop(page, DEFECT)
    answer_of(page, "Is there a scratch?")
    page.click(".an-reply .an-word >> nth=1")
    page.wait_for_selector(".an-looked:has-text('the record\\'s word, not the language model\\'s')")
    assert "The record gave this answer" in page.text_content(".an-looked small")
