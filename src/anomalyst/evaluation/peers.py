"""The pair decoder against what others make of the same features, and of untrained ones."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import ResNetConfig, ResNetModel, ViTConfig, ViTModel

from anomalyst.detection.detector import Detector
from anomalyst.detection.peers import PEERS
from anomalyst.encoders import load_encoder
from anomalyst.encoders.base import Encoder
from anomalyst.encoders.hub import HubEncoder, HubEncoderConfig
from anomalyst.evaluation.protocols import Progress, ProtocolConfig, evaluate
from anomalyst.evaluation.tables import HEADINGS, Line, markdown_table, summarise
from anomalyst.files import write_text
from anomalyst.inspector import Inspector, InspectorConfig
from anomalyst.types import Sample

SHOWN = ("image_auroc", "pixel_auroc", "pixel_ap", "pixel_aupro_30")
SIDE_PX = 256
SEED = 0  # of the untrained weights


@dataclass(frozen=True, slots=True)
class Contender:
    """One way of scoring on one encoder."""

    scorer: str
    encoder: str
    detector: Detector


def compare_peers(
    samples: Sequence[Sample],
    config: ProtocolConfig,
    *,
    out: Path,
    progress: Callable[[str, Progress], None] = lambda *_: None,
) -> list[tuple[Contender, Line]]:
    """Every contender's mean over the categories, on the same draws; written to OUT/peers.md.

    Each evaluation is kept in a folder of its own in `out` and is gone on with (see `evaluate`).
    """
    found = []
    for contender in contenders():
        name = f"{contender.scorer} on {contender.encoder}"
        settings = InspectorConfig(side_px=SIDE_PX)
        results = evaluate(
            Inspector(contender.detector, settings, None),
            samples,
            config,
            out=out / name.replace(" ", "-").lower(),
            progress=lambda step, name=name: progress(name, step),  # type: ignore[misc]
        )
        found.append((contender, summarise(results)[1]))
        write_text(out / "peers.md", as_markdown(found))
    return found


def contenders() -> Iterator[Contender]:
    """The pair decoder, then every peer on the embedded encoder, a ResNet and a ViT, untrained."""
    embedded = Inspector.load("embedded").detector
    yield Contender("pair decoder", "embedded", embedded)
    encoders = {
        "embedded": lambda: load_encoder("embedded"),
        "untrained ResNet": lambda: untrained("resnet"),
        "untrained ViT": lambda: untrained("vit"),
    }
    for encoder, build in encoders.items():
        for scorer, detector in PEERS.items():
            yield Contender(scorer, encoder, detector(build()))


def untrained(kind: str) -> Encoder:
    """A ResNet-18 or a small ViT with the weights it starts its training from (seed 0)."""
    torch.manual_seed(SEED)
    if kind == "resnet":
        settings = ResNetConfig(
            embedding_size=64,
            hidden_sizes=[64, 128, 256, 512],
            depths=[2, 2, 2, 2],
            layer_type="basic",
        )
        model: ResNetModel | ViTModel = ResNetModel(settings)
    else:
        model = ViTModel(
            ViTConfig(
                hidden_size=384,
                num_hidden_layers=12,
                num_attention_heads=6,
                intermediate_size=1536,
                image_size=224,
                patch_size=16,
            ),
            add_pooling_layer=False,
        )
    with TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return HubEncoder(HubEncoderConfig(source=folder, side_px=SIDE_PX), local_files_only=True)


def as_markdown(found: Sequence[tuple[Contender, Line]]) -> str:
    """A table: scorer, encoder, mean over the categories and its spread over draws, in percent."""
    heads = ["scoring", "features", *(HEADINGS[name] for name in SHOWN)]
    rows = [
        [c.scorer, c.encoder, *(line.metrics[name].text(name) for name in SHOWN)]
        for c, line in found
    ]
    return markdown_table(heads, rows, words=2) + "\n"
