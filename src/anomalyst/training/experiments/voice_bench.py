"""How well spoken questions are heard, in how much noise, and whether they are answered alike."""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from anomalyst.errors import AnomalystError
from anomalyst.inspector import Inspector
from anomalyst.io.files import write_text
from anomalyst.senses.audio import RATE_HZ
from anomalyst.training.data.speech_cache import Utterance, speech
from anomalyst.training.data.spoken_questions import drawn_voice
from anomalyst.types import Dialogue, Inspection
from anomalyst.voice.convolutional import CONFIG, ConvolutionalRecogniser, collapsed
from anomalyst.voice.factory_noise import RATIOS_DB, drawn_noise, with_noise
from anomalyst.voice.sound import Sound, read_sound
from anomalyst.voice.speaking import spoken
from anomalyst.voice.transcriber import Transcriber
from anomalyst.voice.words import spoken_words, word_errors

Hear = Callable[[Sound], tuple[str, bool]]  # -> the text, and whether it is believed
CLEAN = "clean"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardRow:
    """One model in one noise."""

    model: str
    noise: str  # "clean", or decibels of speech above noise
    questions: int
    word_error_rate: float  # of all questions, believed or not
    whole: float  # share of questions in which every word is right
    asked_again: float  # share that the model does not believe itself
    wrong_believed: float  # share of those it believes that have a wrong word


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenAnswers:
    """Spoken questions beside the same ones typed, about real inspections."""

    questions: int
    same: float  # share with the same words as the typed question's answer
    same_if_heard_right: float  # the same for a transcript without a wrong word
    asked_again: float
    seconds_to_transcript: float  # median, from a WAV file
    seconds_to_answer: float  # median, from a WAV file
    slowest_seconds: float


@dataclass(slots=True)
class VoiceBench:
    """All that was measured."""

    heard: list[HeardRow] = field(default_factory=list)
    answers: SpokenAnswers | None = None


