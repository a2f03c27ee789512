"""The texts task: a BERT, a GPT-2 or a BART from scratch, on the same drawn inspection texts.

Masked words (Devlin et al. 2019), the next word (Radford et al. 2019), corrupted spans rebuilt
(Lewis et al. 2020). Of BART's texts a share is its fine-tuning, mixed in: the second half is
written from the first, as a summary from a shift's rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from anomalyst.backbones.huggingface import quiet
from anomalyst.errors import AnomalystError
from anomalyst.io.files import folder_written_whole
from anomalyst.training.data.procedural_calibration import HELD_OUT
from anomalyst.training.data.texts.drawn import TEXTS_SEED, DrawnText, draw_text
from anomalyst.training.data.texts.fitting import fitted_heads
from anomalyst.training.data.texts.tokenizer import learn_text_tokenizer
from anomalyst.training.recipe import Recipe
from anomalyst.training.task import Share, Task, prefetched
from anomalyst.training.tasks.text_networks import (
    Objective,
    TextModelConfig,
    new_network,
)
from anomalyst.training.tasks.text_objectives import (
    NOTHING,
    corrupted_spans,
    filled,
    masked_words,
    next_words,
)
from anomalyst.vlm.texts.loading import load_text_model

GROUP = 8  # steps whose texts are drawn together and sorted by length
Pair = tuple[list[int], list[int]]  # ids of a text's two halves, without marks


@dataclass(frozen=True, slots=True, kw_only=True)
class TextsRecipe(Recipe):
    """A text model; `batch` counts texts."""

    task: Literal["texts"] = "texts"
    objective: Objective = "masked"
    texts: int = 4000  # drawn before the first step; the tokenizer is learnt from them, too
    masked_share: float = 0.15  # of the tokens, for `masked`
    span_share: float = 0.3  # of the tokens, for `spans`
    pair_share: float = 0.5  # of the texts of `spans`: the second half is written from the first
    model: TextModelConfig = field(default_factory=TextModelConfig)

    def __post_init__(self) -> None:
        if self.texts < 100:
            raise ValueError(f"texts is {self.texts}; at least 100 are needed")
        for name in ("masked_share", "span_share"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; between 0 and 1 is needed")
        if not 0 <= self.pair_share <= 1:
            raise ValueError(f"pair_share is {self.pair_share}; 0 to 1 is needed")


class TextsTask(Task):
    """Texts of every kind, of a step in one batch."""

    def __init__(self, recipe: TextsRecipe, out: Path):
        self.recipe, self.out = recipe, out
        drawn = drawn_texts(recipe.texts, recipe.seed)
        if recipe.initial:
            before = load_text_model(Path(recipe.initial))
            if before.objective != recipe.objective:
                raise AnomalystError(
                    f"initial {recipe.initial}: was trained with objective {before.objective}; "
                    f"this recipe's is {recipe.objective}."
                )
            self.network, self.tokenizer = before.model.train(), before.tokenizer
            self.network.requires_grad_(True)
        else:
            self.tokenizer = learn_text_tokenizer(
                (one.whole for one in drawn), recipe.model.vocabulary, recipe.model.positions
            )
            self.network = new_network(recipe.objective, recipe.model, self.tokenizer)
        self.pairs = [self._pair(one) for one in drawn]
        self.module: nn.Module = self.network

    def batches(self, first_step: int, share: Share) -> Iterator[dict[str, Tensor]]:
        """Texts of each step, those of a group of steps sorted by length."""
        steps = range(first_step, self.recipe.steps)
        make = partial(self._micro_batch, self.pairs, self.recipe.seed, share.of)
        return prefetched(make, steps, share, min(1, self.recipe.workers))

    def held_out(self, share: Share, count: int) -> Iterator[dict[str, Tensor]]:
        """Texts of another seed."""
        seed = self.recipe.seed + HELD_OUT
        pairs = [self._pair(one) for one in drawn_texts(count * self.recipe.batch, seed)]
        make = partial(self._micro_batch, pairs, seed, share.of)
        return prefetched(make, range(count), share, 0)

    def amount(self, batch: dict[str, Tensor]) -> dict[str, int]:
        """Texts and tokens that are read count."""
        read = int(batch["attention_mask"].sum())
        return {"samples": len(batch["input_ids"]), "tokens": read}

    def loss(
        self, batch: dict[str, Tensor], device: torch.device
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the words asked for; beside it the share that is right."""
        moved = {name: values.to(device) for name, values in batch.items()}
        found = self.network(**moved)
        labels, said = moved["labels"], found.logits.argmax(-1)
        if self.recipe.objective == "next":
            labels, said = labels[:, 1:], said[:, :-1]
        asked = labels != NOTHING
        return found.loss.float(), {"right": (said == labels)[asked].float().mean()}

    def ship(self, average: Mapping[str, Tensor]) -> Path:
        """A folder as transformers' Auto classes read it."""
        folder = self.out / "model"
        network = type(self.network)(self.network.config)
        missing, surplus = network.load_state_dict(dict(average), strict=False)
        known = dict(network.named_parameters())  # a matrix with two names is there under one
        assert not surplus and not known.keys() & set(missing), (missing, surplus)
        with folder_written_whole(folder) as part, quiet():
            network.save_pretrained(part)
            self.tokenizer.save_pretrained(part)
        return folder

    def finish(self, weights: Path) -> None:
        """Fit what tells a note's kind and leads from a note to its record, on drawn notes."""
        fitted_heads(load_text_model(weights), seed=self.recipe.seed).save(weights)

    def _pair(self, text: DrawnText) -> Pair:
        """Ids of both halves, cut where the text is longer than the model's positions."""
        first, second = (
            list(self.tokenizer(half, add_special_tokens=False)["input_ids"])
            for half in (text.source, text.whole[len(text.source) :])
        )
        room = self.recipe.model.positions - 2
        second = second[: room // 2]
        return first[: room - len(second)], second

    def _micro_batch(
        self, pairs: Sequence[Pair], seed: int, parts: int, step: int, part: int
    ) -> dict[str, Tensor]:
        batch, group, within = self.recipe.batch, step // GROUP, step % GROUP
        rng = np.random.default_rng((seed, group))
        rows = rng.integers(len(pairs), size=batch * GROUP)
        lengths = [sum(map(len, pairs[row])) for row in rows]
        order = rows[np.argsort(lengths, kind="stable")].reshape(GROUP, batch)
        chosen = order[rng.permutation(GROUP)[within]][part::parts]
        return self._asked(
            [pairs[row] for row in chosen], np.random.default_rng((seed, 1, step, part))
        )

    def _asked(self, pairs: Sequence[Pair], rng: np.random.Generator) -> dict[str, Tensor]:
        """What the model reads of these texts and what is wanted: (B, T), labels (B, T)."""
        if self.recipe.objective == "spans":
            return self._rebuilt(pairs, rng)
        pad = int(self.tokenizer.pad_token_id)
        ids = filled([self._marked([*first, *second]) for first, second in pairs], pad)
        seen = ids != pad
        read, labels = ids, next_words(ids, ~seen)
        if self.recipe.objective == "masked":
            marks = torch.tensor(self.tokenizer.all_special_ids)
            read, labels = masked_words(
                ids, ~torch.isin(ids, marks), rng, mask=int(self.tokenizer.mask_token_id),
                words=range(len(marks), len(self.tokenizer)), share=self.recipe.masked_share,
            )  # fmt: skip
        return {"input_ids": read, "attention_mask": seen.long(), "labels": labels}

    def _rebuilt(self, pairs: Sequence[Pair], rng: np.random.Generator) -> dict[str, Tensor]:
        """BART's: a corrupted text and the whole one, or the first half and the second."""
        mask, pad = int(self.tokenizer.mask_token_id), int(self.tokenizer.pad_token_id)
        read, wanted = [], []
        for first, second in pairs:
            if rng.random() < self.recipe.pair_share:
                read.append(self._marked(first))
                wanted.append([*second, int(self.tokenizer.eos_token_id)])
                continue
            whole = [*first, *second]
            spoilt = corrupted_spans(whole, rng, mask=mask, share=self.recipe.span_share)
            read.append(self._marked(spoilt))
            wanted.append([*whole, int(self.tokenizer.eos_token_id)])
        ids = filled(read, pad)
        return {
            "input_ids": ids,
            "attention_mask": (ids != pad).long(),
            "labels": filled(wanted, NOTHING),
        }

    def _marked(self, ids: Sequence[int]) -> list[int]:
        return [int(self.tokenizer.bos_token_id), *ids, int(self.tokenizer.eos_token_id)]


def drawn_texts(count: int, seed: int) -> list[DrawnText]:
    """So many texts; the same seed gives the same."""
    rng = np.random.default_rng((TEXTS_SEED, seed))
    return [draw_text(rng) for _ in range(count)]
