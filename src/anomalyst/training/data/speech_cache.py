"""Spoken questions on disk: said once, in lots, so that a run that goes on says nothing again."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.io.files import write_text, written_whole
from anomalyst.training.data.spoken_questions import (
    drawn_question,
    drawn_voice,
    grammar_question,
)
from anomalyst.training.task import Share, prefetched
from anomalyst.voice.speaking import phonemes, spoken

LOT = 250  # utterances that are said and written together
FOLDER = "spoken"  # in the run's folder
HELD_OUT_SEED = 1 << 40


@dataclass(frozen=True, slots=True)
class Utterance:
    """One question as somebody says it."""

    text: str
    voice: str
    wave: np.ndarray  # int16 (S,) at 16 kHz
    phonemes: tuple[str, ...] = ()  # that it is made of, where they are told


def speech(
    folder: Path, count: int, seed: int, *, workers: int = 1, held_out: bool = False
) -> list[Utterance]:
    """`count` drawn utterances of `folder`; what it lacks is spoken first.

    Raises AnomalystError where something must be spoken and espeak-ng is not installed.
    """
    lots = range(-(-count // LOT))
    missing = [lot for lot in lots if not _index(folder, lot).is_file()]
    make = partial(_say_lot, partial(_said, seed, held_out), folder, count, missing)
    for _ in prefetched(make, range(len(missing)), Share(), workers):
        pass
    return [one for lot in lots for one in read_lot(folder, lot)][:count]


def write_lot(folder: Path, lot: int, said: Sequence[Utterance]) -> None:
    """Utterances as a lot of a folder; the index, written last, says that it is whole."""
    with written_whole(_waves(folder, lot)) as part:
        np.save(part, np.concatenate([one.wave for one in said]))
    rows = [
        {
            "text": one.text,
            "voice": one.voice,
            "samples": len(one.wave),
            "phonemes": " ".join(one.phonemes),
        }
        for one in said
    ]
    write_text(_index(folder, lot), json.dumps(rows, indent=0) + "\n")


def read_lot(folder: Path, lot: int) -> list[Utterance]:
    """The utterances of a lot; their waves stay on disk until they are used."""
    rows = json.loads(_index(folder, lot).read_text(encoding="utf-8"))
    waves = np.load(_waves(folder, lot), mmap_mode="r")
    ends = np.cumsum([row["samples"] for row in rows])
    if len(waves) != ends[-1]:
        raise AnomalystError(
            f"{_waves(folder, lot)}: has {len(waves)} samples, its index tells of {ends[-1]}; "
            "delete both files, and they are spoken again."
        )
    return [
        Utterance(
            row["text"],
            row["voice"],
            waves[end - row["samples"] : end],
            tuple(row["phonemes"].split()),
        )
        for row, end in zip(rows, ends, strict=True)
    ]


def _said(seed: int, held_out: bool, number: int) -> Utterance:
    rng = np.random.default_rng((seed + HELD_OUT_SEED * held_out, number))
    text = grammar_question(rng) if held_out else drawn_question(rng, held_out=False)
    voice = drawn_voice(rng, held_out=held_out)
    return Utterance(text, voice.voice, spoken(text, voice), phonemes(text, voice.voice))


def _say_lot(
    say: Callable[[int], Utterance],
    folder: Path,
    count: int,
    missing: Sequence[int],
    step: int,
    part: int,
) -> int:
    del part
    lot = missing[step]
    write_lot(folder, lot, [say(i) for i in range(lot * LOT, min((lot + 1) * LOT, count))])
    return lot


def _waves(folder: Path, lot: int) -> Path:
    return folder / f"lot-{lot:05d}.npy"


def _index(folder: Path, lot: int) -> Path:
    return folder / f"lot-{lot:05d}.json"