def bench_voice(
    models: Sequence[Path],
    out: Path,
    *,
    questions: Sequence[str] = (),
    count: int = 200,
    asked: int = 60,
    seed: int = 7,
    pictures: tuple[Sequence[Path], Sequence[Path]] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> VoiceBench:
    """Word errors of each model by noise; answers and seconds of the first.

    Held-out voices speak `count` held-out questions of our grammar, or each of `questions` once.
    `pictures`: good ones and ones to inspect, about which `asked` questions are answered. What is
    spoken stays in `out/spoken`, and the figures are out/voice.json. Raises AnomalystError where
    espeak-ng is not installed.
    """
    said = asked_aloud(questions, seed) if questions else speech(
        out / "spoken", count, seed, held_out=True
    )  # fmt: skip
    found = VoiceBench()
    for model in models:
        hear = recogniser(model)
        for ratio in (None, *RATIOS_DB):
            found.heard.append(heard_row(model.name, hear, said, ratio, seed))
            say(_line(found.heard[-1]))
    if pictures is not None:
        found.answers = bench_answers(Transcriber.load(models[0]), said[:asked], *pictures)
    write_text(out / "voice.json", json.dumps(asdict(found), indent=2) + "\n")
    return found


def asked_aloud(questions: Sequence[str], seed: int) -> list[Utterance]:
    """Each question spoken once, by one of the voices that nothing was trained on."""
    said = []
    for number, text in enumerate(questions):
        voice = drawn_voice(np.random.default_rng((seed, 3, number)), held_out=True)
        said.append(Utterance(text, voice.voice, spoken(text, voice)))
    return said


def recogniser(folder: Path) -> Hear:
    """What hears with a folder: a Whisper model's, or a run's convolutions."""
    if (folder / CONFIG).is_file():
        from transformers import AutoTokenizer

        model = ConvolutionalRecogniser.load(folder)
        return _by_convolutions(model, AutoTokenizer.from_pretrained(folder))
    transcriber = Transcriber.load(folder)

    def hear(sound: Sound) -> tuple[str, bool]:
        found = transcriber.transcribe(sound)
        return found.text, found.understood

    return hear


def _by_convolutions(model: ConvolutionalRecogniser, tokenizer: Any) -> Hear:
    @torch.inference_mode()
    def hear(sound: Sound) -> tuple[str, bool]:
        tokens = model(torch.from_numpy(sound.wave)[None])[0].argmax(1).tolist()
        return tokenizer.decode(collapsed(tokens), skip_special_tokens=True).strip(), True

    return hear


def heard_row(
    name: str, hear: Hear, said: Sequence[Utterance], ratio_db: int | None, seed: int
) -> HeardRow:
    """A model's figures at one ratio of speech to noise; None: clean."""
    errors = words = whole = again = wrong = 0
    voices = [one.wave for one in said[:64]]
    for number, one in enumerate(said):
        text, believed = hear(
            in_noise(one, ratio_db, np.random.default_rng((seed, number)), voices)
        )
        right = spoken_words(one.text)
        missed = word_errors(right, spoken_words(text))
        errors, words = errors + missed, words + len(right)
        whole, again = whole + (missed == 0), again + (not believed)
        wrong += believed and missed > 0
    return HeardRow(
        model=name,
        noise=CLEAN if ratio_db is None else f"{ratio_db} dB",
        questions=len(said),
        word_error_rate=round(errors / words, 4),
        whole=round(whole / len(said), 4),
        asked_again=round(again / len(said), 4),
        wrong_believed=round(wrong / max(1, len(said) - again), 4),
    )


def in_noise(
    one: Utterance, ratio_db: int | None, rng: np.random.Generator, voices: Sequence[np.ndarray]
) -> Sound:
    """An utterance at half of full scale, a tenth of a second around it, in drawn noise."""
    wave = np.pad(one.wave.astype(np.float32) / 32768, RATE_HZ // 10)
    if ratio_db is not None:
        wave = with_noise(wave, drawn_noise(len(wave), rng, voices), ratio_db)
    return Sound(wave=(0.5 * wave / np.abs(wave).max()).astype(np.float32))


def bench_answers(
    transcriber: Transcriber,
    said: Sequence[Utterance],
    good: Sequence[Path],
    pictures: Sequence[Path],
) -> SpokenAnswers:
    """Spoken questions, clean, asked in turn about pictures; and the same ones typed."""
    inspector = Inspector.load()
    product = inspector.teach("bench", good)
    found = [inspector.inspect(path, product) for path in pictures]
    inspector.ask("Is there a defect?", Dialogue(found[0]))  # reads the model
    same, same_right, right, again = 0, 0, 0, 0
    heard_s, answered_s = [], []
    with TemporaryDirectory() as folder:
        for number, one in enumerate(said):
            about = found[number % len(found)]
            path = Path(folder) / "question.wav"
            _write_wav(path, one.wave)
            started = time.perf_counter()
            transcript = transcriber.transcribe(read_sound(path))
            heard_s.append(time.perf_counter() - started)
            if not transcript.understood:
                again += 1
                continue
            answer = _answer(inspector, transcript.text, about)
            answered_s.append(time.perf_counter() - started)
            alike = answer == _answer(inspector, one.text, about)
            whole = spoken_words(one.text) == spoken_words(transcript.text)
            same, right, same_right = same + alike, right + whole, same_right + (alike and whole)
    if not answered_s:
        raise AnomalystError(
            f"the voice model believed none of {len(said)} questions; train it on."
        )
    return SpokenAnswers(
        questions=len(said),
        same=round(same / len(said), 4),
        same_if_heard_right=round(same_right / max(1, right), 4),
        asked_again=round(again / len(said), 4),
        seconds_to_transcript=round(statistics.median(heard_s), 3),
        seconds_to_answer=round(statistics.median(answered_s), 3),
        slowest_seconds=round(max(answered_s), 3),
    )


def _answer(inspector: Inspector, question: str, about: Inspection) -> str:
    return inspector.ask(question, Dialogue(about)).text


def _write_wav(path: Path, wave: np.ndarray) -> None:
    from scipy.io import wavfile

    wavfile.write(path, RATE_HZ, np.asarray(wave))


def _line(row: HeardRow) -> str:
    return (
        f"{row.model}, {row.noise}: {row.word_error_rate:.1%} word errors, {row.whole:.1%} of "
        f"{row.questions} questions whole, {row.asked_again:.1%} asked again"
    )
