"""A study's page: HTML that needs no other file, and the same as Markdown."""

from collections.abc import Sequence
from pathlib import Path

from anomalyst.evaluation.reports.tables import markdown_table
from anomalyst.io.files import write_bytes, write_text
from anomalyst.report.sections import Section, picture_kind, sections_page


def write_page(
    out: Path, name: str, title: str, intro: Sequence[str], sections: Sequence[Section]
) -> str:
    """OUT/NAME.html, NAME.md and a file for each picture; returns the Markdown."""
    text = [f"# {title}", *intro]
    for number, one in enumerate(sections):
        text += [f"## {one.title}", *one.sentences]
        if one.rows:
            text.append(markdown_table(one.heads, one.rows))
        if one.picture:
            file = f"{name}-{number}.{picture_kind(one.picture)}"
            write_bytes(out / file, one.picture)
            text.append(f"![{one.shows}]({file})")
    write_text(out / f"{name}.html", sections_page(title, intro, sections))
    markdown = "\n\n".join(text) + "\n"
    write_text(out / f"{name}.md", markdown)
    return markdown
