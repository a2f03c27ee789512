"""Sounds and sensor series: learnt from good recordings, and one recording's way to a verdict."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from anomalyst.calibration.conformal import Calibration
from anomalyst.calibration.severity import severity_of
from anomalyst.calibration.verdict import decide_alone
from anomalyst.detection.regions import regions_for
from anomalyst.detection.signals.judges import Judge, SeriesJudge, series_config
from anomalyst.detection.signals.names import MEMORY
from anomalyst.detection.signals.nearest_frames import SignalMemory
from anomalyst.errors import AnomalystError, RecordingError
from anomalyst.inspection.preprocessing import Stopwatch
from anomalyst.inspection.signal_view import view_of
from anomalyst.product import UNNAMED, Product
from anomalyst.senses.recording import Recording
from anomalyst.senses.sense import SignalSense
from anomalyst.teaching.references import set_apart
from anomalyst.teaching.series import fit_series
from anomalyst.types import Inspection, Region, Verdict

SIGNAL_ENCODER = "spectrum"  # what its features are called where an encoder is named
MOST_COMPARED = 24  # good recordings compared with, beside those that calibrate


def learn_signals(
    name: str,
    good: Sequence[Path],
    sense: SignalSense,
    *,
    product: Product | None = None,
    on_file: Callable[[Path], None] = lambda _: None,
    on_step: Callable[[], None] = lambda: None,
) -> Product:
    """A product learnt from good recordings (added to those of `product`); not saved yet.

    From 27 on, those that calibrate are set apart; of fewer each is left out in turn. Raises
    AnomalystError if there is none, RecordingError if the only one is bad.
    """
    paths = list(dict.fromkeys([*(product.references if product else ()), *good]))
    if not paths:
        raise AnomalystError(f"product {name!r}: at least one good recording is needed.")
    recordings, notes = _opened(paths, sense, on_file)
    fitted = sense.fitted(list(recordings.values()))
    frames = [fitted.frames(one).values for one in recordings.values()]
    apart = set_apart(len(frames), MOST_COMPARED)
    kept = [i for i in range(len(frames)) if i not in set(apart)]
    judge = judge_of([frames[i] for i in kept], fitted)
    scores = (
        [judge.look(frames[i]).score for i in apart]
        if apart
        else _left_out(frames, fitted, on_step)
    )
    told = {note: None for one in recordings.values() for note in one.notes}
    return Product(
        name=name,
        encoder=SIGNAL_ENCODER,
        fingerprint="",
        frame=None,
        pose="fixed",
        references=list(recordings),
        features=[],
        calibration=Calibration(scores=tuple(scores), method="split" if apart else "leave-one-out"),
        calibrated_by=tuple(scores),
        sources=dict(product.sources) if product else {},
        notes=(*notes, *(f"good recordings: {note}" for note in told)),
        description=product.description if product else "",
        chosen=kept,
        companions=product.companions if product else {},
        sense=fitted,
        signal=judge,
    )


def judge_of(good: Sequence[np.ndarray], sense: SignalSense) -> Judge:
    """What judges by good recordings, (T_i, C) each. Raises AnomalystError for unfit ones."""
    if sense.method == MEMORY:
        return SignalMemory.of(good, decibels=sense.as_spectrum)
    return SeriesJudge(fit_series(good, series_config(sense.method)))


def _left_out(
    frames: Sequence[np.ndarray], sense: SignalSense, on_step: Callable[[], None]
) -> list[float]:
    """Each good recording's score beside all others; none of one alone."""
    found = []
    for i, one in enumerate(frames if len(frames) > 1 else ()):
        found.append(judge_of([*frames[:i], *frames[i + 1 :]], sense).look(one).score)
        on_step()
    return found


def judge_signal(path: Path, product: Product, rate: float) -> Inspection:
    """One recording against a product taught from recordings. Raises RecordingError."""
    sense, judge = product.sense, product.signal
    assert isinstance(sense, SignalSense) and judge is not None
    stopwatch = Stopwatch()
    with stopwatch("open"):
        recording = sense.read(path)
    with stopwatch("encode"):
        frames = sense.frames(recording)
    with stopwatch("score"):
        seen = judge.look(frames.values)
        decision = decide_alone(
            seen.score, rate, product.calibration, product.name, product.num_references
        )
    with stopwatch("draw"):
        view = view_of(recording, frames, sense)
        whole = view.laid(seen.map)
        regions = tuple(
            replace(region, where=view.where(region.box_xyxy))
            for region in regions_for(whole, decision.verdict)
        )
    return Inspection(
        image=path,
        size_hw=(whole.shape[0], whole.shape[1]),
        map=whole,
        score=decision.score,
        p_value=decision.p_value,
        verdict=decision.verdict,
        confidence=decision.confidence,
        guaranteed=decision.guaranteed,
        regions=regions,
        answer=signal_sentence(decision.verdict, regions, decision.p_value),
        seconds=stopwatch.seconds,
        notes=(*product.notes, *recording.notes, *decision.notes),
        product="" if product.name == UNNAMED else product.name,
        num_good=product.num_references,
        told=product.description,
        sense=sense.kind,
        view=view.picture,
        severity=severity_of(
            decision.score, product.calibration, regions, (whole.shape[0], whole.shape[1])
        ),
        taken=recording.began,
    )


def signal_sentence(verdict: Verdict, regions: Sequence[Region], p_value: float) -> str:
    """The verdict in words, with the times it speaks of."""
    if verdict == "normal":
        return f"No anomaly found (p = {p_value:.3g})."
    where = "; ".join(region.where for region in regions[:3])
    if verdict == "anomalous":
        return f"Anomalous: {where} (p = {p_value:.3g})."
    return f"Unsure: please look at {where} (p = {p_value:.3g})."


def _opened(
    paths: Sequence[Path], sense: SignalSense, on_file: Callable[[Path], None]
) -> tuple[dict[Path, Recording], list[str]]:
    recordings: dict[Path, Recording] = {}
    errors: list[RecordingError] = []
    for path in paths:
        try:
            recordings[path] = sense.read(path)
        except RecordingError as error:
            errors.append(error)
        on_file(path)
    if not recordings:
        raise errors[0]
    return recordings, [f"left out when taught: {error}" for error in errors]
