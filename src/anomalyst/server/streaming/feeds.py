"""What gives frames: cameras and streams through OpenCV, GenICam cameras through harvesters.

A frame is uint8 or uint16, grey (H, W) or BGR (H, W, 3), as OpenCV has colours.
"""

import contextlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.io.deep_pictures import MOSAICS
from anomalyst.server.streaming.addresses import without_password

WAIT_MS = 5000  # for a stream to open, or to give its next frame
FETCH_SECONDS = 0.5  # for the next frame of a GenICam camera; a triggered one may give none
GENTL_PATH = "GENICAM_GENTL64_PATH"  # where the GenTL standard says that producers lie
# The first two rows of a mosaic, as GenICam's names (PFNC) say them.
PFNC_MOSAICS = {"RG": "rggb", "GR": "grbg", "GB": "gbrg", "BG": "bggr"}
READ = "Mono8 to Mono16, BayerRG8 to BayerBG16, RGB8, BGR8"


class Feed(Protocol):
    """An open camera."""

    def read(self) -> np.ndarray | None:
        """The next frame; None if none has come for a while. Raises OSError if it is lost."""

    def close(self) -> None:
        """Let go of it."""


class OpenCvFeed:
    """A camera by its number, a stream by its address, a film."""

    def __init__(self, place: int | str):
        if isinstance(place, int):
            self._capture = cv2.VideoCapture(place)
        else:
            limits = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC)
            given = [value for limit in limits for value in (limit, WAIT_MS)]
            self._capture = cv2.VideoCapture(place, cv2.CAP_ANY, given)
        if not self._capture.isOpened():
            raise OSError("cannot be opened")

    def read(self) -> np.ndarray | None:
        """The next frame."""
        good, frame = self._capture.read()
        if not good:
            raise OSError("gives no frame")
        return frame

    def close(self) -> None:
        """Let go of it."""
        self._capture.release()


class GenicamFeed:
    """A camera by GenTL, as of GigE Vision and USB3 Vision: through a maker's producer (.cti)."""

    def __init__(self, wanted: str, producers: Sequence[Path]):
        from harvesters.core import Harvester

        self._harvester = Harvester()
        self._camera: Any = None
        try:
            for producer in producers:
                self._harvester.add_file(str(producer))
            self._harvester.update()
            self._camera = self._harvester.create(self._number(wanted))
            self._camera.start()
        except (AnomalystError, OSError):
            self.close()
            raise
        except Exception as error:  # harvesters' and genicam's errors have no common root
            self.close()
            raise OSError(f"cannot be opened ({error or type(error).__name__})") from error

    def read(self) -> np.ndarray | None:
        """The next frame, copied out of the driver's buffer."""
        from genicam.gentl import TimeoutException

        try:
            with self._camera.fetch(timeout=FETCH_SECONDS) as buffer:
                part = buffer.payload.components[0]
                return frame_of(part.data, part.data_format, (int(part.height), int(part.width)))
        except TimeoutException:
            return None
        except (AnomalystError, OSError):
            raise
        except Exception as error:
            raise OSError(f"gives no frame ({error or type(error).__name__})") from error

    def close(self) -> None:
        """Let go of camera and producers."""
        with contextlib.suppress(Exception):  # a camera that is gone cannot be stopped
            if self._camera is not None:
                self._camera.stop()
                self._camera.destroy()
        with contextlib.suppress(Exception):
            self._harvester.reset()

    def _number(self, wanted: str) -> int:
        found = self._harvester.device_info_list
        names = [[str(_told(one, name)) for name in ("id_", "serial_number")] for one in found]
        if wanted.isdigit() and int(wanted) < len(found):
            return int(wanted)
        number = next((n for n, known in enumerate(names) if wanted in known), None)
        if number is None:
            there = ", ".join(known[0] for known in names) or "none"
            raise OSError(f"is none of the GenICam cameras that are there: {there}")
        return number


def frame_of(data: np.ndarray, kind: str, size_hw: tuple[int, int]) -> np.ndarray:
    """A frame from a camera's buffer, by GenICam's name of its pixels.

    Raises AnomalystError for packed and other kinds that are not read.
    """
    high, wide = size_hw
    if re.fullmatch(r"Mono(8|10|12|14|16)", kind):
        return data.reshape(high, wide).copy()
    if found := re.fullmatch(r"Bayer(RG|GR|GB|BG)(8|10|12|16)", kind):
        rgb = cv2.cvtColor(data.reshape(high, wide), MOSAICS[PFNC_MOSAICS[found[1]]])
        return cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    if found := re.fullmatch(r"(RGB|BGR)(a?)(8|10|12|16)", kind):
        colours = data.reshape(high, wide, 4 if found[2] else 3)[..., :3]
        return np.ascontiguousarray(colours if found[1] == "BGR" else colours[..., ::-1])
    raise AnomalystError(f"the camera's PixelFormat is {kind}, which is not read; set {READ}.")


def feed_of(text: str) -> Callable[[], Feed]:
    """What opens a camera: 0, usb:0, rtsp://..., a film, genicam:ID. Raises AnomalystError.

    What it gives raises OSError while the camera cannot be opened.
    """
    kind, _, rest = text.partition(":")
    if kind == "genicam":
        return _genicam(rest)
    if kind == "usb" or text.isdigit():
        number = rest if kind == "usb" else text
        if not number.isdigit():
            raise AnomalystError(f"{text}: usb: and a camera's number is needed, as usb:0.")
        return lambda: OpenCvFeed(int(number))
    return lambda: OpenCvFeed(text)


def is_camera(text: str) -> bool:
    """Whether a source is a camera, stream or film."""
    return (
        text.isdigit()
        or text.partition(":")[0] in ("usb", "genicam")
        or "://" in text
        or Path(text).is_file()
    )


def shown_camera(text: str) -> str:
    """As a camera may be called."""
    return f"camera {without_password(text)}"


def _genicam(rest: str) -> Callable[[], Feed]:
    wanted, _, given = rest.partition("?cti=")
    if not wanted:
        raise AnomalystError(
            "genicam: needs a camera, as genicam:0 or genicam:SERIAL; ?cti=FILE behind it names "
            "the maker's GenTL producer."
        )
    if given:
        producers = [Path(given)]
    else:  # the standard's own variable, which makers' installers set
        folders = [Path(one) for one in os.environ.get(GENTL_PATH, "").split(os.pathsep) if one]
        producers = [path for folder in folders for path in sorted(folder.glob("*.cti"))]
    missing = [path for path in producers if not path.is_file()]
    if missing or not producers:
        named = missing[0] if missing else f"{GENTL_PATH} names no folder with a .cti file"
        raise AnomalystError(
            f"genicam:{wanted}: no GenTL producer ({named}); install the camera maker's, or name "
            f"it: genicam:{wanted}?cti=FILE."
        )
    return lambda: GenicamFeed(wanted, producers)


def _told(info: Any, name: str) -> Any:
    """A property of a device; not every producer knows every one."""
    try:
        return info.property_dict.get(name, "")
    except Exception:
        return ""
