"""Drawn parts as the files that their sensors would leave, to teach and inspect with."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.io.files import write_text
from anomalyst.io.pictures import encoded
from anomalyst.synthetic.senses import sound, vibration
from anomalyst.synthetic.senses.part import SensedPart, SensesConfig, sensed_product

SUFFIXES = {"image": ".png", "depth": ".npy", "thermal": ".npy", "audio": ".wav", "series": ".csv"}
TRUTH = "truth.json"


def write_product(
    out: Path,
    *,
    seed: int,
    good: int,
    new: int,
    config: SensesConfig | None = None,
    on_part: Callable[[], None] = lambda: None,
) -> None:
    """One product: OUT/good/SENSE/ and OUT/new/SENSE/, a third of the new parts sound.

    Files of one part have one name; OUT/truth.json says what is true of the new ones, and depth is
    in mm, heat in degrees Celsius. Raises AnomalystError where OUT holds something already.
    """
    if out.exists() and any(out.iterdir()):
        raise AnomalystError(f"{out}: is not empty; give a new folder.")
    sound_new = -(-new // 3)
    fine, faulty = sensed_product(seed, config, good=good + sound_new, faulty=new - sound_new)
    for number, part in enumerate(fine[:good]):
        write_part(out / "good", f"p{number:02d}", part)
        on_part()
    truth = {}
    for number, part in enumerate(_mixed([*fine[good:], *faulty], seed)):
        name = f"n{number:02d}"
        write_part(out / "new", name, part)
        truth[name] = _told(part)
        on_part()
    write_text(out / TRUTH, json.dumps(truth, indent=2) + "\n")


def write_part(folder: Path, name: str, part: SensedPart) -> dict[str, Path]:
    """The files of a part, FOLDER/SENSE/NAME.*: sense -> file."""
    import pandas
    import soundfile

    files = {sense: folder / sense / f"{name}{suffix}" for sense, suffix in SUFFIXES.items()}
    for file in files.values():
        file.parent.mkdir(parents=True, exist_ok=True)
    files["image"].write_bytes(encoded(part.picture, ".png"))
    np.save(files["depth"], part.depth_mm)
    np.save(files["thermal"], part.heat_c)
    soundfile.write(files["audio"], part.sound, sound.RATE_HZ)
    table = pandas.DataFrame(part.imu, columns=list(vibration.CHANNELS))
    table.insert(0, "time", np.arange(len(table)) / vibration.RATE_HZ)
    table.to_csv(files["series"], index=False, float_format="%.6g")
    return files


def _mixed(parts: Sequence[SensedPart], seed: int) -> list[SensedPart]:
    """Sound and faulty ones in an order that tells nothing."""
    order = np.random.default_rng((seed, 1)).permutation(len(parts))
    return [parts[int(i)] for i in order]


def _told(part: SensedPart) -> dict[str, Any]:
    truth = part.truth
    return {
        "condition": truth.condition,
        "kind": truth.kind,
        "severity": round(truth.severity, 3),
        "sentence": part.sentences[0],
    }
