"""`anomalyst study networks`: ViT against CNN on one labelled set, with a paper of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, progress, say


def networks(
    dataset: Annotated[
        Path,
        Argument(metavar="DATASET", help="Labelled pictures: train/CLASS/*, test/CLASS/*."),
    ],
    override: opt.Overrides = None,
    groups: Annotated[
        str, Option(metavar="GROUP,...", help="Of scratch, distilled, normalised, ablation.")
    ] = "scratch,distilled,normalised,ablation",
    seeds: Annotated[int, Option(min=1, help="Runs of each arm.")] = 3,
    only: Annotated[
        list[int] | None,
        Option(metavar="SEED", help="Train runs of this seed only: processes share the work."),
    ] = None,
    recipes: Annotated[
        Path, Option(metavar="DIR", help="Recipes by network: vit.yaml, deit.yaml, ...")
    ] = Path("recipes/supervised"),
    out: Annotated[
        Path, Option(metavar="DIR", help="Runs, page and paper; the same command goes on there.")
    ] = Path("out/networks"),
) -> None:
    """Train every network on the same pictures, compare them, and write a paper.

    ViT, DeiT, CvT, ResNet, VGG, AlexNet and LeNet-5 at about the same number of parameters: from
    labels alone; taught by a CNN (ResNet, VGG and AlexNet in turn, hard, soft, by features); with
    other normalisations; and a ViT of other depth, width and patches. Curves, ROC with DeLong's
    intervals, calibration, operations, milliseconds at float32 and in 8 bit. Writes networks.html,
    networks.md, results.json, vit-vs-cnn.html and, with WeasyPrint, vit-vs-cnn.pdf.

    Example: anomalyst data lensing sets/lenses && anomalyst study networks sets/lenses

    Example: anomalyst study networks sets/lenses params=0.3M size=64 epochs=5 --groups scratch

    Example: anomalyst study networks sets/lenses --only 0 (and --only 1 in another terminal)
    """
    needs("train", "matplotlib", "psutil")
    from anomalyst.training.studies.networks.page import write_networks_page
    from anomalyst.training.studies.networks.paper import write_paper
    from anomalyst.training.studies.networks.plan import NetworksConfig, chosen_groups
    from anomalyst.training.studies.networks.results import write_results
    from anomalyst.training.studies.networks.study import run_networks

    config = NetworksConfig(
        data=dataset,
        recipes=recipes,
        overrides=tuple(override or ()),
        groups=chosen_groups(groups),
        seeds=seeds,
    )
    with progress("Preparing") as bar:
        begun = 0

        def heard(arm: str, seed: int) -> Callable[[dict[str, Any]], None]:
            nonlocal begun
            bar.describe(f"{arm}, seed {seed}")
            bar.show(begun)
            begun += 1

            def show(line: dict[str, Any]) -> None:
                if line.get("step") == line.get("steps", 0):
                    say(f"{arm}, seed {seed}: loss {line['loss']:.4f}")

            return show

        results = run_networks(
            config, out, only=only or (), on_plan=lambda total: bar.show(0, total), on_run=heard
        )
    if results is None:
        say("Runs of other seeds are missing; the same command without --only goes on with them.")
        return
    write_results(out, results)
    typer.echo(write_networks_page(out, results))
    written = write_paper(out, results, dataset)
    if len(written) == 1:
        say("No PDF: it takes pip install -c constraints.txt weasyprint, and Pango (libpango).")
    typer.echo(f"Written to {out}: networks.html, {', '.join(one.name for one in written)}")
