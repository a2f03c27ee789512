"""`anomalyst demo`: the main job on the bundled pictures, offline."""

from pathlib import Path
from typing import Annotated

import typer

from anomalyst.cli.inspect import leave, run, show

PICTURES = Path(__file__).parent.parent / "demo"


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the reports go.")] = Path(
        "out/demo"
    ),
) -> None:
    """Teach three products from one bundled good picture each, inspect others, write a report.

    The pictures were drawn by our own program (synthesis/world); no network is needed.

    Example: anomalyst demo --out out/demo
    """
    from anomalyst.imaging import list_pictures
    from anomalyst.inspector import Inspector

    inspector = Inspector.load()
    batches = []
    for folder in sorted(p for p in PICTURES.iterdir() if (p / "good").is_dir()):
        product = inspector.teach(folder.name, list_pictures(folder / "good"))
        batches.append((product, list_pictures(folder / "test")))
    outcome = run(inspector, batches, out=out)
    show(outcome, out)
    leave(outcome)
