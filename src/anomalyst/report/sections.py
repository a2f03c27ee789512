"""A page of sections as HTML that needs nothing else: no network, no other file."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from anomalyst.io.pictures import encoded
from anomalyst.io.templates import template


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a page: a heading, and what stands below it, in the order of the fields."""

    title: str = ""
    sentences: Sequence[str] = ()
    view: Mapping[str, Any] | None = None  # what the page's script draws
    heads: Sequence[str] = ()  # of the table; the first column holds words
    rows: Sequence[Sequence[str]] = ()
    picture: bytes | None = None  # a PNG or an SVG, as wide as the page
    shows: str = ""  # what `picture` shows
    pictures: Sequence[tuple[str, np.ndarray]] = ()  # caption, uint8; in their own size


def sections_page(
    title: str,
    intro: Sequence[str],
    sections: Sequence[Section],
    *,
    style: str = "",
    script: str = "",
    note: str = "",
) -> str:
    """The page. `style` and `script`: what its views need, CSS and JavaScript; `note`: its foot."""
    for one in sections:
        assert all(len(row) == len(one.heads) for row in one.rows), f"a row of {one.title!r}"
    return template("anomalyst.report", "sections.html.j2").render(
        title=title,
        intro=intro,
        sections=sections,
        style=Markup(style),
        script=Markup(script),
        note=note,
        json=_json,
        address=_data_address,
        encoded=encoded,
    )


def picture_kind(picture: bytes) -> str:
    """How its file's name ends: png or svg."""
    return "png" if picture.startswith(b"\x89PNG") else "svg"


def _data_address(picture: bytes) -> str:
    kind = {"png": "png", "svg": "svg+xml"}[picture_kind(picture)]
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def _json(view: Mapping[str, Any]) -> Markup:
    """JSON that may stand inside a script element, whatever texts are in it."""
    text = json.dumps(view, ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", " ").replace("\u2029", " "))
