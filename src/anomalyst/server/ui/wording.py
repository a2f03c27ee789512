"""The pages' words: one file a language, chosen on the page, else by the browser.

What a handler says is in the language of who asks. What is said while the pages are built, once for
everybody, is a mark; `Translated` puts the words in its place as a page is sent.
"""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import yaml
from gradio.context import LocalContext
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FOLDER = Path(__file__).parent / "languages"
LANGUAGES = {"en": "English", "de": "Deutsch", "zh": "简体中文", "ja": "日本語", "ko": "한국어"}
TAGS = {"zh": "zh-CN"}  # where browsers call one otherwise
FIRST = "en"
COOKIE = "anomalyst-language"
CHOSEN = re.compile(rf"(?:^|;\s*){COOKIE}=([a-z]+)")
OPEN, CLOSE = "\ue000", "\ue001"  # around a key: letters for private use, in no text otherwise
MARK = re.compile(f"{OPEN}([a-z0-9_.]+){CLOSE}".encode())
# Gradio's own words follow the browser's language: it is told the page's.
AS_PAGE = '<script>for (const [key, value] of [["language", "{0}"], ["languages", ["{0}"]]]) '
AS_PAGE += "Object.defineProperty(navigator, key, {{ get: () => value }});</script>"
_marking = ContextVar("marking", default=False)


@contextmanager
def marks() -> Iterator[None]:
    """While pages are built: `t` gives marks."""
    before = _marking.set(True)
    try:
        yield
    finally:
        _marking.reset(before)


@functools.cache
def words(language: str) -> dict[str, str]:
    """All words of a language by their keys."""
    text = (FOLDER / f"{language}.yaml").read_text(encoding="utf-8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return dict(yaml.load(text, Loader=loader))


def t(key: str, **values: Any) -> str:
    """The words called `key`, with `values` in their places; English where nobody asks.

    While pages are built: a mark, which takes no values. Raises KeyError for words that there are
    not.
    """
    if _marking.get():
        assert key in words(FIRST) and not values, key
        return f"{OPEN}{key}{CLOSE}"
    request = LocalContext.request.get(None)
    said = words(language_of(request.headers) if request else FIRST)[key]
    return said.format(**values) if values else said


def t_all(prefix: str) -> dict[str, str]:
    """All words whose keys begin so, by the rest of the key: what a script says. In handlers."""
    return {key.removeprefix(prefix): t(key) for key in words(FIRST) if key.startswith(prefix)}


def language_of(headers: Mapping[str, str]) -> str:
    """The language chosen on the page, else the first of the browser's that there is."""
    chosen = CHOSEN.search(headers.get("cookie") or "")
    if chosen and chosen[1] in LANGUAGES:
        return chosen[1]
    wanted = []
    for one in (headers.get("accept-language") or "").split(","):
        tag, _, weight = one.strip().partition(";q=")
        share = float(weight) if re.fullmatch(r"[01](\.\d+)?", weight) else 1.0
        wanted.append((-share, tag.partition("-")[0].lower()))
    known = [tag for _, tag in sorted(wanted, key=lambda one: one[0]) if tag in LANGUAGES]
    return known[0] if known else FIRST


class Translated:
    """The app whose pages under `paths` are sent in the language of who asks."""

    def __init__(self, app: ASGIApp, paths: frozenset[str]):
        self.app, self.paths = app, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or scope["path"].strip("/") not in self.paths:
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        language = language_of(headers)
        # What comes packed could not be read here.
        plain = [one for one in scope["headers"] if one[0].lower() != b"accept-encoding"]
        start: Message = {}
        body = b""

        async def translated(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            if message["type"] != "http.response.body":  # what test clients ask for
                return
            body += message.get("body", b"")
            if message.get("more_body", False):
                return
            said = in_language(body, language)
            given = MutableHeaders(scope=start)
            given["content-length"] = str(len(said))
            given["vary"] = "Cookie, Accept-Language"
            await send(start)
            await send({"type": "http.response.body", "body": said})

        await self.app({**scope, "headers": plain}, receive, translated)


def in_language(page: bytes, language: str) -> bytes:
    """A page with words in place of marks, which all lie in JSON; and told its language."""
    tag = TAGS.get(language, language)
    page = page.replace(b'lang="en"', f'lang="{tag}"'.encode(), 1)
    page = page.replace(b"<head>", b"<head>" + AS_PAGE.format(tag).encode(), 1)
    return MARK.sub(lambda found: _as_json(words(language)[found[1].decode()]), page)


def _as_json(text: str) -> bytes:
    """As it stands within a string of JSON that lies in a page's script."""
    inner = json.dumps(text, ensure_ascii=False)[1:-1]
    for letter in "<>&'":
        inner = inner.replace(letter, f"\\u{ord(letter):04x}")
    return inner.encode()
