"""What people see of a recording: its spectrum or curves, one strip a channel, with time below."""

from dataclasses import dataclass

import cv2
import numpy as np

from anomalyst.senses.recording import Recording
from anomalyst.senses.sense import SignalSense

WIDTH_PX = (640, 1600)  # least and most of the time axis
STRIP_PX = {True: (256, 96), False: (160, 72)}  # spectrum or curves: of one channel, of several
LEFT_PX, BELOW_PX, GAP_PX = 96, 30, 6
PAPER, INK, LINE = (255, 255, 255), (60, 60, 60), (30, 90, 160)
NEXT_TO = np.ones((3, 3), np.uint8)
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)


@dataclass(frozen=True, slots=True)
class SignalView:
    """The drawing of a recording, and where its moments and channels lie on it."""

    picture: np.ndarray  # uint8 (H, W, 3)
    strips: tuple[tuple[int, int], ...]  # first row and one past the last of each channel
    names: tuple[str, ...]  # of the channels
    seconds: float
    bands: tuple[str, ...]  # of each channel, from low to high; empty: a plain curve

    def laid(self, found: np.ndarray) -> np.ndarray:
        """A map (T, C) of moments and columns, float32, as one of the picture (H, W).

        One band between two that stand out is shown as they are: a tone is one place, not stripes.
        """
        height, width, _ = self.picture.shape
        whole = np.zeros((height, width), np.float32)
        wide = width - LEFT_PX
        each = found.shape[1] // len(self.strips)
        for index, (top, end) in enumerate(self.strips):
            own = found[:, index * each : (index + 1) * each].T[::-1]  # low bands lie below
            closed = cv2.morphologyEx(np.ascontiguousarray(own), cv2.MORPH_CLOSE, NEXT_TO)
            whole[top:end, LEFT_PX:] = cv2.resize(
                closed, (wide, end - top), interpolation=cv2.INTER_LINEAR
            )
        return whole

    def where(self, box_xyxy: tuple[int, int, int, int]) -> str:
        """A box of the picture in words: "0.42 to 0.61 s, 2.1 to 3.4 kHz"."""
        x0, y0, x1, y1 = box_xyxy
        wide = self.picture.shape[1] - LEFT_PX
        begin, end = (max(0.0, (x - LEFT_PX) / wide) * self.seconds for x in (x0, x1))
        words = [f"{begin:.3g} to {end:.3g} s"]
        touched = [i for i, (top, low) in enumerate(self.strips) if y0 < low and y1 > top]
        if len(self.strips) > 1:
            words.append(", ".join(self.names[i] for i in touched))
        if self.bands and len(touched) == 1:
            top, low = self.strips[touched[0]]
            place = [(low - y) / (low - top) * len(self.bands) for y in (y1, y0)]
            first, last = (int(np.clip(v, 0, len(self.bands) - 1)) for v in place)
            words.append(f"{self.bands[first]} to {self.bands[last]}")
        return ", ".join(words)


def view_of(recording: Recording, frames: Recording, sense: SignalSense) -> SignalView:
    """The drawing of a recording; `frames` is what `sense.frames` made of it."""
    names = recording.channels
    one, several = STRIP_PX[sense.as_spectrum]
    tall = one if len(names) == 1 else several
    wide = int(np.clip(4 * len(frames.values), *WIDTH_PX))
    height = len(names) * (tall + GAP_PX) + BELOW_PX
    picture = np.full((height, LEFT_PX + wide, 3), PAPER, np.uint8)
    strips = tuple((i * (tall + GAP_PX), i * (tall + GAP_PX) + tall) for i in range(len(names)))
    bands: tuple[str, ...] = ()
    each = frames.values.shape[1] // len(names)
    for index, (top, end) in enumerate(strips):
        strip = picture[top:end, LEFT_PX:]
        own = frames.values[:, index * each : (index + 1) * each]
        if sense.as_spectrum:
            strip[:] = _spectrum(own, sense, (tall, wide))
            bands = tuple(name.removeprefix(f"{names[0]} ") for name in frames.channels[:each])
        else:
            _curve(strip, own[:, 0])
        _labels(picture, (top, end), names[index] if len(names) > 1 else "", bands)
    _time_axis(picture, strips[-1][1], recording.seconds)
    return SignalView(picture, strips, names, recording.seconds, bands)


def _spectrum(own: np.ndarray, sense: SignalSense, size_hw: tuple[int, int]) -> np.ndarray:
    """Decibels (T, bands) in colours, low bands below."""
    share = np.clip((own - sense.low) / (sense.high - sense.low), 0, 1)
    grey = np.ascontiguousarray((share * 255).astype(np.uint8).T[::-1])
    grown = cv2.resize(grey, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.applyColorMap(grown, cv2.COLORMAP_VIRIDIS)[..., ::-1])


def _curve(strip: np.ndarray, values: np.ndarray) -> None:
    """One channel as a line that fills its strip."""
    tall, wide = strip.shape[:2]
    low, high = float(values.min()), float(values.max())
    middle = (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
    x = np.linspace(0, wide - 1, len(values))
    y = 3 + (1 - middle) * (tall - 7)
    strip[:] = 248
    points = np.round(np.stack([x, y], 1)).astype(np.int32)
    drawn = np.ascontiguousarray(strip)
    cv2.polylines(drawn, [points], False, LINE, 1, cv2.LINE_AA)
    strip[:] = drawn


def _labels(picture: np.ndarray, rows: tuple[int, int], name: str, bands: tuple[str, ...]) -> None:
    top, end = rows
    if name:
        _write(picture, name[:12], (4, (top + end) // 2 + 4))
    if bands:
        marks = (0, len(bands) // 2, len(bands) - 1) if not name else (0, len(bands) - 1)
        for mark in marks:
            y = round(end - (mark + 0.5) / len(bands) * (end - top))
            shown = int(np.clip(y + 4, top + 11, end - 2))
            _write(picture, bands[mark], (LEFT_PX - 6 - 7 * len(bands[mark]), shown))


def _time_axis(picture: np.ndarray, row: int, seconds: float) -> None:
    wide = picture.shape[1] - LEFT_PX
    step = next((t for t in TICKS if seconds / t <= 10), TICKS[-1])
    for number in range(int(seconds / step) + 1):
        x = min(LEFT_PX + round(number * step / seconds * wide), picture.shape[1] - 1)
        cv2.line(picture, (x, row), (x, row + 4), INK, 1)
        words = f"{number * step:g}" + (" s" if number == 0 else "")
        _write(picture, words, (min(x - 4, picture.shape[1] - 8 * len(words)), row + 20))


def _write(picture: np.ndarray, words: str, at_xy: tuple[int, int]) -> None:
    cv2.putText(picture, words, at_xy, cv2.FONT_HERSHEY_SIMPLEX, 0.4, INK, 1, cv2.LINE_AA)
