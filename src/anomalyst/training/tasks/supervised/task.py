"""The supervised task: a network learns the classes of pictures, from labels and from a teacher."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from anomalyst.errors import AnomalystError
from anomalyst.evaluation.metrics import auroc
from anomalyst.training.data.order import rows_of
from anomalyst.training.networks.built import build_network, parameters_of
from anomalyst.training.networks.classifier import BATCH, Classifier, card_of
from anomalyst.training.networks.inputs import Inputs
from anomalyst.training.networks.network import Answers, SupervisedNetwork, laid
from anomalyst.training.task import Share, Task
from anomalyst.training.tasks.supervised.distillation import (
    agreement,
    feature_loss,
    hard_loss,
    label_loss,
    soft_loss,
)
from anomalyst.training.tasks.supervised.figures import write_figures
from anomalyst.training.tasks.supervised.moves import draw_moves, moved
from anomalyst.training.tasks.supervised.pictures import Part, read_pictures
from anomalyst.training.tasks.supervised.recipe import SupervisedRecipe, refuse_unfit


class Student(nn.Module):
    """The network, and what brings its features to a teacher's width; the latter does not ship."""

    def __init__(self, network: SupervisedNetwork, teacher_width: int = 0):
        super().__init__()
        self.network = network
        self.projection: nn.Module | None = None
        if teacher_width:
            self.projection = nn.Linear(_width(network), teacher_width)

    def forward(self, pixels: Tensor) -> tuple[Answers, Tensor | None]:
        """(B, C, S, S), normalised -> what it says, and its features as the teacher's."""
        said: Answers = self.network.answers(pixels)
        return said, None if self.projection is None else self.projection(said.features)


