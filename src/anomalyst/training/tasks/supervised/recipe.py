"""What a supervised run is told, and what its data decides."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from anomalyst.datasets.labelled import LabelledSet, Labels, channels_of, read_labelled
from anomalyst.errors import AnomalystError
from anomalyst.training.networks.built import sized
from anomalyst.training.networks.classifier import Card, read_card
from anomalyst.training.networks.inputs import Normalise
from anomalyst.training.networks.shape import NetworkShape, Picture
from anomalyst.training.recipe import Recipe
from anomalyst.training.tasks.supervised.distillation import Distil
from anomalyst.training.tasks.supervised.moves import MovesConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisedRecipe(Recipe):
    """A network on labelled pictures; `batch` counts pictures."""

    task: Literal["supervised"] = "supervised"
    steps: int = 0  # 0: as many as `epochs` need
    epochs: int = 0  # times that every training picture is seen; 0: as `steps` say
    batch: int = 64
    ema_decay: float = 0.0
    data: str = ""  # the set: a folder for each class, a defect set, or idx files
    labels: Labels = "kinds"  # verdict: good or defective, whatever the kind
    test_share: float = 0.2  # of each class, where the set brings no split
    split_seed: int = 0  # of that split: alike in all runs that are compared
    kept: str = ""  # a file that keeps the opened pictures for the next run; empty: none
    size: int = 64  # side in px that pictures are brought to
    channels: Literal[0, 1, 3] = 0  # 0: as most pictures of the set are
    normalise: Normalise = "set"
    moves: MovesConfig = field(default_factory=MovesConfig)
    model: NetworkShape = field(default_factory=NetworkShape)
    params: str | int | float = ""  # trained parameters asked for, as in 2.0M; empty: as published
    smoothing: float = 0.0  # of the labels
    teacher: str = ""  # an earlier run's folder; empty: labels alone
    distil: Distil = "hard"
    temperature: float = 3.0  # of soft distillation
    distil_share: float = (
        0.5  # the teacher's share of the loss (soft, features); of hard always half
    )
    judged_pictures: int = 1000  # of train and of test, most, for the curves; 0: no curves
    classes: tuple[str, ...] = ()  # the set's; filled in

    def __post_init__(self) -> None:
        if not 0 < self.test_share < 1 or not 0 <= self.distil_share <= 1 or self.temperature <= 0:
            raise AnomalystError(
                "test_share lies between 0 and 1, distil_share from 0 to 1, temperature above 0."
            )
        if self.size < 16:
            raise AnomalystError(f"size is {self.size}; 16 px or more are needed.")

    @property
    def picture(self) -> Picture:
        """What the network sees, once the recipe is resolved."""
        return Picture(classes=len(self.classes), size=self.size, channels=self.channels)

    def listed(self) -> LabelledSet:
        """The pictures and their classes; raises as `read_labelled`."""
        if not self.data:
            raise AnomalystError("data: is empty; name a set, as in data=sets/parts.")
        return read_labelled(
            Path(self.data), labels=self.labels, test_share=self.test_share, seed=self.split_seed
        )

    def resolved(self) -> "SupervisedRecipe":
        """With classes, mode, shape and steps filled in; raises for data or a teacher unfit."""
        if self.classes:
            return self
        if bool(self.epochs) == bool(self.steps):
            raise AnomalystError(
                f"epochs is {self.epochs} and steps is {self.steps}; give one of them and leave "
                "the other at 0."
            )
        found = self.listed()
        channels = self.channels or channels_of(found.train)
        whole = self.optimizer == "gradient_descent"  # each of its steps sees the whole set
        an_epoch = 1 if whole else max(1, math.ceil(len(found.train) / self.batch))
        steps = self.steps or self.epochs * an_epoch
        every = self.validate_every or (an_epoch if self.judged_pictures else 0)
        filled = replace(
            self, classes=found.classes, channels=channels, steps=steps,
            validate_every=min(every, steps),
        )  # fmt: skip
        if self.params != "":
            filled = replace(filled, model=sized(self.model, filled.picture, self.params))
        if self.teacher:
            refuse_unfit(self.teacher, read_card(Path(self.teacher)), filled)
        return filled


def refuse_unfit(name: str, teacher: Card, recipe: SupervisedRecipe) -> None:
    """Raises AnomalystError for a teacher of other classes, or of other pictures."""
    if teacher.classes != recipe.classes:
        raise AnomalystError(
            f"teacher {name}: knows the classes {', '.join(teacher.classes)}; {recipe.data} has "
            f"{', '.join(recipe.classes)}. Train the teacher on this set first."
        )
    sees = teacher.inputs
    if (sees.size, sees.channels) != (recipe.size, recipe.channels):
        raise AnomalystError(
            f"teacher {name}: sees {sees.size} px in {sees.channels} channels, this run "
            f"{recipe.size} px in {recipe.channels}; take size={sees.size} "
            f"channels={sees.channels}, or another teacher."
        )
