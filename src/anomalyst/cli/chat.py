"""`anomalyst chat`: a dialogue about one picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from anomalyst.cli import options as opt
from anomalyst.cli.loading import inspector_and_product
from anomalyst.cli.screen import needs, progress, say
from anomalyst.errors import AnomalystError

if TYPE_CHECKING:
    from anomalyst.inspector import Inspector
    from anomalyst.types import Dialogue, Inspection
    from anomalyst.voice.transcriber import Transcript


@opt.grouped
def chat(
    image: Annotated[Path, Argument(metavar="IMAGE", help="A picture.")],
    *,
    comparison: opt.Comparison,
    ask: Annotated[
        list[str] | None, Option(metavar="TEXT", help="Ask this and leave; may be repeated.")
    ] = None,
    voice: Annotated[
        list[Path] | None,
        Option(metavar="SOUND", help="Ask what is said in a sound file; may be repeated."),
    ] = None,
    voice_model: Annotated[
        Path | None,
        Option(metavar="DIR", help="Any Whisper folder, to hear with.", show_default="shipped"),
    ] = None,
    speak: Annotated[
        Path | None, Option(metavar="OUT.wav", help="Speak the answers into a file (espeak-ng).")
    ] = None,
    show_attention: Annotated[
        Path | None,
        Option(metavar="OUT.html", help="Write where each word of the answers looked (--ask)."),
    ] = None,
    judging: opt.Judging,
    compute: opt.Compute,
    language: opt.Language = None,
) -> None:
    """Ask about a picture, turn by turn; an empty line or Ctrl-D ends it.

    Answers agree with the verdict and the map. "it", "the second one" and "and the colour?"
    speak of what was said before. A question by voice is turned into words on this machine; one
    that is not understood is not answered.

    Example: anomalyst chat part.png --product cookie
    Example: anomalyst chat part.png --reference good.png --ask "How many defects?" --ask "Where?"
    Example: anomalyst chat part.png --product cookie --voice question.wav --speak answer.wav
    Example: anomalyst chat part.png --product cookie --ask "Where?" --show-attention out.html
    """
    from anomalyst.calibration.conformal import checked_rate

    rate = checked_rate(judging.false_alarm_rate)
    if speak is not None:
        _check_speech(speak)
    if show_attention is not None:
        _check_page(show_attention)
    heard = _heard(voice or [], voice_model)
    inspector, product = inspector_and_product(comparison, judging, compute, language=language)
    found = inspector.inspect(image, product, false_alarm_rate=rate)
    dialogue, said = _talk(inspector, found, ask or [], heard)
    if show_attention is not None:
        _show_attention(show_attention, inspector, dialogue)
    if speak is not None:
        from anomalyst.voice.speaking import write_spoken

        write_spoken(speak, said)
        say(f"Spoken to {speak}")


def _check_page(out: Path) -> None:
    """Before anything is computed: whether attention can be written into such a file."""
    if out.suffix.lower() != ".html":
        raise AnomalystError(f"--show-attention {out}: is no .html; give a name that ends so.")


def _show_attention(out: Path, inspector: "Inspector", dialogue: "Dialogue") -> None:
    """Where each word of the answers looked, as a page."""
    from anomalyst.explaining.answer_page import write_answers

    with progress("Looking at attention", len(dialogue.turns)) as bar:
        written = write_answers(out, inspector, dialogue, on_answer=bar.advance)
    say(f"Attention written to {written}")


def _check_speech(out: Path) -> None:
    """Before anything is computed: whether answers can be spoken, and into such a file."""
    from anomalyst.voice.speaking import check_can_speak

    check_can_speak()
    if out.suffix.lower() != ".wav":
        raise AnomalystError(f"--speak {out}: is no .wav; give a name that ends so.")


def _heard(files: list[Path], model: Path | None) -> list["Transcript"]:
    """What is said in sound files."""
    if not files:
        return []
    needs("voice", "soundfile")
    from anomalyst.voice.sound import read_sound
    from anomalyst.voice.transcriber import EMBEDDED, Transcriber

    sounds = [read_sound(path) for path in files]
    transcriber = Transcriber.load(model or EMBEDDED)
    return [transcriber.transcribe(sound) for sound in sounds]


def _talk(
    inspector: "Inspector",
    found: "Inspection",
    questions: list[str],
    heard: list["Transcript"],
) -> tuple["Dialogue", list[str]]:
    """Answer the questions, typed and spoken ones; without any, the terminal's until an empty one.

    Returns the dialogue, and what was answered.
    """
    from anomalyst.types import Dialogue

    dialogue = Dialogue(found)
    for question in questions:
        typer.echo(f"> {question}")
        _answer(inspector, question, dialogue)
    unheard = [_answer_aloud(inspector, one, dialogue) for one in heard]
    if not questions and not heard:
        _ask_terminal(inspector, found, dialogue)
    said = [turn.answer.text for turn in dialogue.turns]
    return dialogue, said + [text for text in unheard if text]


def _answer_aloud(inspector: "Inspector", heard: "Transcript", dialogue: "Dialogue") -> str:
    """Print what was heard and its answer; what was not understood is said, and returned."""
    for note in heard.notes:
        say(f"Note: {note}")
    typer.echo(f"> {heard.text} (heard, {heard.confidence:.0%} sure)")
    try:
        question = heard.question()
    except AnomalystError as error:
        typer.echo(sentence := str(error)[:1].upper() + str(error)[1:])
        return sentence
    _answer(inspector, question, dialogue)
    return ""


def _ask_terminal(inspector: "Inspector", found: "Inspection", dialogue: "Dialogue") -> None:
    """Answer what is typed until an empty line."""
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