class SupervisedTask(Task):
    """Labelled pictures in another order each epoch, moved."""

    finite = True  # an epoch ends: a step may see all of the set

    def __init__(self, recipe: SupervisedRecipe, out: Path):
        assert recipe.classes, "a recipe is resolved before it is trained"
        self.recipe, self.out = recipe, out
        self.pictures = read_pictures(recipe)
        self.set_size = len(self.pictures.train)
        self.inputs = Inputs.measured(self.pictures.train.pixels, recipe.normalise)
        self.network = _network(recipe)
        self.teacher = _teacher(recipe)
        by_features = self.teacher is not None and recipe.distil == "features"
        width = _width(self.teacher.network) if self.teacher and by_features else 0
        self.module: nn.Module = Student(self.network, width)
        if recipe.initial:
            _begin_as(self.network, Path(recipe.initial), recipe)

    def remarks(self) -> list[str]:
        """About the set, the network's size and the teacher."""
        recipe, shape, train = self.recipe, self.network.shape, self.pictures.train
        shares = ", ".join(
            f"{int((train.labels == i).sum())} {name}" for i, name in enumerate(recipe.classes)
        )
        asked = f" ({recipe.params} asked for)" if recipe.params != "" else ""
        said = [
            *self.pictures.notes,
            f"{len(train)} pictures to learn from ({shares}), {len(self.pictures.test)} to test.",
            f"{shape.name}: {parameters_of(self.network):,} trained parameters{asked}; width "
            f"{shape.width:g}, depth {shape.depth}{f', patch {shape.patch}' * bool(shape.patch)}.",
        ]
        if self.teacher:
            card = self.teacher.card
            said.append(f"Teacher: {card.shape.name} of {card.parameters:,}, {recipe.distil}.")
        return said

    def batches(self, first_step: int, share: Share) -> Iterator[dict[str, Tensor]]:
        """Pictures of a step and their moves, from the step's own random numbers."""
        recipe, train = self.recipe, self.pictures.train
        for step in range(first_step, recipe.steps):
            rows = rows_of(step, recipe.batch, len(train), recipe.seed)
            whole = {"pixels": train.pixels[rows], "labels": train.labels[rows]}
            if recipe.moves.any:
                numbers = torch.Generator().manual_seed(recipe.seed * (1 << 20) + step)
                whole["moves"] = draw_moves(recipe.batch, recipe.size, recipe.moves, numbers)
            for part in share.parts:
                yield {name: values[part :: share.of] for name, values in whole.items()}

    def held_out(self, share: Share, count: int) -> Iterator[dict[str, Tensor]]:
        """Test pictures, unmoved; in a drawn order, as they lie class by class."""
        test, size = self.pictures.test, max(1, self.recipe.batch // share.of)
        numbers = torch.Generator().manual_seed(self.recipe.split_seed)
        order = torch.randperm(len(test), generator=numbers)  # alike in all looks and runs
        for number in range(count):
            for part in share.parts:
                first = (number * share.of + part) * size
                rows = order[torch.arange(first, first + size) % len(test)]
                yield {"pixels": test.pixels[rows], "labels": test.labels[rows]}

    def amount(self, batch: dict[str, Tensor]) -> dict[str, int]:
        """Pictures count."""
        return {"samples": len(batch["labels"])}

    def blocks(self) -> dict[str, nn.Module]:
        """The network's."""
        return {f"network.{name}": block for name, block in self.network.blocks().items()}

    def loss(
        self, batch: dict[str, Tensor], device: torch.device
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What labels and teacher ask for, and how many were right."""
        pixels, labels = batch["pixels"].to(device).float() / 255, batch["labels"].to(device)
        if "moves" in batch:
            pixels = moved(pixels, batch["moves"].to(device), self.recipe.moves.turns)
        said, projected = self.module(self._read(pixels))
        if not self.module.training:
            return label_loss(_float(said), labels), {}
        loss, parts = self._taught(_float(said), projected, pixels, labels)
        return loss, parts | {"right": (said.logits.argmax(1) == labels).float().mean()}

    @torch.no_grad()
    def held_out_figures(self) -> dict[str, float]:
        """Accuracy and AUROC on pictures of train and test, unmoved, as the weights are now."""
        figures = {}
        for name, part in (("train", self.pictures.train), ("test", self.pictures.test)):
            rows = torch.linspace(0, len(part) - 1, min(len(part), self.recipe.judged_pictures))
            some = Part(part.pixels[rows.long()], part.labels[rows.long()], ())
            shares = self._probabilities(some.pixels)
            right = (shares.argmax(1) == some.labels).float().mean()
            figures[f"{name}_accuracy"] = round(float(right), 6)
            figures[f"{name}_auroc"] = round(mean_auroc(some.labels, shares), 6)
        return {name: value for name, value in figures.items() if value == value}

    def ship(self, average: Mapping[str, Tensor]) -> Path:
        """model/: the network, its classes and how pictures are read."""
        tensors = {
            name.removeprefix("network."): value
            for name, value in average.items()
            if name.startswith("network.")
        }
        recipe = self.recipe
        told = {"teacher": recipe.teacher, "distil": recipe.distil} if recipe.teacher else {}
        card = card_of(self.network, recipe.classes, self.inputs, **told)
        shipped = _network(recipe)
        shipped.load_state_dict(tensors)
        return Classifier(shipped, card).save(self.out / "model")

    def finish(self, weights: Path) -> None:
        """figures.json, predictions.jsonl and roc.png of the whole test part."""
        test = self.pictures.test
        classifier = Classifier.load(weights)
        write_figures(self.out, test, classifier.probabilities(test.pixels), self.recipe.classes)

    def _taught(
        self, said: Answers, projected: Tensor | None, pixels: Tensor, labels: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        recipe = self.recipe
        if self.teacher is None:
            return label_loss(said, labels, recipe.smoothing), {}
        known = self._known(self.teacher, pixels)
        teacher = known.both
        told = {"agreement": agreement(said.taught, teacher)}
        if recipe.distil == "hard":
            return hard_loss(said, labels, teacher, recipe.smoothing), told
        if recipe.distil == "soft":
            return soft_loss(
                said, labels, teacher, temperature=recipe.temperature, share=recipe.distil_share,
                smoothing=recipe.smoothing,
            ), told  # fmt: skip
        assert projected is not None
        apart = feature_loss(projected.float(), known.features)
        learnt = label_loss(said, labels, recipe.smoothing)
        share = recipe.distil_share
        return (1 - share) * learnt + share * apart, told | {"features_apart": apart}

    @torch.no_grad()
    def _known(self, teacher: Classifier, pixels: Tensor) -> Answers:
        """What the teacher says of the same moved pictures, which it reads in its own way."""
        if next(teacher.network.parameters()).device != pixels.device:
            teacher.network.to(pixels.device)
        read = laid(teacher.card.inputs.normalised(pixels), teacher.network)
        return _float(teacher.network.answers(read))

    def _read(self, pixels: Tensor) -> Tensor:
        return laid(self.inputs.normalised(pixels), self.network)

    def _probabilities(self, pixels: Tensor) -> Tensor:
        """uint8 (N, C, S, S) -> (N, K), in evaluation mode."""
        was, device = self.module.training, next(self.network.parameters()).device
        self.module.eval()
        answers = [self.module(self._read(part.to(device)))[0] for part in pixels.split(BATCH)]
        self.module.train(was)
        return torch.cat([said.both for said in answers]).float().softmax(1).cpu()


def mean_auroc(labels: Tensor, shares: Tensor) -> float:
    """Of two classes the second's AUROC, of more the mean of each against the rest; nan at none."""
    columns = [1] if shares.shape[1] == 2 else range(shares.shape[1])
    each = [auroc((labels == k).int().numpy(), shares[:, k].numpy()) for k in columns]
    return sum(each) / len(each)


def _network(recipe: SupervisedRecipe) -> SupervisedNetwork:
    return build_network(recipe.model, recipe.picture)


def _teacher(recipe: SupervisedRecipe) -> Classifier | None:
    if not recipe.teacher:
        return None
    found = Classifier.load(Path(recipe.teacher))
    refuse_unfit(recipe.teacher, found.card, recipe)
    found.network.requires_grad_(False)
    return found


def _begin_as(network: SupervisedNetwork, run: Path, recipe: SupervisedRecipe) -> None:
    """Take up the weights of an earlier run of the same shape and classes."""
    before = Classifier.load(run)
    if before.network.shape != network.shape or before.classes != recipe.classes:
        raise AnomalystError(
            f"initial {run}: is {before.network.shape.name} for {', '.join(before.classes)}; the "
            "same network and classes are needed."
        )
    network.load_state_dict(before.network.state_dict())


def _width(network: SupervisedNetwork) -> int:
    """Of the features: what the head reads."""
    heads = [m for m in network.modules() if isinstance(m, nn.Linear)]
    return heads[-1].in_features


def _float(said: Answers) -> Answers:
    """Logits and features in float32, whatever the step computes in."""
    return Answers(*(None if x is None else x.float() for x in said))  # type: ignore[arg-type]
