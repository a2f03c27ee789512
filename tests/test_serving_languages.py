"""The pages' words: the same in every language, chosen by the browser or on the page."""

import re
from pathlib import Path

import httpx
import pytest

from anomalyst.server.ui import wording

PLACE = re.compile(r"\{(\w+)\}")
UI = Path(wording.__file__).parent


def spoken() -> dict[str, str]:
    """Words without examples of programs, which are the same in every language."""
    return {
        key: re.sub(r"```.*?```", "", text, flags=re.S) for key, text in wording.words("en").items()
    }


@pytest.mark.parametrize("language", sorted(set(wording.LANGUAGES) - {"en"}))
def test_a_language_has_the_words_and_places_of_english(language):
    english, other = wording.words("en"), wording.words(language)
    assert list(english) == list(other)
    for key, text in spoken().items():
        assert set(PLACE.findall(text)) == set(PLACE.findall(other[key].partition("```")[0])), key
        assert other[key].strip(), key
        # They stand in HTML as they are, also in attributes, while the pages are built.
        assert key == "help" or not set('"<>&') & set(text + other[key]), key


@pytest.mark.parametrize("language", ["zh", "ja", "ko"])
def test_a_language_is_not_left_in_english(language):
    """Words of Latin letters alone are names, of which there are few."""
    same = {key for key, text in wording.words(language).items() if text.isascii()}
    assert {key for key in same if "." in key} <= {
        "list.p", "history.p", "source.api", "learnt.row.auroc",
    }  # fmt: skip


def test_every_word_is_said_somewhere():
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for path in UI.rglob("*")
        if path.suffix in (".py", ".j2", ".js")
    )
    # As t(f"verdict.{one}"), t("light." ~ light), t_all("masks.js.").
    beginnings = set(re.findall(r"""["']([a-z_]+\.[a-z_.]*)(?:\{|["'] ~|["']\))""", code))
    beginnings = {one for one in beginnings if one not in wording.words("en")}
    unsaid = [
        key
        for key in wording.words("en")
        if not re.search(rf"""["']{re.escape(key)}["']""", code)
        and not any(key.startswith(one) for one in beginnings)
    ]
    assert not unsaid


@pytest.mark.parametrize(
    ("headers", "language"),
    [
        ({}, "en"),
        ({"accept-language": "ja,en-US;q=0.9"}, "ja"),
        ({"accept-language": "fr-FR,de;q=0.3,ko-KR;q=0.8"}, "ko"),
        ({"accept-language": "fr, *;q=0.1"}, "en"),
        ({"accept-language": "ja", "cookie": "a=b; anomalyst-language=zh"}, "zh"),
        ({"accept-language": "ja", "cookie": "anomalyst-language=xx"}, "ja"),
        ({"accept-language": ";q=;;,,de-AT;q=x"}, "de"),
    ],
)
def test_the_language_is_the_chosen_one_else_the_browsers(headers, language):
    assert wording.language_of(headers) == language


def test_a_page_comes_in_the_language_asked_for_and_has_no_marks(server):
    for language, word in (("en", "Drop parts here"), ("de", "Teile hier ablegen")):
        page = httpx.get(server.address, headers={"accept-language": language})
        assert f'lang="{language}"' in page.text and word in page.text
        assert wording.OPEN not in page.text and page.headers["vary"] == "Cookie, Accept-Language"


def test_words_lie_within_the_json_of_a_page_as_they_are():
    page = f'<html lang="en"><head><script>x = "{wording.OPEN}rank.none{wording.CLOSE}"'.encode()
    said = wording.in_language(page, "de").decode()
    assert 'lang="de"' in said and "drücken Sie „Antworten ordnen“" in said
    assert wording._as_json('a "b" </script>\n') == rb"a \"b\" \u003c/script\u003e\n"
