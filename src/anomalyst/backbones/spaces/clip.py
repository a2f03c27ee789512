"""The space of a CLIP or SigLIP: pictures, films and sentences."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anomalyst.backbones.clip import ImageTextTowers
from anomalyst.backbones.spaces.base import (
    folder_fingerprint,
    middle_of,
    refuse_sense,
)
from anomalyst.io.pictures import open_picture
from anomalyst.senses.imagebind_inputs import picture_input
from anomalyst.senses.space import Embedded, SensedFile
from anomalyst.senses.video import read_film


class ClipSpace:
    """Both towers of the folder."""

    senses: tuple[str, ...] = ("image", "video")
    across = ""

    def __init__(self, folder: str):
        """Raises AnomalystError for a folder that holds no such model."""
        self.name = f"clip:{folder}"
        self.towers = ImageTextTowers(folder)
        self.fingerprint = folder_fingerprint(Path(folder))

    @torch.no_grad()
    def of_text(self, text: str) -> Embedded:
        """Where a sentence lies."""
        return Embedded(middle_of(self.towers.embed("text", self.towers.tokens([text]))))

    @torch.no_grad()
    def of_file(self, file: SensedFile) -> Embedded:
        """Where a picture lies, or a film: the mean of its frames. Raises PictureError."""
        refuse_sense(self, file.sense)
        if file.sense == "video":
            film = read_film(file.path)
            frames, notes = list(film.frames), film.notes
        else:
            frames, notes = [open_picture(file.path)], ()
        pixels = torch.stack([self._pixels(one) for one in frames])
        return Embedded(middle_of(self.towers.embed("image", pixels)), notes)

    def _pixels(self, picture: np.ndarray) -> Tensor:
        side, standard = self.towers.side_px, self.towers.standard
        return picture_input(picture, side_px=side, standard=standard).values
