"""Text -> speech by the program espeak-ng, where it is installed."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.io import wavfile
from scipy.signal import resample_poly

from anomalyst.errors import AnomalystError
from anomalyst.io.files import written_whole
from anomalyst.senses.audio import RATE_HZ

PROGRAM = "espeak-ng"
_BOX = re.compile(r" ?\(box [^)]*\)")  # pixels are for the eye
_STRESS = re.compile(r"[',%=|;:-]|\(.*?\)")  # and length and language marks
_HEADER = 44  # bytes of its WAV header, whose lengths are wrong when it writes to a pipe
_UP, _DOWN = 320, 441  # from its 22,050 samples a second to 16,000


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakingConfig:
    """How espeak-ng speaks."""

    voice: str = "en-gb"  # a language, and a variant after a plus: "en-us+f2"
    words_a_minute: int = 160
    pitch: int = 50  # 0 to 99

    def __post_init__(self) -> None:
        if not 80 <= self.words_a_minute <= 450:
            raise AnomalystError(
                f"words_a_minute is {self.words_a_minute}; espeak-ng speaks 80 to 450."
            )
        if not 0 <= self.pitch <= 99:
            raise AnomalystError(f"pitch is {self.pitch}; 0 to 99 is needed.")


def check_can_speak() -> str:
    """Where espeak-ng lies. Raises AnomalystError where it is not installed."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise AnomalystError(
            f"speaking needs the program {PROGRAM}, which is not installed; install it "
            f"(`apt install {PROGRAM}`), or read the answer."
        )
    return program


def spoken(text: str, config: SpeakingConfig | None = None) -> np.ndarray:
    """The sound of a text: int16 (S,) at 16 kHz.

    Raises AnomalystError where espeak-ng is not installed or says nothing.
    """
    config = config or SpeakingConfig()
    program = check_can_speak()
    speed, pitch = str(config.words_a_minute), str(config.pitch)
    command = [program, "-v", config.voice, "-s", speed, "-p", pitch, "-z", "--stdin", "--stdout"]
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=False)
    samples = np.frombuffer(done.stdout[_HEADER:][: len(done.stdout[_HEADER:]) // 2 * 2], np.int16)
    if done.returncode or not len(samples):
        why = done.stderr.decode(errors="replace").strip().splitlines()
        raise AnomalystError(
            f"{PROGRAM} with voice {config.voice!r} said nothing of {text[:40]!r} "
            f"({why[0] if why else 'no sound came'}); `{PROGRAM} --voices=en` lists its voices."
        )
    found = resample_poly(samples.astype(np.float32), _UP, _DOWN)
    return np.clip(np.rint(found), -32768, 32767).astype(np.int16)


def phonemes(text: str, voice: str) -> tuple[str, ...]:
    """The sounds that a voice of espeak-ng makes of a text, by its own names, without stress.

    Raises AnomalystError where espeak-ng is not installed.
    """
    command = [check_can_speak(), "-v", voice, "-q", "-x", "--sep=_", "--stdin"]
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=False)
    found = (
        _STRESS.sub("", one) for one in re.split(r"[\s_]+", done.stdout.decode(errors="replace"))
    )
    return tuple(one for one in found if one)


def write_spoken(path: Path, texts: Sequence[str], config: SpeakingConfig | None = None) -> None:
    """Texts one after the other as a WAV file, without the pixels of boxes."""
    pause = np.zeros(RATE_HZ // 2, np.int16)
    waves = [wave for text in texts for wave in (spoken(_BOX.sub("", text), config), pause)]
    with written_whole(path) as part:
        wavfile.write(part, RATE_HZ, np.concatenate(waves[:-1] or [pause]))
