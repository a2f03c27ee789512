"""The calibration that ships: contrasts of normal parts of products that were only ever drawn."""

import json
from dataclasses import replace
from pathlib import Path

from anomalyst.backbones.embedded import load_embedded
from anomalyst.calibration.conformal import ALONE_SCORES, PROCEDURAL_SCORES, Calibration
from anomalyst.detection.detector import Detector, Memory
from anomalyst.detection.pair_decoder import load_decoder
from anomalyst.io.files import write_text
from anomalyst.io.geometry import Frame
from anomalyst.synthetic.procedural import WorldConfig, make_episode
from anomalyst.teaching.references import with_copies

HELD_OUT = 1 << 40  # seeds from here on are never trained on


def write_procedural_calibration(
    weights: Path, folder: Path, *, world: WorldConfig, count: int
) -> None:
    """Contrasts of `count` normal queries beside one good picture and beside none, both as JSON.

    `folder` gets calibration.json and calibration-alone.json.
    """
    encoder = load_embedded(weights)
    detector = Detector(encoder, load_decoder(weights))
    normal = replace(world, size_px=encoder.side_px, references=(1, 1), anomalous_share=0.0)
    frame = Frame.of((encoder.side_px, encoder.side_px), encoder.side_px, encoder.multiple_px)
    beside: list[float] = []
    alone: list[float] = []
    for index in range(count):
        episode = make_episode(HELD_OUT + index, normal)
        views = frame.cut(episode.query)
        good = list(episode.references)
        memory = detector.remember(with_copies(detector, detector.encode(good), good))
        query = detector.encode(views.canvases)
        for found, known in ((beside, memory), (alone, Memory())):
            contrast = detector.judge(query, known, views.placements[0]).contrast
            assert contrast is not None  # the detector has a pair decoder
            found.append(contrast)
    for path, scores in ((PROCEDURAL_SCORES, beside), (ALONE_SCORES, alone)):
        calibration = Calibration.procedural(sorted(round(score, 5) for score in scores))
        write_text(folder / path.name, json.dumps(calibration.as_dict()) + "\n")
