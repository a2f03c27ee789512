"""A shift as one self-contained HTML page."""

from collections.abc import Sequence
from pathlib import Path

from anomalyst.io.files import write_text
from anomalyst.io.templates import template
from anomalyst.report.shift import charts
from anomalyst.report.shift.checked import Summary
from anomalyst.report.shift.facts import JUDGEMENTS, Seen, ShiftFacts, over_time
from anomalyst.report.shift.sentences import length


def shift_page(facts: ShiftFacts, seen: Sequence[Seen], summary: Summary) -> str:
    """The page: summary, figures, charts, tables; and what a model said that does not hold."""
    return template("anomalyst.report.shift", "shift.html.j2").render(
        facts=facts,
        summary=summary,
        length=length(facts),
        judgements=JUDGEMENTS,
        verdicts_chart=charts.verdicts_chart(facts.period, over_time(facts.period, seen)),
        kinds_chart=charts.kinds_chart(facts.kinds) if facts.kinds else "",
        places_chart=charts.places_chart(facts.places) if facts.places else "",
        p_values_chart=charts.p_values_chart(facts.period, seen),
    )


def write_shift_page(path: Path, facts: ShiftFacts, seen: Sequence[Seen], summary: Summary) -> None:
    """Write it. Raises AnomalystError if it cannot be written."""
    write_text(path, shift_page(facts, seen, summary))
