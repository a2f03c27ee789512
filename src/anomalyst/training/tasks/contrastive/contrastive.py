"""The contrastive task: towers of several senses into one space, images as the hub.

CLIP (Radford et al. 2021) with one sense beside the image, ImageBind (Girdhar et al. 2023) with
several: every sense is paired with images only, never with another.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from anomalyst.backbones.drawn_senses import TOWERS, Words
from anomalyst.backbones.embedded import read_weights
from anomalyst.backbones.imagebind.config import ImageBindConfig, Modality, checked_modality
from anomalyst.backbones.imagebind.model import ImageBind
from anomalyst.config import to_mapping
from anomalyst.errors import AnomalystError
from anomalyst.training.checkpoint import write_weights
from anomalyst.training.recipe import Recipe
from anomalyst.training.task import Share, Task
from anomalyst.training.tasks.contrastive.objectives import Contrast, Direction, Objective
from anomalyst.training.tasks.contrastive.pairs import Pairs, PairsConfig, read_pairs, words_in

HUB: Modality = "image"
FILE = "senses.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastiveRecipe(Recipe):
    """Towers of senses; `batch` counts parts, each of which is a pair with its image per sense.

    All parts of a step are each other's negatives: leave `micro_batch` at 0 unless memory is short.
    """

    task: Literal["contrastive"] = "contrastive"
    senses: tuple[str, ...] = ("text",)  # paired with images
    loss: Objective = "infonce"
    direction: Direction = "both"  # of InfoNCE: symmetric, or only from or to the image
    alike: int = 0  # families of every second step's parts, so that details must tell them apart
    frozen: tuple[str, ...] = ()  # towers that stay as `initial` has them
    drawn: str = ""  # a folder of pairs drawn before, or to be; empty: in the run's folder
    pairs: PairsConfig = field(default_factory=PairsConfig)
    model: ImageBindConfig = TOWERS

    def __post_init__(self) -> None:
        for name in (*self.senses, *self.frozen):
            checked_modality(name)
        if not self.senses or HUB in self.senses or len(set(self.senses)) < len(self.senses):
            raise AnomalystError(
                f"senses is {list(self.senses)}; one or more that are paired with images are "
                "needed, each once, and image is always there."
            )
        if self.loss == "sigmoid" and self.direction != "both":
            raise AnomalystError(
                f"direction {self.direction!r}: the sigmoid's loss has none; leave it at both."
            )
        if self.alike < 0:
            raise AnomalystError(f"alike is {self.alike}; 0 (any families) or more is needed.")
        if self.frozen and not self.initial:
            raise AnomalystError(
                f"frozen {list(self.frozen)}: towers that nobody trained; name `initial`."
            )
        if {HUB, *self.senses} <= set(self.frozen):
            raise AnomalystError("frozen: every tower is; leave one to train.")


class ContrastiveTask(Task):
    """Rows of drawn parts in random order; sounds and vibrations begin anywhere."""

    sees_all = True  # embeddings are gathered from all processes

    def __init__(self, recipe: ContrastiveRecipe, out: Path):
        self.recipe, self.out = recipe, out
        self.folder = Path(recipe.drawn) if recipe.drawn else out / "pairs"
        self.pairs = read_pairs(self.folder, recipe.pairs, "train", recipe.workers)
        if recipe.validate_every:  # drawn now, by the first of several processes
            self.others = read_pairs(self.folder, recipe.pairs, "seen", recipe.workers)
        names = (HUB, *recipe.senses)
        self.towers = ImageBind(recipe.model.only(*names))
        self.words = words_in(self.pairs)
        if recipe.initial:
            self.words = start_towers(self.towers, Path(recipe.initial), self.words)
        for name in recipe.frozen:
            self.towers.towers[name].requires_grad_(False)
        self.contrasts = nn.ModuleDict(
            {name: Contrast(recipe.loss, recipe.direction) for name in recipe.senses}
        )
        self.module: nn.Module = nn.ModuleDict({"senses": self.towers, "contrast": self.contrasts})
        self.tokens = tokens_of(self.words, self.pairs)

    def blocks(self) -> dict[str, nn.Module]:
        """The towers' transformer blocks."""
        named = self.module.named_modules()
        return {name: part for name, part in named if name.split(".")[-2:-1] == ["blocks"]}

    def batches(self, first_step: int, share: Share) -> Iterator[dict[str, Tensor]]:
        """Parts of a step, drawn by the step's own random numbers; every part takes its rows."""
        recipe = self.recipe
        for step in range(first_step, recipe.steps):
            numbers = torch.Generator().manual_seed(recipe.seed * (1 << 20) + step)
            among = self._alike(numbers) if recipe.alike and step % 2 else None
            rows = rows_of(len(self.pairs), recipe.batch, numbers, among)
            whole = batch_of(self.pairs, self.tokens, rows, self.names, numbers)
            for part in share.parts:
                yield {name: x[part :: share.of] for name, x in whole.items()}

    def held_out(self, share: Share, count: int) -> Iterator[dict[str, Tensor]]:
        """New products of the families that are trained on."""
        tokens = tokens_of(self.words, self.others)
        for number in range(count):
            numbers = torch.Generator().manual_seed(number)
            rows = rows_of(len(self.others), self.recipe.batch, numbers)
            whole = batch_of(self.others, tokens, rows, self.names, numbers)
            for part in share.parts:
                yield {name: x[part :: share.of] for name, x in whole.items()}

    def _alike(self, numbers: torch.Generator) -> Tensor:
        """Every part of a few families, bool (N,)."""
        family = self.pairs.labels["family"]
        names = family.unique()
        order = torch.randperm(len(names), generator=numbers)[: self.recipe.alike]
        return torch.isin(family, names[order])

    @property
    def names(self) -> tuple[str, ...]:
        """The senses of a batch, the image first."""
        return (HUB, *self.recipe.senses)

    def amount(self, batch: dict[str, Tensor]) -> dict[str, int]:
        """Parts count."""
        return {"samples": len(batch[HUB])}

    def loss(
        self, batch: dict[str, Tensor], device: torch.device
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean over the senses, each against the image; by sense how many images find their own."""
        moved = {name: x.to(device) for name, x in batch.items()}
        image = self.towers.embed(HUB, moved[HUB])
        losses, parts = [], {}
        for name in self.recipe.senses:
            loss, found = self.contrasts[name](image, self.towers.embed(name, moved[name]))
            losses.append(loss)
            parts[f"found_{name}"] = found
        return torch.stack(losses).mean(), parts

    def ship(self, average: Mapping[str, Tensor]) -> Path:
        """senses.safetensors, as `backbones.drawn_senses` reads it."""
        towers = self.towers.state_dict() | {
            name.removeprefix("senses."): value
            for name, value in average.items()
            if name.startswith("senses.")
        }
        note = {
            "model": to_mapping(self.towers.config),
            "words": list(self.words.known),
            "log_scales": {
                name: float(average.get(f"contrast.{name}.log_scale", 0.0))
                for name in self.recipe.senses
            },
        }
        path = self.out / FILE
        write_weights(path, {f"senses.{name}": value for name, value in towers.items()}, note)
        return path


def start_towers(towers: ImageBind, path: Path, words: Words) -> Words:
    """Fill the towers that a run's file has; the vocabulary that then counts.

    Raises AnomalystError where it has none of them, or other sizes.
    """
    tensors, note = read_weights(path, "senses")
    ours = towers.state_dict()
    known = {name: value for name, value in tensors.items() if name in ours}
    if not known or any(ours[name].shape != value.shape for name, value in known.items()):
        raise AnomalystError(
            f"initial {path}: its towers are not those of `model` ({', '.join(note['model'])}); "
            "take the run's own `model`."
        )
    towers.load_state_dict(ours | known)
    has_text = any(name.startswith("towers.text.") for name in known)
    return Words(tuple(note["words"])) if has_text else words


def rows_of(
    count: int, batch: int, numbers: torch.Generator, among: Tensor | None = None
) -> Tensor:
    """A step's rows, (batch,), each once: those of `among`, bool (count,), before all others."""
    order = torch.randperm(count, generator=numbers)
    if among is not None:
        order = torch.cat([order[among[order]], order[~among[order]]])
    return order[:batch]


def tokens_of(words: Words, pairs: Pairs) -> Tensor:
    """Every caption of every part as token numbers, int64 (N, captions, T)."""
    flat = words.tokens([text for texts in pairs.texts for text in texts])
    return flat.unflatten(0, (len(pairs), -1))


def batch_of(
    pairs: Pairs, tokens: Tensor, rows: Tensor, names: tuple[str, ...], numbers: torch.Generator
) -> dict[str, Tensor]:
    """What the towers read of some parts: float32, one caption each, steady signals rolled."""
    found = {}
    for name in names:
        if name == "text":
            which = torch.randint(tokens.shape[1], (len(rows),), generator=numbers)
            found[name] = tokens[rows, which]
            continue
        found[name] = pairs.senses[name][rows].float()
        if name in ("audio", "imu"):
            # A machine that runs evenly has no beginning: neither shall what is learnt.
            shift = int(torch.randint(found[name].shape[-1], (1,), generator=numbers))
            found[name] = found[name].roll(shift, -1)
    return found
