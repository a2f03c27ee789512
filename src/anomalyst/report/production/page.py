"""What a line made as one self-contained page, and as a PDF of it."""

from typing import Any

import numpy as np
from markupsafe import Markup

from anomalyst.errors import AnomalystError
from anomalyst.io.geometry import resize
from anomalyst.io.pictures import data_uri
from anomalyst.io.templates import template
from anomalyst.report.overlay import shown_size, tint
from anomalyst.report.production.facts import Production
from anomalyst.report.shift import charts

HEAT_PX = 640
# WeasyPrint takes no style of the page's into its SVG.
ON_PAPER = (
    "text{font:11px sans-serif;fill:#5d6875}.bar{fill:#0b62bd}.axis{stroke:#c5ccd4}"
    ".normal{fill:#2c8a57}.unsure{fill:#c98a00}.anomalous{fill:#c0392b}"
    ".yield{stroke:#0b62bd;stroke-width:1.5}.dot{fill:#0b62bd}.out{fill:#c0392b}"
    ".limit{stroke:#c0392b}.centre{stroke:#5d6875}.pareto{stroke:#c98a00}.sum{fill:#c98a00}"
)


def production_page(
    made: Production, good: np.ndarray | None = None, *, on_paper: bool = False
) -> str:
    """The page. `good`: a good picture of the product, uint8 RGB, on which defects are shown."""
    drawn = charts_of(made)
    if on_paper:
        drawn = {name: charts.styled(one, ON_PAPER) for name, one in drawn.items() if one}
    return template("anomalyst.report.production", "production.html.j2").render(
        made=made,
        verdicts=made.verdicts,
        charts=drawn,
        heat=heat_uri(made, good) if made.heat.any() else "",
        most=int(made.heat.max()),
        on_paper=on_paper,
    )


def production_pdf(made: Production, good: np.ndarray | None = None) -> bytes:
    """The same on paper. Raises AnomalystError where WeasyPrint is not installed."""
    try:
        from weasyprint import HTML
    except (ImportError, OSError) as error:
        raise AnomalystError(
            "a PDF needs WeasyPrint; install it with `pip install 'anomalyst[paper]'`, and Pango "
            f"(libpango) beside it ({error})."
        ) from error
    drawn: bytes = HTML(string=production_page(made, good, on_paper=True)).write_pdf()
    return drawn


def charts_of(made: Production) -> dict[str, Markup]:
    """The charts by name; of kinds and places only where defects were found."""
    starts = [one.start for one in made.samples]
    shares = [(one.start, one.first_pass_yield, one.inspected) for one in made.samples]
    found: dict[str, Markup] = {
        "yield": charts.yield_chart(made.period, shares),
        "control": charts.control_chart(made.period, starts, made.chart),
    }
    named: dict[str, Any] = {"kinds": made.kinds, "places": made.places}
    for name, counts in named.items():
        if counts:
            found[name] = charts.pareto_chart(f"defects by {name[:-1]}", counts)
    return found


def heat_picture(made: Production, good: np.ndarray | None) -> np.ndarray:
    """Where defects fall, over a good picture (or grey): uint8 RGB, the hottest cell at full."""
    if good is None:
        good = np.full((HEAT_PX // 2, HEAT_PX // 2, 3), 200, np.uint8)
    size_hw = shown_size(good.shape[:2], HEAT_PX)
    heat = made.heat / max(1, made.heat.max())
    return tint(resize(good, size_hw), resize(heat.astype(np.float32), size_hw))


def heat_uri(made: Production, good: np.ndarray | None) -> str:
    """The same as a page holds it."""
    return data_uri(heat_picture(made, good))
