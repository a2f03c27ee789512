"""One inspection on disk: NAME.png, the overlay, and NAME.json, everything but the map."""

import json
from collections.abc import Iterable, Iterator
from itertools import chain, count
from pathlib import Path

import cv2
import numpy as np

from anomalyst.inspection.panoptic import Panoptic
from anomalyst.io.files import write_bytes, write_text
from anomalyst.report.overlay import overlay
from anomalyst.report.panoptic import panoptic_picture, panoptic_png, panoptic_record
from anomalyst.types import Inspection


class Records:
    """Writes records into a folder under names that never collide.

    Records of an earlier run are replaced. Any other picture or JSON file that is there is not
    (annotations often lie beside their pictures), nor are pictures named in `keep`.
    """

    def __init__(self, folder: Path, *, keep: Iterable[Path] = ()):
        self.folder = folder
        self._keep = {path.resolve() for path in keep}
        # In lower case: some file systems hold A.png and a.png for the same file.
        self._taken: set[str] = set()

    def add(
        self, inspection: Inspection, picture: np.ndarray, labelled: Panoptic | None = None
    ) -> Path:
        """Write both files; returns the overlay's path. Raises AnomalystError if it cannot.

        `labelled`: NAME.panoptic.png and NAME.panoptic.json as COCO's, and NAME.parts.png to look
        at, are written as well.
        """
        name = self._free_name(inspection.image)
        encoded = cv2.imencode(".png", overlay(picture, inspection)[..., ::-1])[1]
        target = self.folder / f"{name}.png"
        write_bytes(target, encoded.tobytes())
        record = inspection.as_dict() | {"overlay": target.name}
        write_text(self.folder / f"{name}.json", json.dumps(record, indent=2) + "\n")
        if labelled is not None:
            self._label(name, picture, labelled)
        return target

    def _label(self, name: str, picture: np.ndarray, labelled: Panoptic) -> None:
        shown = panoptic_picture(picture, labelled)[..., ::-1]
        write_bytes(self.folder / f"{name}.parts.png", cv2.imencode(".png", shown)[1].tobytes())
        write_bytes(self.folder / f"{name}.panoptic.png", panoptic_png(labelled))
        record = {"file_name": f"{name}.panoptic.png", **panoptic_record(labelled)}
        write_text(self.folder / f"{name}.panoptic.json", json.dumps(record, indent=2) + "\n")

    def _free_name(self, image: Path) -> str:
        """The picture's stem, made unique by its folder's name and then by a number."""
        for name in self._candidates(image):
            if name.lower() not in self._taken and not self._holds_other_work(name, image):
                self._taken.add(name.lower())
                return name
        raise AssertionError("the candidates never end")

    def _holds_other_work(self, name: str, image: Path) -> bool:
        """Whether files of this name are pictures to keep, or no record of ours."""
        target, note = self.folder / f"{name}.png", self.folder / f"{name}.json"
        if target.resolve() == image.resolve() or target.resolve() in self._keep:
            return True
        return (target.exists() or note.exists()) and not _is_record(note)

    @staticmethod
    def _candidates(image: Path) -> Iterator[str]:
        # Resolved: `photo.png` and `./photo.png` have a folder with a name, too.
        stem = f"{image.resolve().parent.name}-{image.stem}".lstrip("-")
        return chain((image.stem, stem), (f"{stem}-{number}" for number in count(2)))


def _is_record(path: Path) -> bool:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(held, dict) and {"verdict", "overlay"} <= held.keys()
