"""A film file -> a few clips of two frames each, as ImageBind's image tower takes them."""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path

import cv2
import numpy as np

from anomalyst.errors import RecordingError

SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v"})
CLIP_SECONDS, CLIPS = 2, 5
LEAST_SECONDS = 0.5
LONGEST_SECONDS = 600.0  # all frames up to the last one needed are decoded
LOST_MOST = 0.1  # of the frames that a file announces


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """Clips of a film: the first and the last frame of each."""

    clips: np.ndarray  # uint8 RGB (S, 2, H, W, 3)
    seconds: float  # of the whole film
    notes: tuple[str, ...] = ()

    @property
    def frames(self) -> np.ndarray:
        """All frames kept, in the order of time, each once for every clip: (2 S, H, W, 3)."""
        frames: np.ndarray = self.clips.reshape(-1, *self.clips.shape[2:])
        return frames


def read_film(path: Path) -> Film:
    """Five clips of 2 s from begin to end of a film; of one that is shorter, one clip of it all.

    Raises RecordingError for a missing file, what is no film, less than half a second, more than
    ten minutes, or frames that cannot be read.
    """
    rate, announced = _told(path)
    count = _counted(path, rate)
    seconds = count / rate
    if count < 2 or seconds < LEAST_SECONDS:
        raise RecordingError(
            path, f"shows {count} frames, {seconds:.2g} s; at least {LEAST_SECONDS:g} s are needed."
        )  # fmt: skip
    notes = []
    if announced - count > LOST_MOST * announced:
        notes.append(f"{announced - count} of {announced} frames cannot be read: the film ends "
                     f"after {seconds:.3g} s")  # fmt: skip
    if seconds < CLIP_SECONDS:
        notes.append(f"the film lasts {seconds:.3g} s: one clip of all of it, instead of 2 s each")
    places = clip_frames(count, rate)
    found = _frames(path, {number for place in places for number in place})
    clips = np.stack([np.stack([found[first], found[last]]) for first, last in places])
    return Film(clips=clips, seconds=seconds, notes=tuple(notes))


def clip_frames(count: int, rate: float) -> list[tuple[int, int]]:
    """First and last frame of each clip of a film of `count` frames.

    Clips begin evenly from the start to 2 s before the end, as the published code places them.
    """
    if count / rate < CLIP_SECONDS:
        return [(0, count - 1)]
    # Seconds in floats, as the reference counts: exactly, some frames would differ by one.
    spare = Fraction(count / rate - CLIP_SECONDS)
    starts = [spare / (CLIPS - 1) * number for number in range(CLIPS)]
    return [
        (ceil(rate * float(start)), min(count, ceil(rate * float(start + CLIP_SECONDS))) - 1)
        for start in starts
    ]


def _opened(path: Path) -> cv2.VideoCapture:
    if path.is_dir():
        raise RecordingError(path, "is a folder; a film file is needed.")
    if not path.is_file():
        raise RecordingError(path, "there is no such file.")
    if path.stat().st_size == 0:
        raise RecordingError(path, "is an empty file; copy it again.")
    # Only this reader: others take a picture, or a name with % in it, for a film.
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise RecordingError(
            path, "is not a film we can read; MP4, AVI, MOV, MKV or WebM is needed."
        )
    return capture


def _told(path: Path) -> tuple[float, int]:
    """Frames a second and how many frames, as the file says."""
    capture = _opened(path)
    try:
        rate, announced = (
            capture.get(which) for which in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT)
        )
    finally:
        capture.release()
    if not 0.1 <= rate <= 100_000:
        raise RecordingError(
            path, "does not tell how many frames a second it holds; save it again as MP4."
        )
    return rate, max(0, int(announced))


def _counted(path: Path, rate: float) -> int:
    """How many frames can be decoded: what a file announces is often a guess."""
    capture, count = _opened(path), 0
    try:
        while capture.grab():
            count += 1
            if count > LONGEST_SECONDS * rate:
                raise RecordingError(
                    path, f"lasts more than {LONGEST_SECONDS / 60:g} minutes; cut it into shorter "
                    "films."
                )  # fmt: skip
    finally:
        capture.release()
    return count


def _frames(path: Path, wanted: set[int]) -> dict[int, np.ndarray]:
    """Frames by their number, uint8 RGB; read in order, since seeking lands beside the place."""
    capture, found = _opened(path), {}
    try:
        for number in range(max(wanted) + 1):
            read = capture.grab()
            if number in wanted:
                good, frame = capture.retrieve() if read else (False, None)
                if not good or frame is None:
                    raise RecordingError(
                        path, f"frame {number} cannot be read; copy the file again."
                    )
                found[number] = frame[..., ::-1]
    finally:
        capture.release()
    return found
