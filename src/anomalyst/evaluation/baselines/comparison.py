"""The pair decoder against what others make of the same network's features, and against CLIP."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch
from transformers import ResNetConfig, ResNetModel, ViTConfig, ViTModel

from anomalyst.backbones.base import Encoder
from anomalyst.backbones.huggingface import HubEncoder, HubEncoderConfig
from anomalyst.backbones.raw_trunk import trunk_beside
from anomalyst.errors import AnomalystError
from anomalyst.evaluation.baselines.inspectors import (
    FewShotInspector,
    FewShotOnClipInspector,
    ZeroShotInspector,
)
from anomalyst.evaluation.baselines.methods import BASELINES
from anomalyst.evaluation.baselines.methods.clip_references import PatchBank, WinCLIPPlus
from anomalyst.evaluation.baselines.methods.text import Clip, PromptMap, WinCLIP, ZeroShot
from anomalyst.evaluation.baselines.report import OURS, Contest, Entry, write_report
from anomalyst.evaluation.protocols.protocol import (
    Evaluable,
    Progress,
    ProtocolConfig,
    Results,
    evaluate,
)
from anomalyst.evaluation.protocols.run_records import by_category
from anomalyst.inspection.config import InspectorConfig
from anomalyst.inspector import Inspector
from anomalyst.types import Sample

SEED = 0  # of the untrained weights

Shots = int | Literal["all"]
Tell = Callable[[str, Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonConfig:
    """What is compared, and on which draws."""

    shots: tuple[Shots, ...] = (1, 2, 4, "all")
    """Numbers of good pictures, each with a table of its own."""
    seeds: int = 5
    """Draws of these pictures, the same for every contender."""
    max_pictures: int | None = None
    """At most so many test pictures per category."""
    encoder: str = "embedded"
    """The detector under test; its trunk's features, if it has one, are what baselines see."""
    first_half: tuple[str, ...] = ()
    """Categories shown as one half, the others as the second; none: no halves."""
    clip: str | None = None
    """Folder of a CLIP model, for the baselines that need one."""
    scorers: tuple[str, ...] = ()
    """Only these baselines, by the names of the tables; none named: every one."""
    untrained: bool = False
    """Whether the baselines also score a ResNet and a ViT that never saw a picture."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way of scoring on one network's features."""

    scorer: str
    features: str
    inspector: Evaluable

    @property
    def folder(self) -> str:
        """Where its runs are kept."""
        return "".join(c if c.isalnum() else "-" for c in f"{self.scorer} on {self.features}")


def compare_baselines(
    samples: Sequence[Sample],
    config: ComparisonConfig,
    *,
    out: Path,
    progress: Tell = lambda *_: None,
    write: Callable[[Sequence[Contest], Path], None] = write_report,
) -> list[Contest]:
    """Every contender on the same draws, for each number of good pictures in turn.

    After every contender `write` puts what is known into `out`: peers.md and peers.png. Each
    evaluation is kept in a folder of its own there and is gone on with (see `evaluate`). Raises
    AnomalystError for a detector without a pair decoder, a category of a half that the set lacks,
    and what `evaluate` and `trunk_beside` raise.
    """
    _check(samples, config)
    compared = _Compared(samples, config, out, progress)
    contests: list[Contest] = []
    for shots in config.shots:
        contests.append(Contest(shots=shots, halves=bool(config.first_half), entries=[]))
        found = contests[-1].entries
        for contender in compared.contenders:
            found.append(compared.entry(contender, shots))
            write(contests, out)
        found += compared.without_pictures
        write(contests, out)
    return contests


