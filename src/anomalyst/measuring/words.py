"""Measures in words, as tables, reports and pages show them."""

from anomalyst.types import Measure, Measures


def shortly(measures: Measures | None) -> str:
    """ "1.42 ± 0.05 mm long, 0.2 mm wide, 0.28 mm2"; nothing where nothing was measured."""
    if measures is None:
        return ""
    sizes, unit = (measures.mm, "mm") if measures.mm else (measures.px, "px")
    extent = "long" if measures.thin else "across"
    text = f"{_told(sizes.length)} {unit} {extent}, {sizes.width.value:.3g} {unit} wide, "
    text += f"{sizes.area.value:.3g} {unit}2"
    return f"{text} ({measures.note})" if measures.note else text


def rows(measures: Measures) -> list[tuple[str, str, str]]:
    """Each figure with its interval at 95 %, in px and in mm, as rows of a table."""
    names = ("length", "width", "area", "perimeter")
    found = []
    for name in names:
        two = "2" if name == "area" else ""
        px = f"{_told(getattr(measures.px, name))} px{two}"
        mm = f"{_told(getattr(measures.mm, name))} mm{two}" if measures.mm else ""
        found.append((name, px, mm))
    return found


def _told(measure: Measure) -> str:
    return f"{measure.value:.3g} ± {measure.plus_minus:.2g}"
