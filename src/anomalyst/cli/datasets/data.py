"""`anomalyst data`: look after data sets."""

import json
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from anomalyst.cli import options as opt
from anomalyst.cli.datasets.builders import augment, convert, poisson, synthesize
from anomalyst.cli.datasets.lensing import lensing
from anomalyst.cli.datasets.parts import parts
from anomalyst.cli.screen import needs, progress
from anomalyst.io.files import write_text

app = typer.Typer(
    no_args_is_help=True,
    help="Look data sets over before they are trusted, and make others from them.",
)
for command in (convert, augment, poisson, synthesize, lensing, parts):
    app.command()(command)


@app.command()
def check(
    source: opt.Dataset,
    out: Annotated[
        Path | None, Option(metavar="FILE.json", help="Write the whole report here as JSON, too.")
    ] = None,
    as_json: opt.JsonObject = False,
) -> None:
    """Count, open every picture and mask, and name leaks and shortcuts.

    Finds broken files, masks that are missing, left over, empty or of another size, the same
    picture in train and in test, and numbers such as brightness that alone tell good from bad.

    Example: anomalyst data check sets/bolts --out bolts-check.json

    Ends with exit code 0 whatever is found; with 2 if the set itself cannot be read.
    """
    needs("evaluate", "sklearn")
    from anomalyst.datasets.checks import check as check_dataset

    with progress("Opening pictures") as bar:
        report = check_dataset(source, on_progress=bar.show)
    text = json.dumps(report.as_dict(), indent=2, ensure_ascii=False)
    if out is not None:
        write_text(out, text + "\n")
    typer.echo(text if as_json else report.as_text())


@app.command()
def world(
    out: Annotated[Path, Argument(metavar="DIR", help="An empty folder.")],
    family: Annotated[str, Option(metavar="NAME", help="Which kind of product.")] = "biscuit",
    seed: Annotated[int, Option(help="Another seed is another product.")] = 0,
    size: Annotated[int, Option(help="Side of the pictures in pixels.")] = 320,
    good: Annotated[int, Option(help="Good pictures to train on.")] = 20,
    bad: Annotated[int, Option(help="Defective pictures to test with.")] = 20,
) -> None:
    """Draw an invented product as a data set, with masks and the truth in words.

    Example: anomalyst data world sets/module --family "circuit module" --seed 3
    """
    from anomalyst.synthetic.procedural.dataset import SetConfig, write_dataset

    config = SetConfig(family=family, seed=seed, size_px=size, train=good, test_bad=bad)
    write_dataset(out, config)
    typer.echo(f"Drawn: {out}")


@app.command()
def senses(
    out: Annotated[Path, Argument(metavar="DIR", help="An empty folder.")],
    seed: Annotated[int, Option(min=0, help="Another seed is another product.")] = 0,
    size: Annotated[int, Option(help="Side of pictures, depth and heat in pixels.")] = 160,
    good: Annotated[int, Option(min=1, help="Good parts to teach with.")] = 20,
    new: Annotated[int, Option(min=1, help="Other parts, a third of them sound.")] = 12,
) -> None:
    """Draw an invented part by picture, depth, heat, sound and vibration: something to try with.

    DIR/good/audio/p00.wav and DIR/good/depth/p00.npy are of one part; depth is in mm, heat in C.
    DIR/truth.json says what is true of the parts in DIR/new.

    Example: anomalyst data senses out/line && anomalyst teach line --audio out/line/good/audio
    """
    needs("senses", "soundfile", "pandas")
    from anomalyst.synthetic.senses.files import write_product
    from anomalyst.synthetic.senses.part import SensesConfig

    with progress("Drawing", good + new) as bar:
        config = SensesConfig(size_px=size)
        write_product(out, seed=seed, good=good, new=new, config=config, on_part=bar.advance)
    typer.echo(f"Drawn: {out}")


@app.command()
def gallery(
    out: opt.Results = Path("out/gallery"),
    seed: Annotated[int, Option(help="Another seed, other products.")] = 0,
) -> None:
    """Draw sheets: every product family, defect, way of planting defects, and the six senses.

    Example: anomalyst data gallery --out out/gallery
    """
    from anomalyst.synthetic.procedural.gallery import num_rows, write_gallery
    from anomalyst.synthetic.senses.gallery import write_senses_sheet
    from anomalyst.synthetic.senses.part import FAULTY

    with progress("Drawing", num_rows() + len(FAULTY)) as bar:
        write_gallery(out, seed=seed, on_row=bar.advance)
        write_senses_sheet(out / "senses.jpg", seed=seed, on_row=bar.advance)
    typer.echo(f"Sheets: families.jpg, defects.jpg, planted.jpg and senses.jpg in {out}")
