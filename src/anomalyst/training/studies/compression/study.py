"""Detector and language model made smaller in every way: one table, a row at a time.

Rows are kept as they come, so a run that stopped goes on. Times are told as multiples of float32's,
measured in turns with it in the same minute: other programs slow both.
"""

import copy
import csv
import json
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from pathlib import Path

import torch
from scipy.stats import spearmanr

from anomalyst.config import from_mapping
from anomalyst.errors import AnomalystError
from anomalyst.evaluation.protocols.protocol import ProtocolConfig, Results, evaluate
from anomalyst.evaluation.reports.tables import summarise
from anomalyst.hardware.processor import checked_choice
from anomalyst.inspection.config import EMBEDDED_LANGUAGE, InspectorConfig
from anomalyst.inspector import Inspector
from anomalyst.io.files import make_folder, write_bytes, write_text
from anomalyst.layers.packed import kept_bytes
from anomalyst.synthetic.procedural import WorldConfig, make_episode
from anomalyst.training.studies.compression import detector_ways, language_ways
from anomalyst.training.studies.compression.detector_ways import Made, Workshop
from anomalyst.training.studies.compression.imitation import Imitation
from anomalyst.training.studies.compression.page import Row, compression_table, draw_compression
from anomalyst.training.studies.resuming import begin_study
from anomalyst.types import Sample
from anomalyst.vlm.huggingface.loading import load_model

DISTILLED = "distilled"
EXAMPLES_SEED = 1 << 45  # drawn pictures that fix the ranges of 8 bit


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionStudy:
    """How much of everything; what decides the outcome."""

    max_pictures: int = 16  # test pictures of each category
    steps: int = 40  # of fine-tuning
    rounds: int = 5  # of timing
    dialogues: int = 4  # held-out batches of eight
    examples: int = 8
    detector: tuple[str, ...] = tuple(detector_ways.WAYS)
    language: tuple[str, ...] = tuple(language_ways.WAYS)
    half: str = ""  # run:DIR of recipes/half.yaml
    halves: tuple[str, ...] = field(default=())  # categories of the first half; others: the second