class _Compared:
    """The contenders, and what they are evaluated on."""

    def __init__(self, samples: Sequence[Sample], config: ComparisonConfig, out: Path, tell: Tell):
        self.samples, self.config, self.out, self.tell = samples, config, out, tell
        self.clip = Clip(config.clip) if config.clip else None
        self.contenders = contenders(config, self.clip)

    def entry(self, contender: Contender, shots: Shots) -> Entry:
        """The line of one contender, for some number of good pictures."""
        folder = self.out / f"{shots}-shot" / contender.folder
        title = f"{shots} good: {contender.scorer}"
        results = self._results(contender.inspector, self.samples, shots, folder, title)
        return Entry.of(contender.scorer, contender.features, results, self.config.first_half)

    @cached_property
    def without_pictures(self) -> list[Entry]:
        """The zero-shot baselines, if there is a CLIP folder; equal for any number of shots."""
        if self.clip is None:
            return []
        methods = (WinCLIP(self.clip), PromptMap(self.clip))
        return [self._by_words(one) for one in methods if _wanted(self.config, one.name)]

    def _by_words(self, method: ZeroShot) -> Entry:
        """One evaluation per category, for each has sentences of its own."""
        found: list[Results] = []
        for category, own in sorted(by_category(self.samples).items()):
            inspector = ZeroShotInspector(method, category.replace("_", " ") or "object")
            name = Contender(method.name, "CLIP", inspector).folder
            folder = self.out / "0-shot" / name / (category or "all")
            found.append(self._results(inspector, own, 0, folder, f"{method.name}: {category}"))
        results = replace(found[-1], runs=tuple(run for one in found for run in one.runs))
        return Entry.of(method.name, _features(method.clip), results, self.config.first_half)

    def _results(
        self, inspector: Evaluable, samples: Sequence[Sample], shots: Shots, out: Path, title: str
    ) -> Results:
        config = self.config
        protocol = ProtocolConfig(shots=shots, seeds=config.seeds, max_pictures=config.max_pictures)
        return evaluate(
            inspector, samples, protocol, out=out, progress=lambda step: self.tell(title, step)
        )


def contenders(config: ComparisonConfig, clip: Clip | None = None) -> list[Contender]:
    """The detector under test, then every baseline on its trunk, on untrained networks, on CLIP."""
    ours = Inspector.load(config.encoder, InspectorConfig())
    detector = ours.detector
    if detector.decoder is None:
        raise AnomalystError(
            f"--encoder {config.encoder}: has no pair decoder to compare with baselines; take "
            "`embedded`, or `run:` and the folder of a trained detector."
        )
    encoders: list[Encoder] = [trunk_beside(detector.encoder)]
    if config.untrained:
        encoders += [untrained(kind, detector.encoder.side_px) for kind in ("ResNet", "ViT")]
    found = [Contender(OURS, ours.name, ours)]
    for encoder in encoders:
        for scorer, baseline in BASELINES.items():
            found.append(
                Contender(scorer, encoder.name, FewShotInspector(scorer, baseline(encoder)))
            )
    if clip is not None:
        for method in (WinCLIPPlus(clip), PatchBank(clip)):
            found.append(Contender(method.name, _features(clip), FewShotOnClipInspector(method)))
    return [one for one in found if one.scorer == OURS or _wanted(config, one.scorer)]


def untrained(kind: str, side_px: int = 256) -> Encoder:
    """A ResNet-18 or a small ViT with the weights it starts its training from (seed 0)."""
    torch.manual_seed(SEED)
    model: ResNetModel | ViTModel
    if kind == "ResNet":
        sizes = [64, 128, 256, 512]
        model = ResNetModel(
            ResNetConfig(
                embedding_size=64, hidden_sizes=sizes, depths=[2, 2, 2, 2], layer_type="basic"
            )
        )
    else:
        settings = ViTConfig(
            hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536,
            image_size=224, patch_size=16,
        )  # fmt: skip
        model = ViTModel(settings, add_pooling_layer=False)
    with TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        config = HubEncoderConfig(source=folder, side_px=side_px)
        encoder = HubEncoder(config, local_files_only=True)
    encoder.name = f"untrained {kind}"
    return encoder


def _features(clip: Clip) -> str:
    return f"CLIP {clip.name}"


def _wanted(config: ComparisonConfig, scorer: str) -> bool:
    return not config.scorers or scorer in config.scorers


def _check(samples: Sequence[Sample], config: ComparisonConfig) -> None:
    known = sorted({sample.category for sample in samples})
    if unknown := [name for name in config.first_half if name not in known]:
        raise AnomalystError(
            f"--halves: {unknown[0]!r} is no category of this set; it has {', '.join(known)}."
        )
    if config.first_half and set(config.first_half) == set(known):
        raise AnomalystError(
            "--halves: names every category, which leaves none for the second half."
        )
