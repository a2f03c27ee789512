"""`anomalyst demo`: the main job on the bundled pictures, offline."""

from pathlib import Path
from typing import Annotated

import typer

from anomalyst.cli.batch import leave, run, show
from anomalyst.cli.screen import progress

PICTURES = Path(__file__).parent.parent / "demo"


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the reports go.")] = Path(
        "out/demo"
    ),
) -> None:
    """Teach three products from twenty bundled good pictures each, inspect others, write a report.

    The pictures were drawn by our own program (synthetic/procedural); no network is needed.

    Example: anomalyst demo --out out/demo
    """
    from anomalyst.inspector import Inspector
    from anomalyst.io.pictures import list_pictures

    inspector = Inspector.load()
    folders = sorted(p for p in PICTURES.iterdir() if (p / "good").is_dir())
    good = [list_pictures(folder / "good") for folder in folders]
    batches = []
    with progress("Looking at good pictures", sum(map(len, good))) as (bar, task):
        for folder, pictures in zip(folders, good, strict=True):
            bar.update(task, description=f"Learning {folder.name}")  # type: ignore[arg-type]
            product = inspector.teach(
                folder.name,
                pictures,
                on_picture=lambda _: bar.advance(task),  # type: ignore[arg-type]
            )
            batches.append((product, list_pictures(folder / "test")))
    outcome = run(inspector, batches, out=out)
    show(outcome, out)
    leave(outcome)
