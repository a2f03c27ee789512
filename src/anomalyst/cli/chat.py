"""`anomalyst chat`: a dialogue about one picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from anomalyst.cli import options as opt
from anomalyst.cli.loading import inspector_and_product
from anomalyst.cli.screen import say
from anomalyst.errors import AnomalystError

if TYPE_CHECKING:
    from anomalyst.inspector import Inspector
    from anomalyst.types import Dialogue, Inspection


@opt.grouped
def chat(
    image: Annotated[Path, Argument(metavar="IMAGE", help="A picture.")],
    *,
    comparison: opt.Comparison,
    ask: Annotated[
        list[str] | None, Option(metavar="TEXT", help="Ask this and leave; may be repeated.")
    ] = None,
    judging: opt.Judging,
    compute: opt.Compute,
    language: opt.Language = None,
) -> None:
    """Ask about a picture, turn by turn; an empty line or Ctrl-D ends it.

    Answers agree with the verdict and the map. "it", "the second one" and "and the colour?"
    speak of what was said before.

    Example: anomalyst chat part.png --product cookie
    Example: anomalyst chat part.png --reference good.png --ask "How many defects?" --ask "Where?"
    """
    from anomalyst.calibration.conformal import checked_rate

    rate = checked_rate(judging.false_alarm_rate)
    inspector, product = inspector_and_product(comparison, judging, compute, language=language)
    _talk(inspector, inspector.inspect(image, product, false_alarm_rate=rate), ask or [])


def _talk(inspector: "Inspector", found: "Inspection", questions: list[str]) -> None:
    """Answer the questions; without any, those from the terminal until an empty one."""
    from anomalyst.types import Dialogue

    dialogue = Dialogue(found)
    for question in questions:
        typer.echo(f"> {question}")
        _answer(inspector, question, dialogue)
    if questions:
        return
    say(f"{found.image.name}: {found.answer}")
    for note in found.notes:
        say(f"Note: {note}")
    while True:
        try:
            question = input("> ")
        except EOFError:
            return
        if not question.strip():
            return
        try:
            _answer(inspector, question, dialogue)
        except AnomalystError as error:
            say(f"Error: {error}")


def _answer(inspector: "Inspector", question: str, dialogue: "Dialogue") -> None:
    """Print an answer, a sentence as soon as it is checked."""
    shown: list[str] = []

    def show(sentence: str) -> None:
        typer.echo((" " if shown else "") + sentence, nl=False)
        shown.append(sentence)

    inspector.ask(question, dialogue, show)
    typer.echo("")
