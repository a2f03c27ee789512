"""`anomalyst chat`: a dialogue about one picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anomalyst.cli.loading import source
from anomalyst.cli.screen import (
    About,
    Device,
    EncoderName,
    EngineOption,
    FalseAlarmRate,
    Language,
    Precision,
    ProductName,
    Products,
    References,
    say,
)

if TYPE_CHECKING:
    from anomalyst.inspector import Inspector
    from anomalyst.types import Dialogue


def chat(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture.", show_default=False)],
    product: ProductName = None,
    reference: References = None,
    zero_shot: Annotated[
        bool, typer.Option("--zero-shot", help="No good picture: judge the picture by itself.")
    ] = False,
    ask: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Ask this and leave; may be repeated."),
    ] = None,
    about: About = "",
    false_alarm_rate: FalseAlarmRate = 0.05,
    products: Products = Path("products"),
    encoder: EncoderName = None,
    precision: Precision = "auto",
    device: Device = "auto",
    engine: EngineOption = "auto",
    language: Language = None,
) -> None:
    """Ask about a picture, turn by turn; an empty line or Ctrl-D ends it.

    Answers agree with the verdict and the map. "it", "the second one" and "and the colour?"
    speak of what was said before.

    Example: anomalyst chat part.png --product cookie
    Example: anomalyst chat part.png --reference good.png --ask "How many defects?" --ask "Where?"
    """
    from anomalyst.calibration.conformal import checked_rate
    from anomalyst.types import Dialogue

    checked_rate(false_alarm_rate)
    inspector, taught = source(
        product, reference or [], zero_shot, products, encoder, language, precision, device, engine
    )
    taught.description = about or taught.description
    found = inspector.inspect(image, taught, false_alarm_rate=false_alarm_rate)
    dialogue = Dialogue(found)
    if ask:
        for question in ask:
            typer.echo(f"> {question}")
            _answer(inspector, question, dialogue)
        return
    say(f"{image.name}: {found.answer}")
    for note in found.notes:
        say(f"Note: {note}")
    _talk(inspector, dialogue)


def _talk(inspector: "Inspector", dialogue: "Dialogue") -> None:
    """Questions from the terminal until an empty one; a bad one is told and asked for again."""
    from anomalyst.errors import AnomalystError

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
    heard: list[str] = []

    def hear(sentence: str) -> None:
        typer.echo((" " if heard else "") + sentence, nl=False)
        heard.append(sentence)

    inspector.ask(question, dialogue, hear)
    typer.echo("")
