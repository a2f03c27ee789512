"""Rows of the compression study as a table and as a picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from anomalyst.evaluation.reports.tables import markdown_table

HEADS: dict[str, dict[str, str]] = {
    "detector": {
        "image_auroc": "image AUROC, all",
        "image_auroc_first": "first half",
        "image_auroc_second": "second half",
        "pixel_ap": "pixel AP",
        "rank": "rank correlation with float32",
        "verdicts": "verdicts that differ, %",
    },
    "language": {"nats": "nats a token", "right": "tokens right, %"},
}
TITLES = {"detector": "Detector", "language": "Language model"}
DIGITS = {"nats": 3, "rank": 3}
MAIN = {"detector": "image_auroc", "language": "right"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way of one network: its size, figures, and time as a multiple of float32's.

    `bytes` and `times` are None where it was refused; `said` tells why, or what was done.
    """

    network: str
    way: str
    bytes: int | None
    figures: Mapping[str, float | None]
    times: float | None
    said: str

    def line(self) -> str:
        """The row in a sentence, for the terminal."""
        if self.bytes is None:
            return f"{TITLES[self.network]}, {self.way}: refused, {self.said}"
        main = self.figures.get(MAIN[self.network])
        return (
            f"{TITLES[self.network]}, {self.way}: {self.bytes / 1e6:.2f} MB, "
            f"{MAIN[self.network]} {_cell(main)}, {_cell(self.times, 2)} times as long"
        )


def compression_table(rows: Sequence[Row]) -> str:
    """Markdown: a table of each network."""
    parts = []
    for network, heads in HEADS.items():
        some = [row for row in rows if row.network == network]
        if not some:
            continue
        whole = next((row.bytes for row in some if row.way == "float32"), None)
        lines = [
            [row.way, _size(row.bytes), _share(row.bytes, whole),
             *(_cell(row.figures.get(key), DIGITS.get(key, 1)) for key in heads),
             _cell(row.times, 2), row.said]
            for row in some
        ]  # fmt: skip
        titles = ["way", "MB", "of float32", *heads.values(), "time, of float32", "what it is"]
        parts.append(f"## {TITLES[network]}\n\n{markdown_table(titles, lines, words=1)}\n")
    return "\n".join(parts)


def draw_compression(rows: Sequence[Row]) -> bytes:
    """A PNG: size against what it is worth, a panel of each network."""
    shown = [n for n in HEADS if any(r.network == n and r.bytes for r in rows)] or ["detector"]
    figure = Figure(figsize=(6.5 * len(shown), 4.5), layout="constrained")
    for axes, network in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        key = MAIN[network]
        points = [
            (row.way, row.bytes / 1e6, value)
            for row in rows
            if row.network == network and row.bytes and (value := row.figures.get(key)) is not None
        ]
        for index, (way, size, value) in enumerate(sorted(points, key=lambda point: point[2])):
            axes.plot(size, value, "o", color="black" if way == "float32" else "tab:blue")
            axes.annotate(way, (size, value), fontsize=8, textcoords="offset points",
                          xytext=(6, 5 if index % 2 else -10))  # fmt: skip
        axes.set(xscale="log", xlabel="MB", ylabel=HEADS[network][key], title=TITLES[network])
        for which in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
            which(lambda value, _: f"{value:g}")
        axes.margins(x=0.35, y=0.12)
        axes.grid(alpha=0.3)
    target = BytesIO()
    FigureCanvasAgg(figure).print_png(target)
    return target.getvalue()


def _size(count: int | None) -> str:
    return "-" if count is None else f"{count / 1e6:.2f}"


def _share(count: int | None, whole: int | None) -> str:
    return "-" if count is None or not whole else f"{count / whole:.2f}"


def _cell(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
