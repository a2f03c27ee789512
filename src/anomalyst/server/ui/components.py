"""What several pages show: the picture with its regions, the dialogue, likeness; as HTML."""

import base64
import re
from collections.abc import Sequence
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from anomalyst.errors import PictureError
from anomalyst.io.deep_pictures import reading_in
from anomalyst.io.geometry import resize
from anomalyst.io.pictures import data_uri, open_picture
from anomalyst.io.templates import template
from anomalyst.measuring.words import shortly
from anomalyst.product_index import product_folder, read_record
from anomalyst.report.overlay import shown_size
from anomalyst.server.auth import Caller
from anomalyst.server.records import documents
from anomalyst.server.records.drawn import drawn_layer
from anomalyst.server.service import Service
from anomalyst.server.storage.tables import InspectionRow
from anomalyst.server.ui.wording import t
from anomalyst.types import Severity

VIEWER_PX = 1200
CLOSE_PX = 320
AROUND = 0.75  # of a region's side, shown around it
WORD = re.compile(r"\(box [^)]*\)\S*|\S+|\s+")
PLACED = re.compile(r"[^,;:.()]*\(box (\d+), (\d+), (\d+), (\d+)\)")  # a phrase and its place

Box = Sequence[int]


def render(name: str, /, **values: Any) -> str:
    """A template of this package as HTML; values are escaped, and `t` gives the page's words."""
    return template("anomalyst.server.ui", f"templates/{name}").render(t=t, **values)


def hint(text: str) -> str:
    """A sentence that says what to do, or that there is nothing."""
    return f"<p class='an-hint'>{escape(text)}</p>"


def viewer(
    service: Service, row: InspectionRow, who: Caller | None = None, *, lit: bool = False
) -> str:
    """The picture with heatmap, regions, masks that were drawn, figures and notes.

    `lit`: its first region is lit from the beginning.
    """
    if row.state != "done":
        reason = row.problem or t("viewer.waiting")
        return f"<p class='an-note'>{escape(row.name)}: {escape(reason)}</p>"
    found = documents.inspection_of(row, service.pictures)
    drawn = drawn_layer(service.store, row, VIEWER_PX)
    return render(
        "viewer.html.j2",
        row=row,
        record=row.record,
        lit=lit,
        closer=row.sense == "image" and row.picture in service.pictures,
        page_pass=service.tickets.page_pass(who) if who and service.config.keys else "",
        answer=found.answer,
        severity=found.severity if found.unfit is None else None,  # of what cannot be judged: none
        measured=[shortly(region.measures) for region in found.regions],
        lines=[region.measures.line_xy if region.measures else () for region in found.regions],
        plain=data_uri(documents.shown_picture(row, service.pictures, VIEWER_PX), quality=85),
        heat=_png_uri(documents.heat_layer_png(found)),
        mask=_png_uri(documents.mask_png(found)),
        drawn="" if drawn is None else _png_uri(documents.png(drawn)),
        ignored=_png_uri(ignored) if (ignored := documents.ignored_png(found)) else "",
    )


def dialogue(
    service: Service,
    row: InspectionRow | None,
    asked: str = "",
    heard: str = "",
    *,
    touched: bool = True,
    lit: bool = False,
) -> str:
    """The turns so far, and perhaps one that is being answered.

    `touched`: whether words can be touched, to see where they looked; `lit`: what is said of the
    first region is lit.
    """
    said = service.store.turns(row.id) if row else []
    regions = ((row.record if row else None) or {}).get("regions", [])
    answers = [(one, worded(pieces(one.answer, regions))) for one in said]
    return render(
        "dialogue.html.j2", said=answers, asked=asked, heard=heard, touched=touched, lit=lit
    )


def pieces(answer: dict[str, Any], regions: Sequence[dict[str, Any]]) -> list[tuple[str, int]]:
    """An answer cut where it names places: each phrase with the number of its region, or 0."""
    boxes = [list(one["box_xyxy"]) for one in regions]
    cut, text, last = [], answer["text"], 0
    for match in PLACED.finditer(text):
        box = [int(value) for value in match.groups()]
        start = match.end() - len(re.sub(r"^\s*(and )?", "", match.group()))
        number = boxes.index(box) + 1 if box in boxes else 0
        cut += [(text[last:start], 0), (text[start : match.end()], number)]
        last = match.end()
    return [*cut, (text[last:], 0)]


def worded(phrases: Sequence[tuple[str, int]]) -> list[tuple[int, list[tuple[str, int | None]]]]:
    """Phrases cut into words: of each phrase its region, and words with where they begin.

    What is only space begins nowhere: None.
    """
    cut, start = [], 0
    for text, region in phrases:
        words = [
            (found.group(), None if found.group().isspace() else start + found.start())
            for found in WORD.finditer(text)
        ]
        cut.append((region, words))
        start += len(text)
    return cut


