"""`anomalyst bench`: how fast it is on this machine."""

import dataclasses
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from anomalyst.cli.demo import PICTURES
from anomalyst.cli.screen import Encoder, EngineOption, Precision, needs, pictures_in, progress
from anomalyst.errors import PictureError

if TYPE_CHECKING:
    from anomalyst.evaluation.benchmarks.inspection import BenchResult

app = typer.Typer(no_args_is_help=True, help="Speed and memory on this machine.")


@app.callback()
def bench() -> None:
    """Speed and memory on this machine."""


@app.command()
def inspect(
    image: Annotated[
        list[Path] | None,
        typer.Argument(metavar="IMAGE...", help="Pictures or folders; the bundled ones if none."),
    ] = None,
    reference: Annotated[
        list[Path] | None, typer.Option(metavar="GOOD", help="Good pictures or folders.")
    ] = None,
    side: Annotated[
        int, typer.Option(min=64, max=1024, help="Working side in pixels; tiles above 512.")
    ] = 256,
    references: Annotated[
        int, typer.Option(min=1, help="How many good pictures to compare with.")
    ] = 1,
    pictures: Annotated[int, typer.Option(min=1, help="How many pictures to inspect.")] = 50,
    encoder: Encoder = "embedded",
    precision: Precision = "auto",
    engine: EngineOption = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Time teaching and inspecting, stage by stage; count memory and operations.

    Example: anomalyst bench inspect --references 8 --pictures 100
    Example: anomalyst bench inspect --side 512 --pictures 10
    """
    from anomalyst.evaluation.benchmarks.inspection import bench_inspect

    folder = PICTURES / "circuit-module"
    good = pictures_in(reference or [folder / "good"])
    some = _repeated(pictures_in(image or [folder / "test"]), pictures)
    with (
        TemporaryDirectory() as copies,
        progress("Inspecting", len(some)) as (bar, task),
    ):
        result = bench_inspect(
            _copied(_repeated(good, references), Path(copies)),
            some,
            side_px=side,
            encoder=encoder,
            precision=precision,  # type: ignore[arg-type]
            engine=engine,  # type: ignore[arg-type]
            on_picture=lambda: bar.advance(task),  # type: ignore[arg-type]
        )
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(result)))
    else:
        _show(result)


@app.command()
def ways(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="The set, as for `evaluate`.")],
    shots: Annotated[int, typer.Option(min=1, help="Good training pictures to teach.")] = 1,
    category: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this one; may be repeated.")
    ] = None,
    max_pictures: Annotated[
        int | None, typer.Option(metavar="N", help="At most N test pictures per category.")
    ] = None,
    way: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENGINE:PRECISION",
            help="As torch:float32; may be repeated; the first is the "
            "one the others are compared with.",
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
    with progress("Comparing", total) as (bar, task):
        found = compare_ways(
            samples, chosen, shots=shots, max_pictures=max_pictures,
            on_picture=lambda: bar.advance(task),  # type: ignore[arg-type]
        )  # fmt: skip
    typer.echo(ways_table(found))


@app.command()
def beside(
    jobs: Annotated[int, typer.Option(min=2, help="How many at once.")] = 2,
    pictures: Annotated[int, typer.Option(min=1, help="Pictures of each.")] = 60,
    rounds: Annotated[int, typer.Option(min=1, help="Turns; medians are told.")] = 3,
    threads: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Of each.", show_default="as `inspect` by itself"),
    ] = None,
    engine: EngineOption = "auto",
) -> None:
    """Run `inspect` alone, then several times at once: what jobs on one machine cost each other.

    Example: anomalyst bench beside --jobs 2 --pictures 100
    """
    from anomalyst.evaluation.benchmarks.concurrent import bench_beside

    folder = PICTURES / "circuit-module"
    good = pictures_in([folder / "good"])
    before = [] if threads is None else ["--threads", str(threads)]
    with progress("Inspecting", rounds) as (bar, task):
        result = bench_beside(
            good[:1], _repeated(good, pictures), jobs=jobs, rounds=rounds, before=before,
            options=["--engine", engine], on_round=lambda: bar.advance(task),  # type: ignore[arg-type]
        )  # fmt: skip
    typer.echo(
        f"{result.pictures} pictures: alone {result.alone_s:.2f} s; {jobs} jobs at once "
        f"{result.together_s:.2f} s, {result.ratio:.2f} times as long"
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
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Per picture, milliseconds")
    table.add_column("")
    for stage in result.median_ms:
        table.add_column(stage, justify="right")
    table.add_row("median", *(f"{v:.1f}" for v in result.median_ms.values()))
    table.add_row("p95", *(f"{v:.1f}" for v in result.p95_ms.values()))
    console = Console()
    console.print(table)
    console.print(
        f"load {result.load_ms:.0f} ms, teach {result.teach_ms:.0f} ms "
        f"({result.adapt_ms:.0f} with fitting), "
        f"first picture {result.first_ms:.0f} ms\n"
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
    episodes: Annotated[int, typer.Option(min=1, help="Drawn pictures to ask about.")] = 1000,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Ask about drawn parts of families that words were never learnt from; count right answers.

    Example: anomalyst bench words --episodes 1000
    """
    from anomalyst.evaluation.benchmarks.language import judge_words
    from anomalyst.inspector import Inspector

    inspector = Inspector.load()
    with progress("Asking", episodes) as (bar, task):
        scores = judge_words(inspector, episodes, lambda: bar.advance(task))  # type: ignore[arg-type]
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
    pictures: Annotated[int, typer.Option(min=1, help="How many pictures to ask about.")] = 30,
    question: Annotated[
        str, typer.Option(metavar="TEXT", help="What to ask.")
    ] = "Is there a defect, and where?",
) -> None:
    """Time the whole answer about a new picture: map, verdict and words.

    Example: anomalyst bench ask --pictures 50
    """
    from anomalyst.evaluation.benchmarks.inspection import bench_ask

    folder = PICTURES / "circuit-module"
    good = pictures_in([folder / "good"])[:1]
    some = _repeated(pictures_in([folder / "test"]), pictures)
    with progress("Asking", len(some)) as (bar, task):
        result = bench_ask(good, some, question, lambda: bar.advance(task))  # type: ignore[arg-type]
    typer.echo(
        f"map {result.map_ms:.0f} ms, words {result.words_ms:.0f} ms, both {result.both_ms:.0f} ms "
        f"(medians of {len(some)}); {result.forty_tokens_ms:.0f} ms for 40 tokens"
    )
