"""What the tasks share that learn from pairs of answers."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from torch import Tensor

from anomalyst.training.alignment.preferences import Compared
from anomalyst.training.alignment.rollouts import Answers, with_answers
from anomalyst.training.recipe import Recipe
from anomalyst.training.task import Share, Task, prefetched
from anomalyst.vlm.huggingface import AnomalystProcessor


class PairTask(Task):
    """Two answers to a question, of which one is better; the recipe's `batch` counts pairs."""

    recipe: Recipe
    pairs: Sequence[Compared]  # to learn from
    others: Sequence[Compared]  # held out

    @abstractmethod
    def batch_of(self, pairs: Sequence[Compared]) -> dict[str, Tensor]:
        """Both answers of each pair, the chosen ones first: ids (2 B, T) among others."""

    def batches(self, first_step: int, share: Share) -> Iterator[dict[str, Tensor]]:
        """Pairs drawn anew for every step."""
        make = partial(self._drawn, self.recipe.seed, self.pairs, share.of)
        return prefetched(make, range(first_step, self.recipe.steps), share, self.recipe.workers)

    def held_out(self, share: Share, count: int) -> Iterator[dict[str, Tensor]]:
        """Pairs about pictures that nothing is learnt from."""
        make = partial(self._drawn, self.recipe.seed + 1, self.others, share.of)
        return prefetched(make, range(count), share, 0)

    def amount(self, batch: dict[str, Tensor]) -> dict[str, int]:
        """Pairs and tokens count."""
        return {"samples": len(batch["ids"]) // 2, "tokens": batch["ids"].numel()}

    def _drawn(
        self, seed: int, pairs: Sequence[Compared], parts: int, step: int, part: int
    ) -> dict[str, Tensor]:
        rng = np.random.default_rng((seed, step))
        drawn = rng.integers(len(pairs), size=self.recipe.batch)[part::parts]
        return self.batch_of([pairs[int(i)] for i in drawn])


def both_answers(pairs: Sequence[Compared], processor: AnomalystProcessor, family: str) -> Answers:
    """The chosen answer of each pair, then the rejected ones, each after its question."""
    prompts = [one.prompt for one in pairs] * 2
    texts = [one.pair.chosen for one in pairs] + [one.pair.rejected for one in pairs]
    return with_answers(prompts, texts, processor, family)
