"""`anomalyst bench`: how fast it is on this machine."""

import dataclasses
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from anomalyst.cli import options as opt
from anomalyst.cli.demo import PICTURES
from anomalyst.cli.screen import needs, pictures_in, print_table, progress
from anomalyst.errors import PictureError

if TYPE_CHECKING:
    from anomalyst.evaluation.benchmarks.inspection import BenchResult

GOOD, TEST = PICTURES / "circuit-module" / "good", PICTURES / "circuit-module" / "test"
app = typer.Typer(no_args_is_help=True, help="Speed and memory on this machine.")


@app.command()
def inspect(
    image: Annotated[
        list[Path] | None,
        Argument(metavar="IMAGE...", help="Pictures or folders; the bundled ones if none."),
    ] = None,
    reference: opt.References = None,
    side: Annotated[int, Option(min=64, max=1024, help="Working side; tiles above 512.")] = 256,
    references: Annotated[int, Option(min=1, help="How many good pictures to compare with.")] = 1,
    pictures: Annotated[int, Option(min=1, help="How many pictures to inspect.")] = 50,
    encoder: opt.Encoder = "embedded",
    precision: opt.Precision = "auto",
    engine: opt.Engine = "auto",
    as_json: opt.JsonObject = False,
) -> None:
    """Time teaching and inspecting, stage by stage; count memory and operations.

    Example: anomalyst bench inspect --references 8 --pictures 100
    Example: anomalyst bench inspect --side 512 --pictures 10
    """
    from anomalyst.evaluation.benchmarks.inspection import bench_inspect

    good = _repeated(pictures_in(reference or [GOOD]), references)
    some = _repeated(pictures_in(image or [TEST]), pictures)
    with TemporaryDirectory() as copies, progress("Inspecting", len(some)) as bar:
        result = bench_inspect(
            _copied(good, Path(copies)),
            some,
            side_px=side,
            encoder=encoder,
            precision=precision,  # type: ignore[arg-type]
            engine=engine,  # type: ignore[arg-type]
            on_picture=bar.advance,
        )
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(result)))
    else:
        _show(result)


@app.command()
def ways(
    dataset: opt.Dataset,
    shots: Annotated[int, Option(min=1, help="Good training pictures to teach.")] = 1,
    category: opt.Categories = None,
    max_pictures: opt.MaxPictures = None,
    way: Annotated[
        list[str] | None,
        Option(
            metavar="ENGINE:PRECISION",
            help="As torch:float32; may be repeated; the first is the one the others are compared "
            "with.",
            show_default="all that are here",
        ),
    ] = None,
) -> None:
    """Inspect the same pictures in every precision and on every engine: time, AUROC, verdicts.

    Example: anomalyst bench ways sets/mvtec --max-pictures 40
    Example: anomalyst bench ways sets/mvtec --way torch:float32 --way onnx:float32
    """  # fmt: skip
    needs("evaluate", "matplotlib")
    from anomalyst.datasets.reading import read_categories
    from anomalyst.evaluation.benchmarks.engines import Way, compare_ways, ways_here, ways_table
    from anomalyst.evaluation.protocols.plans import plan_runs

    samples = read_categories(dataset, category or [])
    plans = plan_runs(samples, shots, 1, max_pictures=max_pictures)
    chosen = list(dict.fromkeys(map(Way.read, way))) if way else ways_here()
    total = len(chosen) * sum(len(plan.test) for plan in plans)
    with progress("Comparing", total) as bar:
        found = compare_ways(
            samples, chosen, shots=shots, max_pictures=max_pictures, on_picture=bar.advance
        )
    typer.echo(ways_table(found))


@app.command()
def beside(
    jobs: Annotated[int, Option(min=2, help="How many at once.")] = 2,
    pictures: Annotated[int, Option(min=1, help="Pictures of each.")] = 60,
    rounds: Annotated[int, Option(min=1, help="Rounds; medians are printed.")] = 3,
    threads: Annotated[
        int | None,
        Option(min=1, metavar="N", help="Of each.", show_default="as `inspect` by itself"),
    ] = None,
    engine: opt.Engine = "auto",
) -> None:
    """Run `inspect` alone, then several times at once: what jobs on one machine cost each other.

    Example: anomalyst bench beside --jobs 2 --pictures 100
    """
    from anomalyst.evaluation.benchmarks.concurrent import bench_concurrent

    good = pictures_in([GOOD])
    before = [] if threads is None else ["--threads", str(threads)]
    with progress("Inspecting", rounds) as bar:
        alone_s, together_s = bench_concurrent(
            good[:1],
            _repeated(good, pictures),
            jobs=jobs,
            rounds=rounds,
            before=before,
            options=["--engine", engine],
            on_round=bar.advance,
        )
    typer.echo(
        f"{pictures} pictures: alone {alone_s:.2f} s; {jobs} jobs at once {together_s:.2f} s, "
        f"{together_s / alone_s:.2f} times as long"
    )


