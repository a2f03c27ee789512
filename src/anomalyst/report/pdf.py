"""One inspection as a PDF: A4, pictures, figures, regions, dialogue."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import cv2
import numpy as np

from anomalyst.measuring.words import rows as figures_of
from anomalyst.report.overlay import overlay
from anomalyst.types import Answer, Inspection, Severity
from anomalyst.version import __version__

COLOURS = {"anomalous": "#b3261e", "unsure": "#9a6700", "normal": "#1a7f37"}
PICTURE_PX = 1000


def paper(
    inspection: Inspection,
    picture: np.ndarray,
    answers: Sequence[tuple[str, Answer]] = (),
    *,
    made: str,
    number: str,
) -> bytes:
    """The inspection of a picture, uint8 RGB (H, W, 3), with questions and answers, as a PDF file.

    Needs reportlab, of the extra `serve`. `made` says when, `number` which it is.
    """
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.units import mm
    from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer

    styles = _styles()
    text, small, space = styles["BodyText"], styles["Italic"], Spacer(1, 4 * mm)
    colour = COLOURS[inspection.verdict]
    drawn = overlay(picture, inspection, max_side_px=PICTURE_PX)
    story: list[Any] = [
        Paragraph(f"Inspection of {escape(inspection.image.name)}", styles["Title"]),
        Paragraph(f'<font color="{colour}"><b>{inspection.verdict}</b></font>', styles["Heading1"]),
        Paragraph(escape(inspection.answer), text),
        *(space, _beside(picture, drawn, 170 * mm), space, _figures(inspection), space),
    ]
    if inspection.regions:
        story += [_regions(inspection), space]
    if any(region.measures for region in inspection.regions):
        story += [_measures(inspection), space]
    for question, answer in answers:
        words = f"<b>{escape(question)}</b>", escape(answer.text)
        story += [Paragraph(one, text) for one in words]
    story += [Paragraph(escape(note), small) for note in inspection.notes]
    story.append(Paragraph(f"{number}, {made}, anomalyst {__version__}", small))
    target = io.BytesIO()
    margins = dict.fromkeys(("leftMargin", "rightMargin", "topMargin", "bottomMargin"), 20 * mm)
    SimpleDocTemplate(target, pagesize=A4, title=f"Inspection {number}", **margins).build(story)
    return target.getvalue()


def _styles() -> Any:
    from reportlab.lib.styles import getSampleStyleSheet

    styles = getSampleStyleSheet()
    plain, bold = _fonts()
    for style in styles.byName.values():
        heavy = style.name == "Title" or style.name.startswith("Heading")
        style.fontName = bold if heavy else plain
    return styles


def _fonts() -> tuple[str, str]:
    """DejaVu, which comes with matplotlib: names in Greek or Cyrillic can be read, too."""
    import matplotlib
    from reportlab.lib.fonts import addMapping
    from reportlab.pdfbase.pdfmetrics import getRegisteredFontNames, registerFont
    from reportlab.pdfbase.ttfonts import TTFont

    names = ("DejaVuSans", "DejaVuSans-Bold")
    for bold, name in enumerate(names):
        if name not in getRegisteredFontNames():
            folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
            registerFont(TTFont(name, str(folder / f"{name}.ttf")))
        addMapping(names[0], bold, 0, name)
    return names


def _beside(picture: np.ndarray, drawn: np.ndarray, width: float) -> Any:
    from reportlab.platypus import Image, Table

    half = width / 2 - 4
    high = min(half * drawn.shape[0] / drawn.shape[1], 1.4 * half)
    wide = high * drawn.shape[1] / drawn.shape[0]
    images = [Image(io.BytesIO(_jpeg(one)), width=wide, height=high) for one in (picture, drawn)]
    return Table([images], colWidths=[width / 2] * 2)


def _figures(inspection: Inspection) -> Any:
    guaranteed = "its own good pictures" if inspection.guaranteed else "a guess, see the notes"
    rows = [
        ("product", inspection.product or "-"),
        ("taught from", f"{inspection.num_good} good pictures"),
        ("score", f"{inspection.score:.3f}"),
        ("p-value", f"{inspection.p_value:.3g}"),
        *_severity(inspection.severity),
        ("calibrated by", guaranteed),
        ("sure of the verdict", f"{min(0.999, inspection.confidence):.1%}"),
    ]
    return _table(rows)


def _severity(bad: Severity | None) -> list[tuple[str, str]]:
    """Rows of the figures; none of a record of before."""
    if bad is None:
        return []
    whose = {"own": "the good pictures", "drawn": "drawn products'"}[bad.beside]
    rows = [("severity", f"{bad.text} spreads above {whose}")]
    rows.append(("area of the regions", f"{100 * bad.area_share:.2g} % of the picture"))
    return rows + ([] if bad.contrast is None else [("contrast", f"{bad.contrast:.2f}")])


def _regions(inspection: Inspection) -> Any:
    rows = [("region", "what", "where", "box x0, y0, x1, y1", "area px", "peak")]
    for number, region in enumerate(inspection.regions, start=1):
        box = ", ".join(str(value) for value in region.box_xyxy)
        cells = (region.called or region.kind or "anomaly", region.place, box, str(region.area_px))
        rows.append((str(number), *cells, f"{region.peak:.2f}"))
    return _table(rows, heading=True)


def _measures(inspection: Inspection) -> Any:
    rows = [("region", "figure (± at 95 %)", "px", "mm", "note")]
    for number, region in enumerate(inspection.regions, start=1):
        if region.measures:
            note = region.measures.note
            rows += [(str(number), *cells, note) for cells in figures_of(region.measures)]
    return _table(rows, heading=True)


def _table(rows: Sequence[tuple[str, ...]], *, heading: bool = False) -> Any:
    from reportlab.lib import colors
    from reportlab.platypus import Table, TableStyle

    style = [
        ("FONT", (0, 0), (-1, -1), _fonts()[0], 8),
        ("LINEBELOW", (0, 0), (-1, -1), 0.25, colors.lightgrey),
        ("TEXTCOLOR", (0, 0), (-1, 0) if heading else (0, -1), colors.grey),
    ]
    return Table([list(row) for row in rows], style=TableStyle(style), hAlign="LEFT")


def _jpeg(picture: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
