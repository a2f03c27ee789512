"""How many labels a CLIP tower saves: zero-shot, linear probe, fine-tuned, a CNN from scratch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anomalyst.backbones.drawn_senses import DrawnSenses
from anomalyst.backbones.embedded import read_weights
from anomalyst.training.loop import train
from anomalyst.training.studies.resuming import has_ended
from anomalyst.training.studies.senses.detection import SENSES, plain_patches
from anomalyst.training.studies.senses.zero_shot import mean_recall
from anomalyst.training.tasks import load_recipe
from anomalyst.training.tasks.contrastive.classifier import (
    ClassifierRecipe,
    Target,
    labelled,
    network_of,
    read_of,
)
from anomalyst.training.tasks.contrastive.pairs import Pairs, PairsConfig, read_pairs

LABELS = (1, 4, 16, 0)  # labelled parts of each class; 0: all
TARGETS: tuple[Target, ...] = ("family", "condition")
STEPS = {1: 0.15, 4: 0.15, 16: 0.3, 0: 1.0}  # share of the plan's steps: few labels need few


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePlan:
    """What the classifiers of the study have in common."""

    steps: int
    seed: int
    pairs: PairsConfig
    folder: Path  # of the pairs
    initial: Path  # the CLIP run's weights
    runs: Path


def probe_table(
    plan: ProbePlan, clip: DrawnSenses, sets: Mapping[str, Pairs], say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """A row for each target, way and number of labels; `zero_shot.json` has those without any."""
    taught = read_pairs(plan.folder, plan.pairs, "train", 2)
    seen = {"train": _image_vectors(clip, taught)}
    seen |= {which: _image_vectors(clip, pairs) for which, pairs in sets.items()}
    rows = []
    for target in TARGETS:
        # A classifier cannot name a family that nobody labelled.
        judged = [which for which in sets if target != "family" or which == "seen"]
        for each in LABELS:
            picked = labelled(taught.labels[target], each, plan.seed)
            probe = linear_probe(seen["train"][picked], taught.labels[target][picked])
            told = {w: probe(seen[w]) for w in judged}
            rows.append(_row(target, "linear probe", each, told, sets))
            for way, network in (("fine-tuned", "tower"), ("CNN from scratch", "cnn")):
                say(f"{way}, {target}, {each or 'all'} labels a class")
                told = _classified(plan, target, network, each, {w: sets[w] for w in judged})
                rows.append(_row(target, way, each, told, sets))
    return rows


def sense_probes(
    bound: DrawnSenses, taught: Pairs, sets: Mapping[str, Pairs]
) -> list[dict[str, Any]]:
    """How much of the condition each sense tells, with all labels: plain, and in the space.

    Plain: mean and deviation of what detection.py compares, over all places.
    """
    rows = []
    for sense in SENSES:
        for what in ("plain", "tower"):
            seen = {
                which: _told(bound, pairs, sense, what)
                for which, pairs in (dict(sets) | {"train": taught}).items()
            }
            probe = linear_probe(seen["train"], taught.labels["condition"])
            figures = {w: mean_recall(probe(seen[w]), sets[w].labels["condition"]) for w in sets}
            rows.append({"sense": sense, "what": what, **figures})
    return rows


def _told(bound: DrawnSenses, pairs: Pairs, sense: str, what: str) -> Tensor:
    """One row of numbers for each part, (N, D)."""
    found = []
    with torch.no_grad():
        for read in pairs.senses[sense].split(100):
            if what == "tower":
                found.append(bound.model.embed(sense, read.float()))
            else:
                patches = plain_patches(sense, read.float()).flatten(2)  # (B, D, N)
                found.append(torch.cat([patches.mean(2), patches.std(2)], 1))
    return torch.cat(found)


def linear_probe(vectors: Tensor, labels: Tensor) -> Callable[[Tensor], Tensor]:
    """Logistic regression on standardised rows -> what names the rows of others."""
    from sklearn.linear_model import LogisticRegression

    middle, spread = vectors.mean(0), vectors.std(0, correction=0).clamp(min=1e-6)
    fitted = LogisticRegression(C=0.05, max_iter=400)
    fitted.fit(((vectors - middle) / spread).numpy(), labels.numpy())
    return lambda others: torch.from_numpy(fitted.predict(((others - middle) / spread).numpy()))


def probe_recipe(plan: ProbePlan, target: Target, network: str, each: int) -> ClassifierRecipe:
    """The recipe of one classifier, over recipes/classifier.yaml."""
    steps = max(2, round(plan.steps * STEPS[each]))
    rate = 0.002 if network == "cnn" else 0.0005
    words = [
        f"network={network}", f"target={target}", f"labels_per_class={each}", f"steps={steps}",
        f"seed={plan.seed}", f"drawn={plan.folder}", f"learning_rate={rate}", "warmup_steps=10",
        f"pairs.parts={plan.pairs.parts}", f"pairs.held_out={plan.pairs.held_out}",
    ]  # fmt: skip
    if network == "tower":
        words.append(f"initial={plan.initial}")
    recipe = load_recipe(Path("recipes/classifier.yaml"), words)
    assert isinstance(recipe, ClassifierRecipe)
    return recipe


def _classified(
    plan: ProbePlan, target: Target, network: str, each: int, sets: Mapping[str, Pairs]
) -> dict[str, Tensor]:
    """What a trained classifier says of each set, trained unless it is."""
    recipe = probe_recipe(plan, target, network, each)
    folder = plan.runs / f"{network}-{target}-{each or 'all'}"
    if not has_ended(recipe, folder):
        train(recipe, folder)
    tensors, _ = read_weights(folder / "classifier.safetensors", "classifier")
    network_made = network_of(recipe)
    network_made.load_state_dict(tensors)
    network_made.eval()
    told = {}
    for which, pairs in sets.items():
        lots = torch.arange(len(pairs)).split(100)
        with torch.no_grad():
            said = [network_made(read_of(pairs, lot, network)).argmax(1) for lot in lots]
        told[which] = torch.cat(said)
    return told


def _row(
    target: Target, way: str, each: int, told: Mapping[str, Tensor], sets: Mapping[str, Pairs]
) -> dict[str, Any]:
    figures = {w: mean_recall(said, sets[w].labels[target]) for w, said in told.items()}
    return {"target": target, "way": way, "labels": each, **figures}


def _image_vectors(clip: DrawnSenses, pairs: Pairs) -> Tensor:
    with torch.no_grad():
        return torch.cat(
            [clip.model.embed("image", x.float()) for x in pairs.senses["image"].split(100)]
        )
