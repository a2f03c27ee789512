"""Fitting the decoder's head to one product: seconds of tuning on defects planted on its pictures.

Each good picture, normal and defective (`synthetic/anomalies/pasting.py`), is judged beside the
others; the head
learns what this product may look like. The learnt weights are taken part of the way (Wortsman et
al. 2022), and only if planted defects it never saw are told from good pictures at least as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyst.detection.detector import Detector, Memory, by_scale
from anomalyst.detection.matching import References
from anomalyst.detection.pair_decoder import Matched, PairDecoder
from anomalyst.detection.scoring import expected_share
from anomalyst.synthetic.anomalies.pasting import with_defects
from anomalyst.teaching.losses import dice_loss, focal_loss
from anomalyst.teaching.short_loop import ShortLoop, fit_averaged
from anomalyst.types import Features


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptationConfig:
    """How long and how far the head is fitted."""

    least_pictures: int = 4  # with fewer there is too little to compare with
    steps: int = 40
    warmup_steps: int = 8
    late_share: float = 0.4  # last share of the steps: slower, and averaged
    products_per_step: int = 2  # pictures per step, each normal and defective
    shown: int = 6  # good pictures each is compared with
    learning_rate: float = 3e-4
    way: float = 0.5  # how far from the shipped weights towards the fitted ones
    checked: int = 16  # planted pictures that decide whether it helped
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Lesson:
    """The good pictures of one tile."""

    canvases: Sequence[np.ndarray]  # K of uint8 (h, w, 3)
    features: Features  # of them
    memory: Memory  # of them


def adapt(
    detector: Detector,
    lessons: Sequence[Lesson],
    config: AdaptationConfig | None = None,
    on_step: Callable[[], None] = lambda: None,
) -> PairDecoder | None:
    """A decoder with its head fitted to a product (one lesson per tile), or None if none helps.

    The same pictures give the same decoder. None also for too few pictures.
    """
    config = config or AdaptationConfig()
    shipped = detector.decoder
    if shipped is None or len(lessons[0].canvases) < config.least_pictures:
        return None
    fitted = _fitted(detector, shipped, lessons, config, on_step)
    before = {name: p.detach() for name, p in shipped.head().items()}
    head = {name: before[name].lerp(fitted[name], config.way) for name in before}
    adapted = shipped.with_head(head)
    plain, better = _rankings(detector, adapted, lessons, config)
    return adapted if better >= plain else None


def _fitted(
    detector: Detector,
    shipped: PairDecoder,
    lessons: Sequence[Lesson],
    config: AdaptationConfig,
    on_step: Callable[[], None],
) -> dict[str, Tensor]:
    """The head after tuning, averaged over the last steps."""
    decoder = shipped.with_head({n: p.detach().clone() for n, p in shipped.head().items()})
    head = decoder.head()
    rng = np.random.default_rng(config.seed)

    def loss(step: int) -> Tensor:
        return _loss(detector, decoder, lessons[step % len(lessons)], step, rng, config)

    loop = ShortLoop(
        steps=config.steps,
        learning_rate=config.learning_rate,
        warmup_steps=config.warmup_steps,
        late_share=config.late_share,
    )
    return fit_averaged(head, loss, loop, on_step)


def _loss(
    detector: Detector,
    decoder: PairDecoder,
    lesson: Lesson,
    step: int,
    rng: np.random.Generator,
    config: AdaptationConfig,
) -> Tensor:
    """Of some good pictures, normal and defective, each beside others: map and ranking."""
    count = len(lesson.canvases)
    picked = [int(i) for i in rng.integers(count, size=config.products_per_step)]
    matched, masks = [], []
    scale = step % len(detector.config.scales)
    for own in picked:
        planted, mask = _planted(lesson, own, rng)
        others = rng.permutation([i for i in range(count) if i != own])[: config.shown]
        beside = lesson.memory.references[scale].only([int(i) for i in others])
        for features in (detector.encode([planted]), lesson.features.rows([own])):
            matched.append(_matched(detector, decoder, by_scale(features)[scale], beside))
        masks += [torch.from_numpy(mask).float(), torch.zeros(mask.shape)]
    target = torch.stack(masks)[:, None].to(
        detector.device
    )  # (2 P, 1, h, w): defective, normal, defective, ...
    with detector.precision():
        logits = decoder.decide(_joined(matched)).float()
    distances = [torch.cat(level) for level in zip(*(m.distances for m in matched), strict=True)]
    weight = detector.config.nearest_weight
    scores = expected_share(decoder.with_nearest(logits, distances, weight).flatten(1))
    whole = F.interpolate(logits, size=target.shape[-2:], mode="bilinear")
    has = (target.flatten(1).amax(1) > 0)[0::2].float()
    rank = F.softplus(scores[1::2][None] - scores[0::2][:, None]).mean(1)
    ranking = (rank * has).sum() / has.sum().clamp(min=1)
    return focal_loss(whole, target) * 4 + dice_loss(whole, target) * 0.5 + ranking * 0.3


@torch.no_grad()
def _matched(
    detector: Detector, decoder: PairDecoder, query: Features, beside: References
) -> Matched:
    """Matches that a gradient of the head may use."""
    on_device = query.to(detector.device)
    ordinary = Features([level.clone() for level in on_device.levels], on_device.embedding)
    with detector.precision():
        return decoder.match(ordinary, beside)


def _joined(matched: Sequence[Matched]) -> Matched:
    return Matched(
        torch.cat([m.coarse for m in matched]),
        torch.cat([m.middle for m in matched]),
        torch.cat([m.fine for m in matched]),
        [],
        torch.cat([m.movement for m in matched]),
    )


def _planted(lesson: Lesson, own: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A good picture with defects from the other ones, and its mask."""
    donors = [canvas for i, canvas in enumerate(lesson.canvases) if i != own]
    return with_defects(lesson.canvases[own], donors, rng)


def _rankings(
    detector: Detector,
    adapted: PairDecoder,
    lessons: Sequence[Lesson],
    config: AdaptationConfig,
) -> tuple[float, float]:
    """AUROC of newly planted defects against good pictures, beside the others: before, after."""
    rng = np.random.default_rng(config.seed + 1)
    normal: list[tuple[float, float]] = []
    defective: list[tuple[float, float]] = []
    for number in range(config.checked):
        lesson = lessons[number % len(lessons)]
        own = number % len(lesson.canvases)
        others = [i for i in range(len(lesson.canvases)) if i != own]
        memory = detector.remember_only(lesson.memory, lesson.features, others)
        planted, mask = _planted(lesson, own, rng)
        if mask.any():
            query = detector.encode([planted])
            defective.append(_both_scores(detector, query, memory, adapted))
        if number < len(lesson.canvases):
            normal.append(_both_scores(detector, lesson.features.rows([own]), memory, adapted))
    good, bad = (torch.tensor(scores).reshape(-1, 2) for scores in (normal, defective))
    return auroc(good[:, 0], bad[:, 0]), auroc(good[:, 1], bad[:, 1])


def _both_scores(
    detector: Detector, query: Features, memory: Memory, adapted: PairDecoder
) -> tuple[float, float]:
    plain = detector.judge(query, memory, None).score
    return plain, detector.judge(query, Memory(memory.references, adapted), None).score


def auroc(good: Tensor, bad: Tensor) -> float:
    """Share of pairs in which the bad one scores higher, ties by half; 0.5 without pairs."""
    if not len(good) or not len(bad):
        return 0.5
    gap = bad[:, None] - good[None]
    return float(((gap > 0).float() + 0.5 * (gap == 0).float()).mean())
