"""Naming family and condition by sentences alone, from any sense that shares their space."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyst.backbones.drawn_senses import DrawnSenses
from anomalyst.synthetic.procedural.families import draw_product
from anomalyst.synthetic.senses.conditions import CONDITION_OF, CONDITIONS
from anomalyst.synthetic.senses.machine import WORKED_BY
from anomalyst.synthetic.senses.sentences import OF_CONDITION, SOUND_PARTS, SUBJECTS

NOUN_DRAWS = 12  # products drawn of a family to hear what they are called


def family_prompts(family: str) -> list[str]:
    """ "A picture of a ..." with every name that products of the family have."""
    nouns = sorted(
        {draw_product(np.random.default_rng(n), only=[family]).noun for n in range(NOUN_DRAWS)}
    )
    return [f"{subject.format(noun)}." for noun in nouns for subject in SUBJECTS]


def described(family: str) -> list[str]:
    """What is true of a family whose name was never heard: its material and its machine."""
    stuff, machine = WORKED_BY[family]
    return [f"it is of {stuff}. in a {machine}.", f"made of {stuff}. the machine is a {machine}."]


def condition_prompts(condition: str) -> list[str]:
    """What is said of parts in that condition."""
    known = next(name for name in CONDITIONS if name == condition)
    if known == "sound":
        seen = [f"{said}." for said in SOUND_PARTS]
    else:
        kinds = [kind for kind, found in CONDITION_OF.items() if found == known]
        seen = [f"it has a {kind}." for kind in kinds]
    return [*seen, *(f"{said}." for said in OF_CONDITION[known])]


def classes_of(senses: DrawnSenses, prompts: Sequence[Sequence[str]]) -> Tensor:
    """One unit vector for each class, (classes, D): the mean of its prompts."""
    return torch.stack(
        [F.normalize(senses.embed("text", texts).mean(0), dim=0) for texts in prompts]
    )


def mean_recall(answers: Tensor, labels: Tensor) -> float:
    """Share of right answers within each class, mean over the classes that occur."""
    right = (answers == labels).float()
    return float(torch.stack([right[labels == one].mean() for one in labels.unique()]).mean())


def named(vectors: Tensor, classes: Tensor) -> Tensor:
    """Nearest class of each row, (B,)."""
    return (vectors @ classes.T).argmax(1)
