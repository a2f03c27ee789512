"""Which made defects are worth training on: a decoder per method, judged on real defects."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from anomalyst.backbones import load_encoder
from anomalyst.datasets.builders.build_job import fill
from anomalyst.datasets.builders.source_set import read_originals
from anomalyst.datasets.builders.synthesize import plan_synthesis
from anomalyst.detection.classifiers.text_aligned import aligned_levels
from anomalyst.detection.detector import Detector
from anomalyst.evaluation.metrics import pixel_metrics
from anomalyst.io.files import write_text
from anomalyst.io.geometry import canvas_for, resize
from anomalyst.io.pictures import open_mask, open_picture, shrink_mask
from anomalyst.synthetic.anomalies.methods import METHODS
from anomalyst.training.experiments.tables import MethodRow
from anomalyst.training.loop import train
from anomalyst.training.tasks.text_aligned import TextAlignedRecipe
from anomalyst.types import Sample
from anomalyst.vlm.text_aligned import load_text_aligned

DRAWN = "drawn products"  # the procedural world alone: no picture of the product
ALL = "all methods"


def bench_methods(
    dataset: Path,
    categories: Sequence[str],
    out: Path,
    *,
    recipe: TextAlignedRecipe,
    seeds: int,
    count: int,
    say: Callable[[str], None],
) -> list[MethodRow]:
    """Train the text-aligned decoder on each method's pictures and look for real defects with it.

    All categories together in one decoder; `count` made pictures a category and method. Sets, runs
    and results.json stay in `out`, and the same call goes on there.
    """
    originals = read_originals(dataset, out / "sets", categories=categories)
    arms: dict[str, tuple[str, ...]] = {}
    for method in METHODS:
        plan = plan_synthesis(
            originals, method=method, count=count, constants="estimated", seed=recipe.seed
        )
        fill(out / "sets" / method, plan.jobs, plan.settings)
        arms[method] = (str(out / "sets" / method),)
        say(f"{method}: {count} pictures a category are made")
    arms |= {ALL: tuple(folder for (folder,) in arms.values()), DRAWN: ()}
    detector = Detector(load_encoder(recipe.encoder), None)
    tests = {
        name: [one.sample for one in pictures if _tells(one.sample)]
        for name, pictures in originals.categories.items()
    }
    found: list[MethodRow] = []
    for method, data in arms.items():
        for seed in range(seeds):
            run = out / "runs" / f"{method.replace(' ', '-')}-{seed}"
            weights = train(replace(recipe, data=data, seed=seed), run)
            assert weights is not None
            rows = judged(weights, detector, tests, recipe, method, seed)
            found += rows
            mean = np.mean([row.auroc for row in rows])
            say(f"{method}, seed {seed}: pixel AUROC {100 * mean:.1f}")
    write_text(out / "results.json", json.dumps([asdict(row) for row in found], indent=1) + "\n")
    return found


def _tells(sample: Sample) -> bool:
    """Whether it is a test picture whose pixel truth is known."""
    return sample.split == "test" and (sample.label == "normal" or sample.mask is not None)


@torch.inference_mode()
def judged(
    weights: Path,
    detector: Detector,
    samples: dict[str, list[Sample]],
    recipe: TextAlignedRecipe,
    method: str,
    seed: int,
) -> list[MethodRow]:
    """A row per category: its test pictures against their masks, at the canvas's size."""
    decoder = load_text_aligned(weights).decoder
    rows = []
    for category, mine in samples.items():
        maps, masks = [], []
        for sample in mine:
            picture = open_picture(sample.image)
            size_hw = (picture.shape[0], picture.shape[1])
            canvas_hw = canvas_for(size_hw, recipe.world.size_px, detector.encoder.multiple_px)
            features = detector.encode([resize(picture, canvas_hw)])
            maps.append(decoder(aligned_levels(features), canvas_hw)[0, 0].numpy())
            truth = open_mask(sample.mask, size_hw) if sample.mask else np.zeros(size_hw, bool)
            masks.append(shrink_mask(truth, canvas_hw))
        metrics = pixel_metrics(maps, masks)
        rows.append(MethodRow(method, category, seed, metrics.auroc, metrics.ap, metrics.aupro_30))
    return rows
