"""`anomalyst demo`: the main job on the bundled pictures, offline."""

from pathlib import Path
from typing import Annotated

import typer

from anomalyst.cli.inspect import Outcome, run, show

PICTURES = Path(__file__).parent.parent / "demo"


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the reports go.")] = Path(
        "out/demo"
    ),
) -> None:
    """Teach two products from their bundled good pictures, inspect others, write a report.

    The pictures were drawn by our own program (synthesis/world); no network is needed.

    Example: anomalyst demo --out out/demo
    """
    from anomalyst.imaging import list_pictures
    from anomalyst.inspector import Inspector

    inspector = Inspector.load()
    for folder in sorted(p for p in PICTURES.iterdir() if p.is_dir() and p.name[0] not in "._"):
        product = inspector.teach(folder.name, list_pictures(folder / "good"))
        outcome: Outcome = run(
            inspector,
            list_pictures(folder / "test"),
            product,
            out=out / folder.name,
            as_json=False,
            false_alarm_rate=0.05,
        )
        typer.echo(f"\n{folder.name}, taught from {product.num_references} good picture(s):")
        show(outcome, out / folder.name)
