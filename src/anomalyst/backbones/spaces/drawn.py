"""The shipped space: six small towers taught on drawn parts (drawn_senses.py)."""

import hashlib
from collections.abc import Callable

import numpy as np
from torch import Tensor

from anomalyst.backbones import fingerprint
from anomalyst.backbones.drawn_senses import load_drawn_senses, split_words
from anomalyst.backbones.spaces.base import (
    PREPARED,
    field_of,
    middle_of,
    refuse_sense,
    series_of,
)
from anomalyst.errors import AnomalystError, PictureError, RecordingError
from anomalyst.io.pictures import open_picture
from anomalyst.senses.audio import read_audio
from anomalyst.senses.imagebind_inputs import CLIP_SECONDS, clip_places, imu_input
from anomalyst.senses.kaldi_mel import RATE_HZ
from anomalyst.senses.space import FILE_SENSES, Embedded, SensedFile
from anomalyst.senses.video import read_film

SHORTEST = CLIP_SECONDS * RATE_HZ  # samples that the small towers hear at once
Read = tuple[Tensor, tuple[str, ...]]  # unit vectors (S, 128) of one file, and notes


class DrawnSpace:
    """Sentences, pictures, films, sounds, depth, heat and vibration in 128 numbers."""

    name = "drawn"
    across = (
        "hits by another sense than the query's: the shipped towers bind what a part is, as a "
        "picture shows it, not its condition, and of kinds of parts that were never drawn most "
        "pairs of senses are near chance; within one sense the order can be relied on more"
    )
    senses: tuple[str, ...] = FILE_SENSES

    def __init__(self) -> None:
        self.towers = load_drawn_senses()
        weights = fingerprint(self.towers.model, self.towers.trunk)
        what = f"{weights} {self.towers.words.known} prepared {PREPARED}"
        self.fingerprint = hashlib.sha256(what.encode()).hexdigest()[:16]

    def of_text(self, text: str) -> Embedded:
        """Where a sentence lies; words that no caption held are noted.

        Raises AnomalystError if no word of it is known.
        """
        words, known = dict.fromkeys(split_words(text)), set(self.towers.words.known)
        strange = [word for word in words if word not in known]
        if len(strange) == len(words):
            raise AnomalystError(
                f"--text {text!r}: the shipped towers know none of its words, only the "
                f"{len(known)} of drawn captions; use words as in 'a metal disc', "
                "or give --encoder imagebind:DIR or clip:DIR."
            )
        notes = (f"words that the shipped towers never heard: {', '.join(strange)}",)
        vector = middle_of(self.towers.embed("text", [text]))
        return Embedded(vector, notes if strange else ())

    def of_file(self, file: SensedFile) -> Embedded:
        """Where a file lies. Raises PictureError for one that cannot be used."""
        refuse_sense(self, file.sense)
        ways: dict[str, Callable[[SensedFile], Read]] = {
            "image": self._image, "video": self._film, "audio": self._sound,
            "depth": self._depth, "thermal": self._heat, "series": self._series,
        }  # fmt: skip
        vectors, notes = ways[file.sense](file)
        return Embedded(middle_of(vectors), notes)

    def _image(self, file: SensedFile) -> Read:
        return self.towers.embed("image", [open_picture(file.path)]), ()

    def _film(self, file: SensedFile) -> Read:
        film = read_film(file.path)
        return self.towers.embed("image", list(film.frames)), film.notes

    def _sound(self, file: SensedFile) -> Read:
        sound = read_audio(file.path)
        samples, notes = sound.values[:, 0], sound.notes
        if len(samples) < SHORTEST:
            notes = (*notes, f"the sound lasts {sound.seconds:.3g} s and was repeated to fill "
                             f"{CLIP_SECONDS} s")  # fmt: skip
            samples = np.resize(samples, SHORTEST)
        places = dict.fromkeys(clip_places(len(samples)))  # one, of 2 s
        return self.towers.embed("audio", [samples[a:b] for a, b in places]), notes

    def _depth(self, file: SensedFile) -> Read:
        values, holes, _ = field_of(file)
        # As drawn depth cameras give it: what they did not see is no number, and counts as ground.
        return self.towers.embed("depth", [np.where(holes, np.float32(np.nan), values)]), ()

    def _heat(self, file: SensedFile) -> Read:
        values, _, notes = field_of(file)
        return self.towers.embed("thermal", [values]), notes

    def _series(self, file: SensedFile) -> Read:
        recording = series_of(file)
        try:
            windows = imu_input(recording)
            found = self.towers.embed("imu", [one.T.numpy() for one in windows.values])
        except PictureError:
            raise
        except AnomalystError as error:
            raise RecordingError(file.path, f"the tower for series reads vibration: {error}") from (
                error
            )
        return found, (*recording.notes, *windows.notes)
