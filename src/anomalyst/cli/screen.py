"""What the terminal shows: progress on stderr, results on stdout."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

Adapt = Annotated[
    bool | None,
    typer.Option(
        "--adapt/--no-adapt",
        help="Fit the detector to it: 4 or more pictures, seconds. They calibrate no longer.",
        show_default="from 27 good pictures on",
    ),
]

ProductName = Annotated[
    str | None, typer.Option(metavar="NAME", help="A product made with `anomalyst teach`.")
]
References = Annotated[
    list[Path] | None,
    typer.Option(metavar="GOOD", help="A good picture to compare with; may be repeated."),
]
About = Annotated[
    str,
    typer.Option(metavar="TEXT", help="What to know of the product, as in 'the print is 500'."),
]
FalseAlarmRate = Annotated[
    float, typer.Option(help="The share of good pictures a verdict may call anomalous.")
]
Dataset = Annotated[
    Path,
    typer.Argument(
        metavar="DATASET",
        help="The set: a folder (MVTec-AD, VisA, AeBAD-S or plain), or a .csv/.jsonl table.",
        show_default=False,
    ),
]
Categories = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="Only this one; may be repeated.")
]
Products = Annotated[Path, typer.Option(metavar="DIR", help="Where taught products live.")]
Home = Annotated[Path, typer.Option(metavar="DIR", help="Where the record is: database, pictures.")]
Database = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="postgresql+psycopg://USER:PASSWORD@HOST/NAME.",
        show_default="SQLite in --home",
    ),
]  # fmt: skip
_ENCODERS, _ENCODER_HELP = "embedded|run:DIR|hf:DIR", "What sees: shipped, of a run, or a model."
Encoder = Annotated[str, typer.Option(metavar=_ENCODERS, help=_ENCODER_HELP)]
EncoderName = Annotated[
    str | None,
    typer.Option(
        metavar=_ENCODERS, help=_ENCODER_HELP, show_default="the product's, or embedded"
    ),
]  # fmt: skip
Precision = Annotated[
    str,
    typer.Option(
        metavar="auto|float32|bfloat16",
        help="Of the networks' sums; auto: as the processor is quickest.",
    ),
]
SideOption = Annotated[
    str | None,
    typer.Option(
        "--side",
        metavar="64..1024|auto",
        help="Working side in pixels; auto: from the finest structure of the good pictures.",
        show_default="the product's, or the encoder's own: 256",
    ),
]
SmallestDefect = Annotated[
    float | None,
    typer.Option(
        "--smallest-defect-px",
        metavar="N",
        help="Look so closely that a defect of N pixels of the picture is seen.",
    ),
]
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="auto|torch|onnx|openvino",
        help="What runs the networks; auto: one built by `anomalyst export`, else torch.",
    ),
]
Device = Annotated[
    str,
    typer.Option(metavar="auto|cpu|cuda", help="Where networks compute; auto: a GPU if there is."),
]
Language = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="What answers: the folder of a model trained with the encoder.",
        show_default="shipped, for the embedded encoder",
    ),
]


@contextmanager
def progress(description: str, total: int | None) -> Iterator[tuple["Progress", "object"]]:
    """A progress bar on stderr; silent where nobody watches."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as bar:
        yield bar, bar.add_task(description, total=total)


@contextmanager
def counted(description: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar that is told (done, total)."""
    with progress(description, None) as (bar, task):
        yield lambda done, total: bar.update(task, completed=done, total=total)  # type: ignore[arg-type]


def needs(extra: str, *modules: str) -> None:
    """Raises AnomalystError that names the extra to install, if one of its modules is missing."""
    from importlib.util import find_spec

    from anomalyst.errors import AnomalystError

    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise AnomalystError(
            f"this needs {', '.join(missing)}; install it with `pip install 'anomalyst[{extra}]'`."
        )


def say(text: str) -> None:
    """A message that is not a result: stderr."""
    typer.echo(text, err=True)


def pictures_in(paths: Sequence[Path]) -> list[Path]:
    """Files as they are, folders as the pictures in them.

    Raises AnomalystError for a folder without pictures; a missing file is left for its own error.
    """
    from anomalyst.errors import AnomalystError
    from anomalyst.io.pictures import list_pictures

    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = list_pictures(path)
            if not inside:
                raise AnomalystError(
                    f"{path}: holds no picture; PNG, JPEG, BMP, TIFF or WebP files are needed."
                )
            found += inside
        else:
            found.append(path)
    return found