def _repeated(paths: list[Path], count: int) -> list[Path]:
    """The first `count` of the paths, going round when there are fewer."""
    return [paths[i % len(paths)] for i in range(count)]


def _copied(paths: list[Path], folder: Path) -> list[Path]:
    """Each under a name of its own: a product takes a file named twice for one reference."""
    targets = [folder / f"{i:04d}{path.suffix}" for i, path in enumerate(paths)]
    for path, target in zip(paths, targets, strict=True):
        if not path.is_file():
            raise PictureError(path, "there is no such file.")
        shutil.copyfile(path, target)
    return targets


def _show(result: "BenchResult") -> None:
    rows = [("median", *map("{:.1f}".format, result.median_ms.values()))]
    rows += [("p95", *map("{:.1f}".format, result.p95_ms.values()))]
    print_table("Per picture, milliseconds", ["", *result.median_ms], rows)
    typer.echo(
        f"load {result.load_ms:.0f} ms, teach {result.teach_ms:.0f} ms "
        f"({result.adapt_ms:.0f} with fitting), first picture {result.first_ms:.0f} ms\n"
        f"stream {result.pictures_per_second:.1f} pictures/s, "
        f"peak memory {result.peak_memory_mb:.0f} MiB\n"
        f"{result.gflop_per_picture:.2f} GFLOP a picture; matrix-product peak "
        f"{result.peak_gflops['float32']:.0f} (float32) and "
        f"{result.peak_gflops['bfloat16']:.0f} GFLOP/s (bfloat16); "
        f"{result.share_of_peak:.0%} of that of the precision in use\n"
        f"an inspection takes as long as {result.products:.2f} float32 products of two 1024 x 1024 "
        "matrices\n" + ", ".join(f"{name} {value}" for name, value in result.setting.items())
    )


@app.command()
def words(
    episodes: Annotated[int, Option(min=1, help="Drawn pictures to ask about.")] = 1000,
    as_json: opt.JsonObject = False,
) -> None:
    """Ask about drawn parts of families that words were never learnt from; count right answers.

    Example: anomalyst bench words --episodes 1000
    """
    from anomalyst.evaluation.benchmarks.language import judge_words
    from anomalyst.inspector import Inspector

    inspector = Inspector.load()
    with progress("Asking", episodes) as bar:
        scores = judge_words(inspector, episodes, bar.advance)
    if as_json:
        typer.echo(json.dumps({name: dataclasses.asdict(s) for name, s in scores.items()}))
        return
    for name, score in scores.items():
        shares = ", ".join(f"{what} {100 * share:.1f} %" for what, share in score.shares().items())
        typer.echo(
            f"{name}: {shares}; {score.contradictions} contradictions in {score.answers} answers, "
            f"{score.corrected} corrected"
        )


@app.command()
def ask(
    pictures: Annotated[int, Option(min=1, help="How many pictures to ask about.")] = 30,
    question: Annotated[
        str, Option(metavar="TEXT", help="What to ask.")
    ] = "Is there a defect, and where?",
) -> None:
    """Time the whole answer about a new picture: map, verdict and words.

    Example: anomalyst bench ask --pictures 50
    """
    from anomalyst.evaluation.benchmarks.inspection import bench_ask

    some = _repeated(pictures_in([TEST]), pictures)
    with progress("Asking", len(some)) as bar:
        ms = bench_ask(pictures_in([GOOD])[:1], some, question, bar.advance)
    typer.echo(
        f"map {ms['map']:.0f} ms, words {ms['words']:.0f} ms, both {ms['both']:.0f} ms "
        f"(medians of {len(some)}); {ms['forty tokens']:.0f} ms for 40 tokens"
    )