def study_compression(
    samples: Sequence[Sample],
    study: CompressionStudy,
    out: Path,
    *,
    say: Callable[[str], None] = lambda _: None,
    on_step: Callable[[], None] = lambda: None,
) -> list[Row]:
    """All rows; compression.json, .md and .png in `out`. Goes on where it stopped.

    Raises AnomalystError for an unknown way and for a folder that holds another study.
    """
    for option, names, known_ways in (
        ("--detector", study.detector, detector_ways.WAYS),
        ("--language", study.language, language_ways.WAYS),
    ):
        for name in names:
            checked_choice(option, name, tuple(known_ways))
    make_folder(out)
    settings = {
        "max_pictures": study.max_pictures,
        "steps": study.steps,
        "halves": list(study.halves),
        "categories": sorted({sample.category for sample in samples}),
    }
    begin_study(out, settings)
    rows: list[Row] = []
    for name in [*study.detector, *([f"{DISTILLED} ({study.half})"] if study.half else [])]:
        make = partial(_detector, name, samples, study, out, on_step)
        rows.append(_kept(out, "detector", name, make))
        say(rows[-1].line())
    # Of the evaluations that are kept, so that it does not matter which way was measured first.
    rows = [
        replace(row, figures={**row.figures, **_beside_float32(out, row.way)}) if row.bytes else row
        for row in rows
    ]
    known = cache(
        partial(
            language_ways.dialogues, out / "looks", steps=study.steps, batch=8,
            held_out=study.dialogues,
        )
    )  # fmt: skip
    for name in study.language:
        rows.append(_kept(out, "language", name, partial(_language, name, known, study, on_step)))
        say(rows[-1].line())
    write_text(out / "compression.json", json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    write_text(out / "compression.md", compression_table(rows))
    write_bytes(out / "compression.png", draw_compression(rows))
    return rows


def _kept(out: Path, network: str, name: str, make: Callable[[], Row]) -> Row:
    """The row of a way, measured unless it was."""
    path = out / "rows" / f"{network}-{_as_file(name)}.json"
    if path.is_file():
        return from_mapping(Row, json.loads(path.read_text(encoding="utf-8")), where=str(path))
    row = make()
    write_text(path, json.dumps(asdict(row), indent=1) + "\n")
    return row


def _refused(network: str, name: str, why: AnomalystError) -> Row:
    return Row(network=network, way=name, bytes=None, figures={}, times=None, said=str(why))


def _inspector(spec: str = "embedded") -> Inspector:
    config = InspectorConfig(precision="float32", engine="torch", device="cpu")
    return Inspector.load(spec, config)


def _detector(
    name: str, samples: Sequence[Sample], study: CompressionStudy, out: Path,
    on_step: Callable[[], None],
) -> Row:  # fmt: skip
    plain = _inspector()
    if name.startswith(DISTILLED):
        inspector = _inspector(study.half)
        networks = (inspector.detector.encoder, inspector.detector.decoder)
        size = sum(kept_bytes(one) for one in networks if one is not None)
        made = Made(size, "a detector of another run, as it ships")
    else:
        inspector = _inspector()
        shop = Workshop(
            examples=partial(_examples, study.examples),
            imitation=Imitation(steps=study.steps),
            on_step=on_step,
        )
        try:
            made = detector_ways.WAYS[name](inspector.detector, shop)
        except AnomalystError as error:
            return _refused("detector", name, error)
    config = ProtocolConfig(shots=1, seeds=1, max_pictures=study.max_pictures)
    found = evaluate(
        inspector, samples, config, out=_run_folder(out, name), progress=lambda _: on_step()
    )
    figures = _figures(found, study.halves)
    times = _times_as_long(plain, inspector, samples, study.rounds)
    return Row(network="detector", way=name, bytes=made.bytes, figures=figures, times=times,
               said=made.said)  # fmt: skip


def _run_folder(out: Path, name: str) -> Path:
    return out / "runs" / _as_file(name)


def _as_file(name: str) -> str:
    return re.sub(r"[^0-9A-Za-z-]+", "-", name).strip("-")


def _figures(found: Results, halves: Sequence[str]) -> dict[str, float | None]:
    """In percent: means over the categories, and over each half of them."""
    lines, mean = summarise(found)
    figures = {key: _percent(mean.metrics[key].mean) for key in ("image_auroc", "pixel_ap")}
    for title, inside in (("first", True), ("second", False)):
        each = [
            line.metrics["image_auroc"].mean for line in lines if (line.title in halves) == inside
        ]
        values = [100 * value for value in each if value is not None]
        figures[f"image_auroc_{title}"] = statistics.fmean(values) if values else None
    return figures


def _beside_float32(out: Path, name: str) -> dict[str, float | None]:
    """Mean rank correlation of scores with float32's over the categories; verdicts that differ, %.

    None where float32 was not measured.
    """
    plain, other = (_judged(_run_folder(out, one)) for one in ("float32", name))
    if not plain:
        return {"rank": None, "verdicts": None}
    ranks, flips = [], []
    for category, rows in plain.items():
        pairs = [(rows[path], other[category][path]) for path in rows]
        ranks.append(float(spearmanr([a[0] for a, _ in pairs], [b[0] for _, b in pairs]).statistic))
        flips += [a[1] != b[1] for a, b in pairs]
    return {"rank": statistics.fmean(ranks), "verdicts": 100 * statistics.fmean(flips)}


def _judged(folder: Path) -> dict[str, dict[str, tuple[float, str]]]:
    """Of each category and picture of an evaluation: score and verdict."""
    found = {}
    for path in sorted((folder / "runs").glob("*/seed-0.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            found[path.parent.name] = {r["path"]: (float(r["score"]), r["verdict"]) for r in rows}
    return found


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _examples(count: int) -> torch.Tensor:
    """Drawn pictures (N, 3, 256, 256) in [0, 1]."""
    world = WorldConfig(size_px=256, references=(1, 1))
    drawn = [make_episode(EXAMPLES_SEED + i, world).query for i in range(count)]
    return torch.stack([torch.from_numpy(one).permute(2, 0, 1).float() / 255 for one in drawn])


def _times_as_long(
    plain: Inspector, other: Inspector, samples: Sequence[Sample], rounds: int
) -> float:
    """Median time of encoding and comparing one picture, of float32's; in turns."""
    good = next(s.image for s in samples if s.split == "train")
    query = next(s.image for s in samples if s.split == "test")

    def measured(inspector: Inspector) -> Callable[[], float]:
        product = inspector.teach("timed", [good])

        def once() -> float:
            seconds = inspector.inspect(query, product).seconds
            return seconds["encode"] + seconds["decode"]

        return once

    return _times(measured(plain), measured(other), rounds)


def _times(plain: Callable[[], float], other: Callable[[], float], rounds: int) -> float:
    """Median seconds of the one as a multiple of the other's; in turns, the first left out."""
    taken = [(plain(), other()) for _ in range(rounds + 1)][1:]
    alone, beside = (statistics.median(seconds) for seconds in zip(*taken, strict=True))
    return beside / alone


def _language(
    name: str, drawn: Callable[[], language_ways.Dialogues], study: CompressionStudy,
    on_step: Callable[[], None],
) -> Row:  # fmt: skip
    plain, _ = load_model(EMBEDDED_LANGUAGE)
    known = drawn()
    try:
        model, made = language_ways.WAYS[name](copy.deepcopy(plain), known, on_step)
    except AnomalystError as error:
        return _refused("language", name, error)
    figures: dict[str, float | None] = {}
    with torch.no_grad():
        said = language_ways.judged(model, known.held_out)
    figures |= {"nats": said["nats"], "right": 100 * said["right"]}
    write = partial(language_ways.seconds_to_write, batch=known.held_out[0])
    times = _times(partial(write, plain), partial(write, model), study.rounds)
    return Row(network="language", way=name, bytes=made.bytes, figures=figures, times=times,
               said=made.said)  # fmt: skip