def looked(service: Service, row: InspectionRow, found: dict[str, Any], start: int) -> str:
    """Where one word of an answer looked: picture, record, question, earlier words.

    `found`: what `Service.looked_back` gave; `start`: a character of the word in the answer.
    """
    words = found["words"]
    number = max(n for n, one in enumerate(words) if n == 0 or one["start"] <= start)
    word, record = words[number], row.record or {}
    picture = documents.shown_picture(row, service.pictures, CLOSE_PX)
    groups = [
        (t("looked.record"), sum(word["facts"])),
        (t("looked.question"), word["question"]),
        (t("looked.earlier"), sum(share for _, share in word["earlier"])),
        (t("looked.map"), sum(word["heat"])),
        (t("looked.picture"), sum(word["picture"]) + word["whole"]),
        (t("looked.regions"), sum(word["regions"])),
        (t("looked.dialogue"), word["dialogue"]),
        (t("looked.rest"), word["rest"]),
    ]
    return render(
        "looked.html.j2",
        word=word,
        note=found["note"],
        model=found["model"],
        plain=data_uri(picture, quality=85),
        wide=record["width_px"],
        high=record["height_px"],
        heat=_cells(word["heat"], 3),
        seen=_cells(word["picture"], found["grid"]),
        groups=_bars(groups),
        facts=_bars(list(zip(found["facts"], word["facts"], strict=False))),
        earlier=_bars(word["earlier"]),
    )


def _cells(shares: Sequence[float], side: int) -> list[tuple[float, float, float, float, float]]:
    """Cells over a picture: left, top, size in %, opacity from the least to the most, share."""
    low, top = min(shares), max(shares)
    size, spread = 100 / side, max(top - low, top / 2, 1e-9)  # what is nearly even stays faint
    return [
        (n % side * size, n // side * size, size, 0.6 * (v - low) / spread, v)
        for n, v in enumerate(shares)
    ]


def _bars(shares: Sequence[tuple[str, float]]) -> list[tuple[str, float, float]]:
    """Name, share, and its length: the largest is 1."""
    top = max((share for _, share in shares), default=0.0)
    return [(name, share, share / max(top, 1e-9)) for name, share in shares]


def likeness(service: Service, row: InspectionRow, number: int) -> str:
    """Region `number` beside the place of a good picture that it resembles most."""
    box = (row.record or {})["regions"][number - 1]["box_xyxy"]
    found = service.resemblance(row.id, (box[0], box[1], box[2], box[3]))
    record = read_record(product_folder(row.product, service.config.products))
    there = open_picture(Path(found["image"]), reading_in(record))
    here = open_picture(service.pictures.existing(documents.shown_name(row)))
    return render(
        "likeness.html.j2",
        number=number,
        here=data_uri(close_up(here, box), quality=85),
        there=data_uri(close_up(there, found["box_xyxy"]), quality=85),
        name=found["name"],
        similarity=found["similarity"],
    )


def close_up(picture: np.ndarray, box: Box) -> np.ndarray:
    """A place with some of what lies around it, enlarged: uint8 (H, W, 3)."""
    x0, y0, x1, y1 = box
    margin = max(12, round(AROUND * max(x1 - x0, y1 - y0)))
    cut = picture[max(0, y0 - margin) : y1 + margin, max(0, x0 - margin) : x1 + margin]
    scale = CLOSE_PX / max(cut.shape[:2])
    size_hw = (max(1, round(cut.shape[0] * scale)), max(1, round(cut.shape[1] * scale)))
    return resize(np.ascontiguousarray(cut), size_hw)


def thumbnail(service: Service, row: InspectionRow, side_px: int = 128) -> str:
    """A small picture as a data URI; empty where it is gone, or is a recording not drawn yet."""
    return small(service, documents.shown_name(row), side_px)


def small(service: Service, name: str, side_px: int = 128) -> str:
    """The same by the picture's name in the record."""
    if name not in service.pictures:
        return ""
    try:
        return reduced_file(service.pictures.path(name), side_px)
    except PictureError:
        return ""


@lru_cache(maxsize=512)
def reduced_file(path: Path, side_px: int) -> str:
    """The same of a file that never changes: the record's pictures are called by their content."""
    return reduced(open_picture(path), side_px)


def reduced(picture: np.ndarray, side_px: int) -> str:
    """A picture made small, as a data URI."""
    return data_uri(resize(picture, shown_size(picture.shape[:2], side_px)))


def tiles(figures: Sequence[tuple[str, str]]) -> str:
    """Figures with what they are, as a row of tiles."""
    return render("tiles.html.j2", figures=figures)


def headed(keys: Sequence[str], rows: list[list[str]]) -> dict[str, Any]:
    """Rows of a table under headings in the page's words: those it was built with are marks."""
    return {"headers": [t(key) for key in keys], "data": rows}


def result_cells(row: InspectionRow) -> list[str]:
    """Picture, verdict, p-value and severity, as tables show them."""
    p = "" if row.p_value is None else f"{row.p_value:.3g}"
    kept = (row.record or {}).get("severity")
    severity = Severity.from_dict(kept).text if kept else ""
    return [row.name, verdict_of(row), p, severity]


def verdict_of(row: InspectionRow) -> str:
    """The verdict in the page's words; of what is not done, its state."""
    return t(f"verdict.{row.verdict}") if row.verdict else t(f"state.{row.state}")


def console(lines: int) -> gr.Textbox:
    """A box for the last words of a process."""
    return gr.Textbox(label=t("console"), lines=lines, max_lines=lines, interactive=False)


def papers(service: Service, row: InspectionRow, who: Caller) -> str:
    """Where the papers of an inspection are; where keys are needed, with a pass."""
    if row.state != "done":
        return ""
    ticket = f"?ticket={service.tickets.give(who)}" if service.config.keys else ""
    return render("papers.html.j2", id=row.id, ticket=ticket)


def rows_of(service: Service, rows: Sequence[InspectionRow]) -> str:
    """Inspections as a list with small pictures."""
    shown = [(row, thumbnail(service, row), verdict_of(row)) for row in rows]
    return render("rows.html.j2", shown=shown)


def _png_uri(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"
