"""The space of an ImageBind in a folder of ours; each tower is read when its sense first comes."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anomalyst.backbones.imagebind.config import GridConfig, TextConfig
from anomalyst.backbones.imagebind.loading import load, read_config
from anomalyst.backbones.imagebind.model import ImageBind
from anomalyst.backbones.spaces.base import (
    field_of,
    folder_fingerprint,
    middle_of,
    refuse_sense,
    series_of,
)
from anomalyst.errors import AnomalystError, PictureError
from anomalyst.io.pictures import open_picture
from anomalyst.senses.audio import read_audio
from anomalyst.senses.imagebind_inputs import (
    clip_tokenizer,
    field_input,
    film_input,
    imu_input,
    picture_input,
    sound_input,
    text_input,
)
from anomalyst.senses.space import Embedded, SensedFile
from anomalyst.senses.video import read_film

TOWER_OF = {"image": "image", "video": "image", "depth": "depth", "thermal": "thermal",
            "audio": "audio", "series": "imu"}  # fmt: skip


class ImageBindSpace:
    """Every sense that the model has a tower for."""

    across = ""

    def __init__(self, folder: str):
        """Raises AnomalystError for a folder without an ImageBind of ours."""
        self.folder, self.name = Path(folder), f"imagebind:{folder}"
        self.config = read_config(self.folder)
        known = self.config.modalities
        self.senses = tuple(sense for sense, tower in TOWER_OF.items() if tower in known)
        self.fingerprint = folder_fingerprint(self.folder)
        self._models: dict[str, ImageBind] = {}

    def of_text(self, text: str) -> Embedded:
        """Where a sentence lies. Raises AnomalystError without a tokenizer in the folder."""
        tower = self.config.tower("text")
        assert isinstance(tower, TextConfig)
        prepared = text_input([text], self._tokenizer(), tokens=tower.tokens)
        return Embedded(self._vector("text", prepared.values), prepared.notes)

    def of_file(self, file: SensedFile) -> Embedded:
        """Where a file lies. Raises PictureError for one that cannot be used."""
        refuse_sense(self, file.sense)
        modality = TOWER_OF[file.sense]
        try:
            values, notes = self._prepared(file)
        except PictureError:
            raise
        except AnomalystError as error:
            raise PictureError(file.path, str(error)) from error
        return Embedded(self._vector(modality, values), notes)

    def _prepared(self, file: SensedFile) -> tuple[Tensor, tuple[str, ...]]:
        """A file as its tower takes it, a batch of one, and what was changed."""
        tower: Any = self.config.tower(TOWER_OF[file.sense])
        if file.sense == "video":
            one = film_input(read_film(file.path), side_px=tower.size_hw[0])
            return one.values[None], one.notes
        if file.sense == "image":
            one = picture_input(open_picture(file.path), side_px=tower.size_hw[0])
            return one.values[None], one.notes
        if file.sense == "audio":
            sound = read_audio(file.path)
            assert isinstance(tower, GridConfig)
            one = sound_input(sound, bands=tower.size_hw[0], frames=tower.size_hw[1])
            return one.values[None], (*sound.notes, *one.notes)
        if file.sense == "series":
            recording = series_of(file)
            one = imu_input(recording, steps=tower.steps)
            return one.values[None], (*recording.notes, *one.notes)
        values, holes, notes = field_of(file)
        one = field_input(_in_own_range(values, holes), side_px=tower.size_hw[0])
        return one.values[None], (*notes, *one.notes)

    @torch.no_grad()
    def _vector(self, modality: str, values: Tensor) -> np.ndarray:
        if modality not in self._models:
            self._models[modality] = load(self.folder, modality)
        return middle_of(self._models[modality].embed(modality, values))

    def _tokenizer(self) -> Any:
        return clip_tokenizer(self.folder)


def _in_own_range(values: np.ndarray, holes: np.ndarray) -> np.ndarray:
    """A field in [0, 1] by its own quantiles: query and hits may be of different products."""
    low, high = np.quantile(values[~holes], (0.001, 0.999))
    scaled: np.ndarray = np.clip((values - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)
    return scaled
