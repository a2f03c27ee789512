"""Fine-tuning what was made smaller, to say again what the whole network says."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.backbones.embedded import EmbeddedEncoder
from anomalyst.detection.detector import Detector
from anomalyst.detection.pair_decoder import PairDecoder
from anomalyst.synthetic.procedural import WorldConfig
from anomalyst.training.data.episodes import Batch, batches
from anomalyst.training.recipe import DetectorRecipe
from anomalyst.training.tasks.detector import predicted, teacher_loss
from anomalyst.types import Features


@dataclass(frozen=True, slots=True, kw_only=True)
class Imitation:
    """How long, and on what: drawn episodes, never those that anything is measured on."""

    steps: int = 40
    batch: int = 4
    side_px: int = 128
    learning_rate: float = 2e-4  # of Adam; falls to zero along a cosine
    seed: int = 7

    def batches(self) -> Iterator[Batch]:
        """Episodes with two good pictures each, one shown."""
        recipe = DetectorRecipe(
            steps=self.steps, batch=self.batch, sizes_px=(self.side_px,), seed=self.seed,
            workers=0, alone_share=0.0, both_share=0.0, reuse=1,
            world=WorldConfig(size_px=self.side_px, references=(2, 2), anomalous_share=0.85),
        )  # fmt: skip
        return batches(recipe)


def imitate(
    student: Detector,
    how: Imitation,
    trained: Callable[[Detector], list[nn.Module]],
    on_step: Callable[[], None] = lambda: None,
) -> None:
    """Train what `trained` names of a detector, in place, on what it said before it was reduced.

    The teacher is the shipped detector, float32. The loss: how far the features turn (1 - cosine,
    mean over the levels) and the map's cross-entropy with the teacher's (`teacher_loss`).
    """
    from anomalyst.backbones.embedded import load_embedded
    from anomalyst.detection.pair_decoder import load_decoder

    encoder, decoder = student.encoder, student.decoder
    assert isinstance(encoder, EmbeddedEncoder) and decoder is not None
    teacher, judge = load_embedded(dtype=torch.float32), load_decoder()
    weights = [p for part in trained(student) for p in part.parameters() if p.is_floating_point()]
    for weight in weights:
        weight.requires_grad_(True)
    optimizer = torch.optim.Adam(weights, lr=how.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, how.steps)
    for batch in how.batches():
        loss = _apart((encoder, decoder), (teacher, judge), batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        on_step()
    for weight in weights:
        weight.requires_grad_(False)


def _apart(
    student: tuple[EmbeddedEncoder, PairDecoder],
    teacher: tuple[EmbeddedEncoder, PairDecoder],
    batch: Batch,
) -> Tensor:
    seen: list[Features] = []
    hook = student[0].register_forward_hook(lambda *said: seen.append(said[2]))
    logits, _ = predicted(*student, batch)
    hook.remove()
    with torch.no_grad():
        hook = teacher[0].register_forward_hook(lambda *said: seen.append(said[2]))
        taught, _ = predicted(*teacher, batch)
        hook.remove()
    ours, theirs = seen
    pairs = zip([*ours.levels, *ours.frozen], [*theirs.levels, *theirs.frozen], strict=True)
    turned = [(1 - F.cosine_similarity(a, b, dim=1)).mean() for a, b in pairs]
    return torch.stack(turned).mean() + teacher_loss(logits, taught)
