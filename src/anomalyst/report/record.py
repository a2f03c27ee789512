"""One inspection on disk: NAME.png, the overlay, and NAME.json, everything but the map."""

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from anomalyst.files import write_bytes, write_text
from anomalyst.report.overlay import overlay
from anomalyst.types import Inspection


class Records:
    """Writes records into a folder under names that never collide."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._taken: set[str] = set()

    def add(self, inspection: Inspection, picture: np.ndarray) -> Path:
        """Write both files; returns the overlay's path. Never overwrites an inspected picture."""
        name = self._free_name(inspection.image)
        encoded = cv2.imencode(".png", overlay(picture, inspection)[..., ::-1])[1]
        target = self.folder / f"{name}.png"
        write_bytes(target, encoded.tobytes())
        record = inspection.as_dict() | {"overlay": target.name}
        write_text(self.folder / f"{name}.json", json.dumps(record, indent=2) + "\n")
        return target

    def _free_name(self, image: Path) -> str:
        """The picture's stem, made unique by its folder's name and then by a number."""
        for name in self._candidates(image):
            clashes = (self.folder / f"{name}.png").resolve() == image.resolve()
            if name not in self._taken and not clashes:
                self._taken.add(name)
                return name
        raise AssertionError("the candidates never end")

    @staticmethod
    def _candidates(image: Path) -> Iterator[str]:
        yield image.stem
        yield f"{image.parent.name}-{image.stem}"
        number = 2
        while True:
            yield f"{image.parent.name}-{image.stem}-{number}"
            number += 1
