"""The runs of the study and its figures, each kept in the folder so that nothing is done twice."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anomalyst.backbones.drawn_senses import DrawnSenses, load_drawn_senses
from anomalyst.config import to_mapping
from anomalyst.io.files import write_text
from anomalyst.synthetic.procedural.families import HELD_OUT
from anomalyst.synthetic.senses.conditions import CONDITIONS
from anomalyst.training.loop import train
from anomalyst.training.recipe import Recipe
from anomalyst.training.studies.resuming import begin_study, has_ended, refuse_other_study
from anomalyst.training.studies.senses.detection import product_aurocs
from anomalyst.training.studies.senses.probes import ProbePlan, probe_table, sense_probes
from anomalyst.training.studies.senses.retrieval import all_recalls, recall
from anomalyst.training.studies.senses.zero_shot import (
    classes_of,
    condition_prompts,
    described,
    family_prompts,
    mean_recall,
    named,
)
from anomalyst.training.tasks import load_recipe
from anomalyst.training.tasks.contrastive.contrastive import FILE
from anomalyst.training.tasks.contrastive.pairs import (
    FAMILY_NAMES,
    Pairs,
    PairsConfig,
    read_pairs,
)

SETS = ("seen", "unseen")  # new products of known families; families never seen
ONE_WAY = ("both", "from_image", "to_image")
Say = Callable[[str], None]
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SensesStudy:
    """What is run; the figures are those of these runs."""

    parts: int = 4000  # drawn to train on
    held_out: int = 500  # drawn of each of the two sets that are judged
    bind_steps: int = 450  # of recipes/imagebind.yaml
    clip_steps: int = 600  # of recipes/clip.yaml, by each loss
    way_steps: int = 300  # of each direction, with two senses
    probe_steps: int = 120  # of a classifier with all labels; with few, a share of it
    products: int = 14  # held-out products on which faults are looked for
    seed: int = 1


def run_names() -> tuple[str, ...]:
    """The contrastive runs, the most important first."""
    ways = tuple(f"way-{direction}" for direction in ONE_WAY)
    return ("imagebind", "clip-infonce", "clip-sigmoid", *ways)


def recipe_of(study: SensesStudy, name: str, out: Path) -> Recipe:
    """The recipe of a run, over recipes/clip.yaml or recipes/imagebind.yaml."""
    common = [
        f"drawn={out / 'pairs'}", f"pairs.parts={study.parts}", f"seed={study.seed}",
        f"pairs.held_out={study.held_out}",
    ]  # fmt: skip
    kind, _, way = name.partition("-")
    if kind == "imagebind":
        own = ["imagebind.yaml", f"steps={study.bind_steps}"]
    elif kind == "clip":
        own = ["clip.yaml", f"steps={study.clip_steps}", f"loss={way}", "validate_every=0"]
    else:
        own = ["imagebind.yaml", f"steps={study.way_steps}", "senses=[text, audio]"]
        own += [f"direction={way}", "alike=0"]
    return load_recipe(Path("recipes") / own[0], [*common, *own[1:]])


def run_one(study: SensesStudy, name: str, out: Path, say: Say) -> Path:
    """The weights of a run, trained unless it is."""
    recipe, folder = recipe_of(study, name, out), out / "runs" / name
    if not has_ended(recipe, folder):
        say(f"Training {name}: {recipe.steps} steps")
        train(recipe, folder)
    return folder / FILE


def study_senses(study: SensesStudy, out: Path, say: Say = lambda _: None) -> Figures:
    """Every run and every table. Raises AnomalystError where another study was begun in `out`."""
    settings = to_mapping(study)
    refuse_other_study(out, settings)
    begin_study(out, settings)
    config = PairsConfig(parts=study.parts, held_out=study.held_out)
    sets = {which: read_pairs(out / "pairs", config, which, 2) for which in SETS}
    weights = {name: run_one(study, name, out, say) for name in run_names()}
    plan = ProbePlan(
        steps=study.probe_steps, seed=study.seed, pairs=config, folder=out / "pairs",
        initial=weights["clip-infonce"], runs=out / "runs",
    )  # fmt: skip
    makers = _makers(study, sets, weights, plan, say)
    return {name: _kept(out / f"{name}.json", make, name, say) for name, make in makers.items()}


def _makers(
    study: SensesStudy,
    sets: Mapping[str, Pairs],
    weights: Mapping[str, Path],
    plan: ProbePlan,
    say: Say,
) -> dict[str, Callable[[], Any]]:
    """What makes each table."""
    bound = load_drawn_senses(weights["imagebind"])
    clip = load_drawn_senses(weights["clip-infonce"])
    return {
        "retrieval": lambda: {w: retrieval_figures(bound, sets[w]) for w in SETS},
        "ways": lambda: {
            way: way_figures(load_drawn_senses(weights[f"way-{way}"]), sets["seen"])
            for way in ONE_WAY
        },
        "losses": lambda: {
            loss: {which: clip_figures(towers, pairs) for which, pairs in sets.items()}
            for loss in ("infonce", "sigmoid")
            for towers in [load_drawn_senses(weights[f"clip-{loss}"])]
        },
        "zero_shot": lambda: {
            w: {"imagebind": zero_shot_figures(bound, sets[w], w),
                "clip": zero_shot_figures(clip, sets[w], w)}
            for w in SETS
        },
        "detection": lambda: [product_aurocs(bound, number) for number in range(study.products)],
        "conditions": lambda: sense_probes(
            bound, read_pairs(plan.folder, plan.pairs, "train", 2), sets
        ),
        "probes": lambda: probe_table(plan, clip, sets, say),
    }  # fmt: skip


def vectors_of(senses: DrawnSenses, pairs: Pairs) -> dict[str, Tensor]:
    """Unit vectors (N, D) of every part by every sense the towers have; a text is one caption."""
    found: dict[str, Tensor] = {}
    for name in senses.model.config.modalities:
        if name == "text":
            read = senses.words.tokens([texts[0] for texts in pairs.texts])
        else:
            read = pairs.senses[name].float()
        with torch.no_grad():
            found[name] = torch.cat([senses.model.embed(name, x) for x in read.split(100)])
    return found


def retrieval_figures(senses: DrawnSenses, pairs: Pairs) -> list[Mapping[str, object]]:
    """Every direction of every two senses."""
    return [one.as_values() | {"gallery": one.gallery, "asked": one.asked,
                               "beats_chance": {str(k): one.beats_chance(k) for k in one.found}}
            for one in all_recalls(vectors_of(senses, pairs))]  # fmt: skip


def way_figures(senses: DrawnSenses, pairs: Pairs) -> Figures:
    """Recall both ways between the image and two senses, and between these two."""
    vectors = vectors_of(senses, pairs)
    couples = [("image", "text"), ("image", "audio"), ("text", "audio")]
    both = [couple for a, b in couples for couple in ((a, b), (b, a))]
    return {
        f"{a} -> {b}": recall(a, b, vectors, paired="image" in (a, b)).as_values() for a, b in both
    }


def clip_figures(senses: DrawnSenses, pairs: Pairs) -> Figures:
    """Recall both ways between image and text."""
    vectors = vectors_of(senses, pairs)
    return {
        f"{a} -> {b}": recall(a, b, vectors, paired=True).as_values()
        for a, b in (("image", "text"), ("text", "image"))
    }


def zero_shot_figures(senses: DrawnSenses, pairs: Pairs, which: str) -> Figures:
    """By sense: mean recall over classes of condition and family, named by prompts alone.

    Families never seen are told by what is said of their material and machine.
    """
    names = HELD_OUT if which == "unseen" else tuple(n for n in FAMILY_NAMES if n not in HELD_OUT)
    prompts = [described(n) if which == "unseen" else family_prompts(n) for n in names]
    families = classes_of(senses, prompts)
    conditions = classes_of(senses, [condition_prompts(name) for name in CONDITIONS])
    numbers = {FAMILY_NAMES.index(name): place for place, name in enumerate(names)}
    family = torch.tensor([numbers[int(label)] for label in pairs.labels["family"]])
    found: Figures = {"chance": {"family": 1 / len(names), "condition": 1 / len(CONDITIONS)}}
    for sense, vectors in vectors_of(senses, pairs).items():
        if sense != "text":
            found[sense] = {
                "family": mean_recall(named(vectors, families), family),
                "condition": mean_recall(named(vectors, conditions), pairs.labels["condition"]),
            }
    return found


def _kept(path: Path, make: Callable[[], Any], name: str, say: Say) -> Any:
    """The figures of a file, made first if it is not there."""
    if not path.is_file():
        say(f"Figures: {name}")
        write_text(path, json.dumps(make(), indent=1) + "\n")
    return json.loads(path.read_text(encoding="utf-8"))
