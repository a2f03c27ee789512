"""`anomalyst look learning`: how fast each layer of a run came to what it is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument

from anomalyst.cli.looking.opening import Out, opened, page_path
from anomalyst.cli.screen import needs, pictures_in, print_table, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anomalyst.explaining.learning_speed import LayerSpeed

MOST_COLUMNS = 5  # of the steps in the terminal's table; the page has all


def learning(
    run: Annotated[str, Argument(metavar="RUN", help="A run's folder with its checkpoints.")],
    pictures: Annotated[list[Path], Argument(metavar="PICTURES...", help="Files or folders.")],
    out: Out = None,
) -> None:
    """How like each layer's features are to those it ends with, checkpoint by checkpoint.

    Linear CKA on the pictures given (20 or more tell well), 1 where they are the same but for a
    rotation. A run keeps its last two checkpoints unless its recipe says more:
    checkpoint_every=50 keep_checkpoints=100.

    Example: anomalyst look learning runs/resnet parts/test
    """
    needs("evaluate", "matplotlib")
    from anomalyst.explaining.checkpoints import features_by_checkpoint
    from anomalyst.explaining.drawn_curves import draw_speeds
    from anomalyst.explaining.learning_speed import learning_speeds
    from anomalyst.explaining.page import write_looked
    from anomalyst.io.pictures import open_picture
    from anomalyst.report.sections import Section

    path, model = page_path(out, "learning"), opened(run)
    seen = [open_picture(file) for file in pictures_in(pictures)]
    with progress("Reading checkpoints") as bar:
        steps, features = features_by_checkpoint(
            Path(run.removeprefix("run:")), model, seen, on_checkpoint=bar.show
        )
    speeds = learning_speeds(features)
    heads = ("layer", *(f"step {step:,}" for step in steps), "0.9 from")
    rows = [_row(one, steps) for one in speeds]
    few = sorted({round(n * (len(steps) - 1) / (MOST_COLUMNS - 1)) for n in range(MOST_COLUMNS)})
    columns = [0, *(n + 1 for n in few), len(heads) - 1]
    print_table(
        f"Likeness to step {steps[-1]:,} (linear CKA)",
        [heads[n] for n in columns],
        [[row[n] for n in columns] for row in rows],
    )
    drawn = draw_speeds(path.with_suffix(".png"), steps, speeds)
    section = Section(heads=heads, rows=tuple(rows), pictures=(("Likeness by step", drawn),))
    intro = (
        f"Linear CKA of each layer's features on {len(seen)} pictures with those of the last "
        "checkpoint. 1: the same but for rotation and scale. Before the first checkpoint nothing "
        "is known; the last one is 1 by definition, and a falling learning rate alone brings all "
        "layers to their end. Classifiers that hardly learn anything come to an end as well.",
    )
    typer.echo(f"Written to {write_looked(path, f'How fast {run} learnt', intro, [section])}")


def _row(one: "LayerSpeed", steps: "Sequence[int]") -> tuple[str, ...]:
    reached = one.reached(steps)
    return (
        one.layer,
        *(f"{value:.3f}" for value in one.likeness),
        "-" if reached is None else f"{reached:,}",
    )
