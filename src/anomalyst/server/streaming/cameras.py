"""Cameras: the newest frame or each one; lost ones are opened again; a blind one is an alarm.

A camera that shows the same picture again and again, or none at all, would let every part pass as
it saw the last good one.
"""

import io
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import cv2
import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.server.pauses import pause_after
from anomalyst.server.streaming.feeds import Feed, feed_of, shown_camera
from anomalyst.server.streaming.sources import Source, Taken

log = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between tries to open a camera that is lost
MOST_WAITING = 16  # frames, where each is a part
SAMPLE = 16  # every so-manieth row is compared first


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraRule:
    """When a camera is blind, and which of its frames count."""

    silent_seconds: float = 10.0  # without a frame; 0: never, as with one that waits for parts
    frozen_frames: int = 25  # the same, byte for byte; 0: never
    each: bool = False  # every frame is a part: none is passed over for a newer one

    def __post_init__(self) -> None:
        if self.silent_seconds < 0 or self.frozen_frames < 0 or self.frozen_frames == 1:
            raise AnomalystError("--silent-s: 0 or more is needed; --frozen-frames: 0, 2 or more.")


@dataclass(frozen=True, slots=True)
class _Frame:
    picture: np.ndarray
    came_at: float
    when: datetime


class Camera(Source):
    """A camera, stream or film, read by a thread of its own."""

    dropped_are = "frames"

    def __init__(self, text: str, rule: CameraRule | None = None):
        self.label, self.rule = shown_camera(text), rule or CameraRule()
        self.dropped = 0
        self.blind: str | None = None  # why it sees nothing
        self.on_blind: Callable[[str | None], None] = lambda _: None  # why, or that it sees again
        self.on_lost: Callable[[str, float], None] = lambda *_: None  # a part's frame; it came at
        self._frames: deque[_Frame] = deque()
        self._fresh = threading.Condition()
        self._ended = threading.Event()
        self._last: np.ndarray | None = None
        self._same = 1  # frames like the last one, itself included
        self._seen_at = time.monotonic()
        self._open = feed_of(text)
        try:
            self._feed: Feed | None = self._open()
        except OSError as error:
            raise AnomalystError(
                f"{self.label}: {error}; check its number or address, and that no other program "
                "uses it."
            ) from error
        self._thread = threading.Thread(target=self._read, name=self.label, daemon=True)
        self._thread.start()

    def new(self) -> Iterator[Taken]:
        """The newest frame, or all where each is a part; waits a little for one."""
        with self._fresh:
            if not self._frames:
                self._fresh.wait(0.5)
            frames, self._frames = list(self._frames), deque()
        for one in frames:
            name = _name(one)
            encoded = cv2.imencode(".png", one.picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
            opens = partial(io.BytesIO, encoded.tobytes())
            yield Taken(name=name, mark=name, open=opens, came_at=one.came_at)

    def close(self) -> None:
        """Let go of the camera."""
        self._ended.set()
        self._thread.join(8)

    def _read(self) -> None:
        tries = 0
        while not self._ended.is_set():
            try:
                if self._feed is None:
                    self._feed = self._open()
                    log.info("%s is open again", self.label)
                frame = self._feed.read()
            except (OSError, AnomalystError, cv2.error) as error:
                tries += 1
                self._lose(str(error), tries)
                self._ended.wait(pause_after(tries, FIRST_PAUSE, LONGEST_PAUSE))
                continue
            if frame is None:
                self._miss("it gives no frame")
                continue
            tries = 0
            self._see(frame)
        if self._feed is not None:
            self._feed.close()

    def _lose(self, why: str, tries: int) -> None:
        if self._feed is not None:
            self._feed.close()
        self._feed = None
        if tries == 1:
            log.warning("%s: %s; it is opened again", self.label, why)
        self._miss(why)

    def _miss(self, why: str) -> None:
        """No frame has come; for how long it may not is the rule's."""
        silent, most = time.monotonic() - self._seen_at, self.rule.silent_seconds
        if most and silent > most and self.blind is None:
            self._turn(f"no picture for {silent:.0f} s: {why}")

    def _see(self, frame: np.ndarray) -> None:
        self._seen_at = now = time.monotonic()
        self._same = self._same + 1 if self._is_last(frame) else 1
        self._last = frame
        if self.rule.frozen_frames and self._same >= self.rule.frozen_frames:
            if self.blind is None:
                self._turn(f"the same picture {self._same} times, byte for byte: it is frozen")
            return  # what it shows is not what lies before it
        if self.blind is not None:
            self._turn(None)
        one = _Frame(frame, now, datetime.now().astimezone())
        with self._fresh:
            lost = None
            if self._frames and not self.rule.each:
                self._frames.clear()
                self.dropped += 1
            elif len(self._frames) >= MOST_WAITING:
                lost = self._frames.popleft()
                self.dropped += 1
            self._frames.append(one)
            self._fresh.notify()
        if lost is not None:
            self.on_lost(_name(lost), lost.came_at)

    def _is_last(self, frame: np.ndarray) -> bool:
        last = self._last
        if last is None or last.shape != frame.shape:
            return False
        return np.array_equal(last[::SAMPLE], frame[::SAMPLE]) and np.array_equal(last, frame)

    def _turn(self, blind: str | None) -> None:
        self.blind = blind
        lost: list[_Frame] = []
        if blind is not None:
            with self._fresh:
                lost = list(self._frames) if self.rule.each else []
                self._frames.clear()
        self.dropped += len(lost)
        for one in lost:
            self.on_lost(_name(one), one.came_at)
        try:
            self.on_blind(blind)
        except Exception:
            log.exception("whoever is told of a blind camera failed")


def _name(one: _Frame) -> str:
    return f"frame-{one.when:%Y%m%d-%H%M%S-%f}.png"
