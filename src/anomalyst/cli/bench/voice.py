"""`anomalyst bench voice`: how well spoken questions are heard on this machine."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.demo import PICTURES
from anomalyst.cli.screen import needs, say

GOOD, TEST = PICTURES / "circuit-module" / "good", PICTURES / "circuit-module" / "test"


def voice(
    model: Annotated[
        list[Path] | None,
        Option(
            metavar="DIR",
            help="A Whisper folder, or the model of a run of ours; may be repeated.",
            show_default="shipped",
        ),
    ] = None,
    questions: Annotated[
        Path | None, Option(metavar="FILE", help="One question a line, each spoken once.")
    ] = None,
    count: Annotated[int, Option(min=1, help="Held-out questions that are drawn.")] = 200,
    asked: Annotated[int, Option(min=0, help="Of these, asked about bundled pictures.")] = 60,
    out: opt.Results = Path("out/voice"),
) -> None:
    """Speak held-out questions with held-out voices of espeak-ng, and count what is misheard.

    Clean and in drawn factory noise at 20, 10 and 5 dB; then the spoken question's answer beside
    the typed one's, and the seconds from the sound file on.

    Example: anomalyst bench voice --count 200
    Example: anomalyst bench voice --model runs/voice/model --model runs/voice_convolutional/model
    """
    needs("voice", "soundfile")
    from anomalyst.evaluation.reports.tables import markdown_table
    from anomalyst.training.experiments.voice_bench import bench_voice
    from anomalyst.voice.transcriber import EMBEDDED

    lines = questions.read_text(encoding="utf-8").splitlines() if questions else []
    texts = [line.strip() for line in lines if line.strip()]
    pictures = (sorted(GOOD.glob("*.jpg"))[:4], sorted(TEST.glob("*.jpg"))[:4]) if asked else None
    found = bench_voice(
        model or [EMBEDDED], out, questions=texts, count=count, asked=asked, pictures=pictures,
        say=say,
    )  # fmt: skip
    rows = [
        (
            row.model,
            row.noise,
            *(f"{v:.1%}" for v in (row.word_error_rate, row.whole)),
            *(f"{v:.1%}" for v in (row.asked_again, row.wrong_believed)),
        )
        for row in found.heard
    ]
    heads = ["model", "noise", "word errors", "whole questions", "asked again", "believed, wrong"]
    typer.echo(markdown_table(heads, rows, words=2))
    if (answers := found.answers) is not None:
        typer.echo(
            f"{answers.questions} spoken questions, clean: {answers.same:.1%} answered in the "
            f"words of the typed one's answer ({answers.same_if_heard_right:.1%} where every word "
            f"was heard right), {answers.asked_again:.1%} asked again. From the WAV file: "
            f"{answers.seconds_to_transcript:.2f} s to the transcript, "
            f"{answers.seconds_to_answer:.2f} s to the answer (medians; the slowest "
            f"{answers.slowest_seconds:.2f} s)."
        )
    typer.echo(f"Written to {out}")
