"""A study's page: HTML that needs no other file, and the same as Markdown."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, select_autoescape

from anomalyst.evaluation.reports.tables import markdown_table
from anomalyst.io.files import write_bytes, write_text
from anomalyst.version import __version__


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading, and what stands below it."""

    title: str
    sentences: Sequence[str] = ()
    heads: Sequence[str] = ()  # of the table; the first column holds words
    rows: Sequence[Sequence[str]] = ()
    picture: bytes | None = None  # a PNG or an SVG
    shows: str = ""  # what the picture shows


def write_page(
    out: Path, name: str, title: str, intro: Sequence[str], sections: Sequence[Section]
) -> str:
    """OUT/NAME.html, NAME.md and a file for each picture; returns the Markdown."""
    for one in sections:
        assert all(len(row) == len(one.heads) for row in one.rows), f"a row of {one.title!r}"
    environment = Environment(
        loader=PackageLoader("anomalyst.training.studies", "."),
        autoescape=select_autoescape(["j2"]),
    )
    pictures = [_data_address(one.picture) for one in sections]
    html = environment.get_template("page.html.j2").render(
        version=__version__,
        title=title,
        intro=intro,
        sections=list(zip(sections, pictures, strict=True)),
    )
    text = [f"# {title}", *intro]
    for number, one in enumerate(sections):
        text += [f"## {one.title}", *one.sentences]
        if one.rows:
            text.append(markdown_table(one.heads, one.rows))
        if one.picture:
            file = f"{name}-{number}.{_kind(one.picture)}"
            write_bytes(out / file, one.picture)
            text.append(f"![{one.shows}]({file})")
    write_text(out / f"{name}.html", html)
    markdown = "\n\n".join(text) + "\n"
    write_text(out / f"{name}.md", markdown)
    return markdown


def _kind(picture: bytes) -> str:
    return "png" if picture.startswith(b"\x89PNG") else "svg"


def _data_address(picture: bytes | None) -> str:
    if picture is None:
        return ""
    kind = {"png": "png", "svg": "svg+xml"}[_kind(picture)]
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
