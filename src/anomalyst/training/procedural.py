"""The calibration that ships: scores of sound parts of products that were only ever drawn."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from anomalyst.detection.calibration import Calibration
from anomalyst.detection.decoder import load_decoder
from anomalyst.detection.detector import Detector
from anomalyst.encoders.embedded import load_embedded
from anomalyst.files import write_text
from anomalyst.imaging import Frame
from anomalyst.synthesis.world import WorldConfig, make_episode

HELD_OUT = 1 << 40  # seeds from here on are never trained on


def write_procedural_calibration(
    weights: Path,
    target: Path,
    *,
    world: WorldConfig,
    count: int,
    on_episode: Callable[[], None] = lambda: None,
) -> Calibration:
    """Score `count` sound queries against one good picture each, and write the scores as JSON."""
    encoder = load_embedded(weights)
    detector = Detector(encoder, load_decoder(weights))
    sound = replace(world, size_px=encoder.side_px, references=(1, 1), anomalous_share=0.0)
    frame = Frame.of((encoder.side_px, encoder.side_px), encoder.side_px, encoder.multiple_px)
    scores = []
    for index in range(count):
        episode = make_episode(HELD_OUT + index, sound)
        views = frame.cut(episode.query)
        memory = detector.remember(detector.encode(list(episode.references)))
        query = detector.encode(views.canvases)
        scores.append(detector.judge(query, memory, views.placements[0]).score)
        on_episode()
    calibration = Calibration.procedural(sorted(round(s, 5) for s in scores))
    write_text(target, json.dumps(calibration.as_dict()) + "\n")
    return calibration
