"""`anomalyst bench segment`: how crisp masks are, and what a click costs."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import progress

SEGMENTERS = ("default", "grabcut")


def segment(
    dataset: Annotated[
        Path | None, Argument(metavar="DATASET", help="Real pictures with masks, too.")
    ] = None,
    category: opt.Categories = None,
    segmenter: Annotated[
        list[str] | None,
        Option(
            metavar="default|run:DIR|sam:DIR|grabcut", help="May be repeated.",
            show_default="default and grabcut",
        ),
    ] = None,
    count: Annotated[int, Option(min=2, help="Things, and pictures, of each table's rows.")] = 40,
    inspected: Annotated[
        bool, Option("--regions/--no-regions", help="Regions before and after, by inspections.")
    ] = True,
) -> None:  # fmt: skip
    """IoU against clicks, regions of inspections before and after refinement, and milliseconds.

    On drawn parts of families that no training has seen, and on the pictures of a set.

    Example: anomalyst bench segment sets/mvtec --category bottle --segmenter sam:models/sam-vit-b
    """
    from anomalyst.datasets.reading import read_categories
    from anomalyst.evaluation.benchmarks import segmentation as bench
    from anomalyst.evaluation.reports.tables import markdown_table
    from anomalyst.inspection.refining import BELIEVED
    from anomalyst.inspector import Inspector
    from anomalyst.segmentation.loading import load_segmenter

    models = [load_segmenter(name) for name in segmenter or SEGMENTERS]
    samples = read_categories(dataset, category or ()) if dataset else []
    names = sorted({one.category for one in samples if one.mask is not None})
    of = {name: [one for one in samples if one.category == name] for name in names}
    targets = {
        "drawn defects": bench.drawn_targets(count, defects=True),
        "drawn parts": bench.drawn_targets(count, defects=False),
        **{name: bench.real_targets(some, count) for name, some in of.items()},
    }
    rows: list[tuple[object, ...]] = []
    with progress("Clicking", len(models) * len(targets)) as bar:
        for model in models:
            for name, some in targets.items():
                curves = [bench.click_curve(model, one) for one in some]
                means = [sum(c[n] for c in curves) / len(curves) for n in bench.CLICKS]
                rows.append((model.name, name, len(some), *(f"{100 * x:.1f}" for x in means)))
                bar.advance()
    heads = ["segmenter", "things", "n", *(f"{n} click{'s' * (n > 1)}" for n in bench.CLICKS)]
    typer.echo(markdown_table(heads, rows, words=2))
    if inspected:
        inspector = Inspector.load()
        with progress("Inspecting", 1 + len(of)) as bar:
            found = {"drawn": bench.inspected_drawn(inspector, count)}
            bar.advance()
            for name, pictures in of.items():
                found[name] = bench.inspected_real(inspector, pictures, count)
                bar.advance()
        for model in models:
            table = []
            for name, seen in found.items():
                one = bench.refinement(seen, model)
                before, after = one.aupro
                table.append((name, one.pictures, "as the map", "", *_percent(*one.before, before)))
                for belief, (fit, edge) in one.after.items():
                    share = f"{100 * one.replaced[belief]:.0f} %"
                    said = after if belief == BELIEVED else float("nan")
                    row = (name, one.pictures, f"{belief:g}", share, *_percent(fit, edge, said))
                    table.append(row)
            heads = ["pictures", "n", "believed from", "crisp", "IoU", "boundary F", "AUPRO 0.3"]
            typer.echo(f"\n{model.name}:\n" + markdown_table(heads, table, words=3))
    shown = targets["drawn parts"][0].picture
    timed = [(one.name, *bench.prompt_milliseconds(one, shown)) for one in models]
    rows = [(name, f"{encode:.1f}", f"{click:.1f}") for name, encode, click in timed]
    typer.echo("\n" + markdown_table(["segmenter", "ms to encode", "ms a click"], rows, words=1))


def _percent(*values: float) -> tuple[str, ...]:
    return tuple("" if value != value else f"{100 * value:.1f}" for value in values)
