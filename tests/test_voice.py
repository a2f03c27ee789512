"""A question by voice: from a sound file to words, with the shipped weights."""

import io
import json
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration
from typer.testing import CliRunner

from anomalyst.cli.main import app
from anomalyst.errors import AnomalystError, RecordingError
from anomalyst.training.data.speech_cache import FOLDER, Utterance, write_lot
from anomalyst.training.data.spoken_questions import (
    ACCENTS,
    HELD_OUT_ACCENT,
    HELD_OUT_VARIANTS,
    drawn_question,
    drawn_voice,
    is_held_out,
)
from anomalyst.training.loop import train
from anomalyst.training.recipe import Recipe
from anomalyst.training.tasks import load_recipe
from anomalyst.training.tasks.voice import chosen_belief
from anomalyst.training.tasks.voice_networks import ctc
from anomalyst.voice import speaking
from anomalyst.voice.beams import likeliest
from anomalyst.voice.convolutional import (
    ConvolutionalConfig,
    ConvolutionalRecogniser,
    collapsed,
)
from anomalyst.voice.encoding import encoded
from anomalyst.voice.factory_noise import drawn_noise, in_a_room, speech_power, with_noise
from anomalyst.voice.log_mel import log_mel, mel_filters
from anomalyst.voice.sound import Sound, read_sound
from anomalyst.voice.speaking import SpeakingConfig, write_spoken
from anomalyst.voice.transcriber import EMBEDDED, Transcriber, Transcript
from anomalyst.voice.words import spoken_words, word_errors
from conftest import DEMO

SAID = Path(__file__).parent / "data" / "voice"
RECIPES = Path(__file__).parent.parent / "recipes"
RATE = 16_000
GOOD = DEMO / "bottle" / "good" / "000.jpg"
STAIN = DEMO / "bottle" / "test" / "discolouration-004.jpg"


def tone(seconds: float, rate: int = RATE, level: float = 0.3) -> np.ndarray:
    return level * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)


def written(path: Path, samples: np.ndarray, rate: int = RATE, **kwargs: str) -> Path:
    soundfile.write(path, samples, rate, **kwargs)
    return path


# The spectrogram


@pytest.mark.parametrize("channels", [80, 128])
def test_the_spectrogram_is_that_of_transformers(channels: int):
    reference = WhisperFeatureExtractor(feature_size=channels)
    rng = np.random.default_rng(0)
    noise = 0.1 * rng.standard_normal(3 * RATE)
    dying = tone(2) * np.exp(-np.arange(2 * RATE) / 4000)
    for wave in (noise, dying, tone(0.4, level=1e-3)):
        wave = wave.astype(np.float32)
        wanted = reference(wave, sampling_rate=RATE, return_tensors="pt").input_features
        block = np.pad(wave, (0, 30 * RATE - len(wave)))
        found = log_mel(torch.from_numpy(block)[None], channels)
        assert found.shape == wanted.shape == (1, channels, 3000)
        assert float((found - wanted).abs().max()) < 1e-5
    assert np.abs(mel_filters(channels).numpy() - reference.mel_filters).max() < 1e-6


def test_the_scale_is_slaneys_and_not_that_of_text_books():
    peaks = mel_filters().argmax(0)  # the frequency, in 40 Hz, that each channel hears best
    low = peaks[:20].float().diff()
    assert float(low.max() - low.min()) <= 1  # equal steps below 1 kHz
    assert peaks[-1] - peaks[-2] > 6 * float(low.mean())  # wide ones at the top


def test_a_row_is_floored_by_its_own_loudest_sound():
    loud, quiet = torch.randn(1, RATE), torch.randn(1, RATE) * 1e-3
    both = log_mel(torch.cat([loud, quiet]))
    assert torch.equal(both[1:], log_mel(quiet))
    assert float(both.amax((1, 2))[0] - both.amin((1, 2))[0]) <= 2.0 + 1e-6  # 8 decades / 4


# Reading sound


@pytest.mark.parametrize(
    ("rate", "channels", "subtype", "noted"),
    [
        (8_000, 1, "PCM_16", "from 8 to 16 kHz; nothing above 4 kHz"),
        (44_100, 2, "PCM_16", "2 channels were averaged to one, resampled from 44.1 to 16 kHz"),
        (48_000, 1, "PCM_24", "resampled from 48 to 16 kHz"),
        (16_000, 1, "PCM_16", ""),
    ],
)
def test_what_was_changed_is_noted(
    tmp_path: Path, rate: int, channels: int, subtype: str, noted: str
):
    samples = np.repeat(tone(1, rate)[:, None], channels, 1)
    sound = read_sound(written(tmp_path / "q.wav", samples, rate, subtype=subtype))
    assert noted in ", ".join(sound.notes) and bool(sound.notes) == bool(noted)
    assert sound.wave.dtype == np.float32 and len(sound.wave) == RATE
    spectrum = np.abs(np.fft.rfft(sound.wave))
    assert np.argmax(spectrum) == 440  # still the same tone


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
def test_containers_that_are_read(kind: str):
    data = io.BytesIO()
    soundfile.write(data, tone(1), RATE, format=kind)
    assert abs(read_sound(data.getvalue()).seconds - 1) < 0.15


def test_opus_of_a_browser_in_ogg_is_read():
    data = io.BytesIO()
    soundfile.write(data, tone(1, 48_000), 48_000, format="OGG", subtype="OPUS")
    assert read_sound(data.getvalue()).notes == ("resampled from 48 to 16 kHz",)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "mine.wav: is an empty file"),
        (b"hello, this is no sound", "mine.wav: is not a sound we can read"),
        (b"\x1a\x45\xdf\xa3" + bytes(50), "is WebM or Matroska, which is not read here; save it"),
        (bytes(4) + b"ftypM4A " + bytes(50), r"is MP4 \(M4A\)"),
        (np.zeros(RATE), "is silent"),
        (tone(0.2), "lasts 0.2 s; a question takes 0.3 s or more"),
        (tone(31), "lasts 31 s; at most 30 s are heard"),
        (np.full(RATE, np.nan), "not numbers"),
    ],
)
def test_what_is_no_question_is_refused(data: bytes | np.ndarray, sentence: str):
    if isinstance(data, np.ndarray):
        file = io.BytesIO()
        soundfile.write(file, data, RATE, format="WAV", subtype="FLOAT")
        data = file.getvalue()
    with pytest.raises(RecordingError, match=sentence):
        read_sound(data, "mine.wav")


def test_a_missing_file_is_told(tmp_path: Path):
    with pytest.raises(RecordingError, match="there is no such file"):
        read_sound(tmp_path / "none.wav")


@given(st.binary(max_size=200), st.sampled_from([b"", b"RIFF\x24\0\0\0WAVEfmt ", b"fLaC", b"OggS"]))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_read_or_refused_in_a_sentence(data: bytes, head: bytes):
    try:
        read_sound(head + data)
    except RecordingError as error:
        assert str(error).startswith("the recording: ")


# Words


def test_word_errors_are_those_of_a_brute_force():
    def brute(a: list[str], b: list[str]) -> int:
        if not a or not b:
            return len(a) + len(b)
        change = brute(a[1:], b[1:]) + (a[0] != b[0])
        return min(change, brute(a[1:], b) + 1, brute(a, b[1:]) + 1)

    rng = np.random.default_rng(1)
    for _ in range(60):
        a, b = (list(rng.choice(list("xyz"), rng.integers(6))) for _ in range(2))
        assert word_errors(a, b) == brute(a, b)


def test_words_are_compared_as_they_sound():
    assert spoken_words("Top-left, isn’t it OK?") == ["top", "left", "isn't", "it", "okay"]
    assert spoken_words("What color?") == spoken_words("what COLOUR")
    assert spoken_words("¿…?") == []


# The network


def tiny_whisper(**changes: object) -> WhisperForConditionalGeneration:
    torch.manual_seed(3)
    config = WhisperConfig(
        vocab_size=90, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, max_source_positions=50,
        max_target_positions=24, pad_token_id=0, bos_token_id=1, eos_token_id=1,
        decoder_start_token_id=2, suppress_tokens=[5, 6], begin_suppress_tokens=[7, 1], **changes,
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config).eval().requires_grad_(False)
    for weights in model.parameters():
        weights.mul_(8)  # so that it says this and that
    return model


def test_tokens_are_those_of_transformers_generate():
    model = tiny_whisper()
    transcriber = Transcriber(model, tokenizer=None)
    wave = 0.1 * np.random.default_rng(2).standard_normal(RATE // 2)
    features = transcriber.features(Sound(wave=wave.astype(np.float32)))
    assert features.shape == (1, 80, 100)  # the whole block, which any Whisper needs
    written = transcriber.written(features, 1)
    ours, logs = list(written.tokens), written.logs
    theirs = model.generate(features, max_length=24, do_sample=False)[0].tolist()
    assert ours == [token for token in theirs if token not in (1, 2)]
    assert len(set(ours)) > 3 and len(logs) >= len(ours)


def test_with_enough_beams_no_transcript_is_better():
    shares = {}  # after these tokens -> log shares of end, 1 and 2

    def log_shares(said: tuple[int, ...]) -> torch.Tensor:
        random = torch.Generator().manual_seed(hash(said) % 2**31)
        return shares.setdefault(said, torch.rand(3, generator=random).log().log_softmax(0))

    def mean_log(path: tuple[int, ...]) -> float:
        return sum(float(log_shares(path[:i])[one]) for i, one in enumerate(path)) / len(path)

    beginnings: list[tuple[int, ...]] = [()]

    def read(tokens: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        nonlocal beginnings
        if tokens.shape[1] == 1:
            new = zip(rows.tolist(), tokens[:, 0].tolist(), strict=True)
            beginnings = [(*beginnings[row], token) for row, token in new]
        return torch.stack([log_shares(one) for one in beginnings])

    found = likeliest(read, [9, 9], 0, 4, beams=81)
    ended = [(*said, 0) for n in range(4) for said in product((1, 2), repeat=n)]
    best = max(ended, key=mean_log)
    assert found.tokens == best[:-1] and found.score == pytest.approx(mean_log(best))


def test_beams_that_share_what_was_computed_write_as_those_that_do_not():
    model = tiny_whisper()
    transcriber = Transcriber(model, tokenizer=None)
    features = torch.randn(1, 80, 100)
    hidden = encoded(model, features)
    beginnings: list[list[int]] = []

    def read_anew(tokens: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        nonlocal beginnings
        new = tokens.tolist()
        first = not beginnings
        beginnings = [
            (beginnings[r] if beginnings else []) + t for r, t in zip(rows, new, strict=True)
        ]
        ids = torch.tensor(beginnings)
        states = hidden.expand(len(ids), -1, -1)
        read = model.get_decoder()(input_ids=ids, encoder_hidden_states=states, use_cache=False)
        scores = model.proj_out(read.last_hidden_state[:, -1])
        scores[:, transcriber.never] = -torch.inf
        if first:
            scores[:, transcriber.not_first] = -torch.inf
        return scores.log_softmax(1)

    ours = transcriber.written(features, 4)
    theirs = likeliest(read_anew, transcriber.start, 1, 23, 4)
    assert ours.tokens == theirs.tokens and len(ours.tokens) > 1
    assert ours.score == pytest.approx(theirs.score, abs=1e-5)
    assert ours.score >= transcriber.written(features, 1).score


def test_a_model_of_many_languages_is_asked_for_english_words_without_times():
    model = tiny_whisper()
    told = model.generation_config
    told.lang_to_id, told.task_to_id = {"<|en|>": 80, "<|de|>": 81}, {"transcribe": 82}
    told.no_timestamps_token_id, told.is_multilingual = 85, True
    transcriber = Transcriber(model, tokenizer=None)
    assert transcriber.start == [2, 80, 82, 85]
    features = torch.randn(1, 80, 100)
    theirs = model.generate(features, language="en", task="transcribe", max_length=24)[0].tolist()
    ours = list(transcriber.written(features, 1).tokens)
    assert ours and ours == [token for token in theirs if token not in (1, 2, 80, 82, 85)]


def test_a_short_block_is_the_model_on_what_is_there():
    whole, short = tiny_whisper(), tiny_whisper(short_blocks=True)
    sound = Sound(wave=0.1 * np.ones(RATE - 1, np.float32))
    assert torch.equal(Transcriber(whole, None).features(sound), Transcriber(short, None).features(
        sound
    ))  # fmt: skip
    with pytest.raises(AnomalystError, match="this voice model hears 1 s at once"):
        Transcriber(short, None).features(Sound(wave=np.ones(RATE + 1, np.float32)))


def test_a_folder_that_is_no_voice_model_is_refused(tmp_path: Path):
    with pytest.raises(AnomalystError, match="config.json is missing"):
        Transcriber.load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(AnomalystError, match="is a 'bert' model"):
        Transcriber.load(tmp_path)
    shutil.copytree(EMBEDDED, tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(AnomalystError, match="cannot be read"):
        Transcriber.load(tmp_path / "cut")


def test_convolutions_see_a_limited_context():
    torch.manual_seed(0)
    model = ConvolutionalRecogniser(ConvolutionalConfig()).eval()
    waves = torch.randn(1, RATE)
    assert model(waves).shape == (1, RATE // 320, 384)
    for block in model.modules():  # without what normalises over the whole sound
        if isinstance(block, torch.nn.GroupNorm):
            block.forward = lambda frames: frames  # type: ignore[method-assign]
    other = waves.clone()
    other[:, int(RATE * (0.5 + model.context_seconds / 2 + 0.02)) :] = 0
    assert torch.allclose(model(waves)[:, 25], model(other)[:, 25], atol=1e-5)
    assert not torch.allclose(model(waves)[:, 40], model(other)[:, 40], atol=1e-5)


def test_a_path_of_ctc_says_what_is_left_of_it():
    assert collapsed([0, 3, 3, 0, 3, 5, 5, 0]) == [3, 3, 5]
    sure = torch.full((1, 6, 8), -20.0)
    for at, token in enumerate([3, 3, 0, 3, 5, 0]):
        sure[0, at, token] = 20
    assert float(ctc(sure, torch.tensor([[3, 3, 5, 1, -100]]), end=1)) < 1e-3
    assert float(ctc(sure, torch.tensor([[3, 5, 1, -100, -100]]), end=1)) > 5


# Noise


@pytest.mark.parametrize("ratio_db", [20, 5])
def test_noise_lies_as_far_below_speech_as_asked(ratio_db: int):
    speech = soundfile.read(SAID / "how-many-defects-are-there.ogg", dtype="float32")[0]
    voices = [speech]
    for seed in range(6):
        noise = drawn_noise(len(speech), np.random.default_rng(seed), voices)
        added = with_noise(speech, noise, ratio_db) - speech
        found = 10 * np.log10(speech_power(speech) / np.square(added).mean())
        assert abs(found - ratio_db) < 0.1


def test_a_room_adds_an_echo_and_no_power():
    click = np.zeros(RATE, np.float32)
    click[1000] = 1
    wet = in_a_room(click, np.random.default_rng(0))
    assert abs(np.square(wet).sum() - 1) < 1e-3 and np.all(wet[:999] == pytest.approx(0, abs=1e-5))
    assert np.square(wet[1001:3000]).sum() > np.square(wet[9000:11000]).sum()


# What is trained on


def test_what_is_held_out_is_never_drawn_for_training():
    rng = np.random.default_rng(0)
    for _ in range(150):
        assert not is_held_out(drawn_question(rng, held_out=False))
        accent, _, variant = drawn_voice(rng, held_out=False).voice.partition("+")
        assert accent in ACCENTS and variant not in HELD_OUT_VARIANTS
        accent, _, variant = drawn_voice(rng, held_out=True).voice.partition("+")
        assert accent == HELD_OUT_ACCENT or variant in HELD_OUT_VARIANTS


def test_belief_begins_where_enough_is_right():
    confidences = [1 - i / 100 for i in range(100)]
    right = [i < 50 or i % 2 == 0 for i in range(100)]
    believed, figures = chosen_belief(confidences, right, 0.9)
    kept = [one for sure, one in zip(confidences, right, strict=True) if sure >= believed]
    # 57 of the first 63: one wrong more, and it is 57 of 64.
    assert len(kept) == 63 and sum(kept) == 57 and 57 / 64 < 0.9
    assert figures == {"believed": 0.63, "right": pytest.approx(57 / 63, abs=1e-3)}


def said_in(out: Path) -> Path:
    """The committed sounds as what a run has spoken."""
    said = []
    for path in sorted(SAID.glob("*.ogg")):
        wave, _ = soundfile.read(path, dtype="int16")
        sounds = tuple(path.stem.replace("-", ""))  # any will do
        said.append(Utterance(path.stem.replace("-", " ") + "?", "en", wave, sounds))
    write_lot(out / FOLDER, 0, said)
    return out


def tiny_recipe(network: str, count: int) -> Recipe:
    changes = [
        f"network={network}", f"utterances={count}", "steps=4", "batch=2", "workers=0",
        "checkpoint_every=2", "log_every=1", "warmup_steps=1", "model.width=32", "model.heads=2",
        "model.encoder_layers=1", "model.decoder_layers=1", "model.hidden=64",
        "convolutional.context_layers=1", "noises=3",
    ]  # fmt: skip
    return load_recipe(RECIPES / "voice.yaml", changes)


@pytest.mark.parametrize("network", ["whisper", "convolutional"])
def test_a_run_goes_on_as_if_it_had_not_stopped(
    network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def silent(*_: object) -> None:
        raise AssertionError("a run that has its sounds speaks nothing")

    monkeypatch.setattr("anomalyst.training.tasks.voice.VoiceTask.finish", lambda *_: None)
    monkeypatch.setattr("anomalyst.training.data.speech_cache.spoken", silent)
    recipe = tiny_recipe(network, len(list(SAID.glob("*.ogg"))))
    whole, parted = said_in(tmp_path / "whole"), said_in(tmp_path / "parted")
    train(recipe, whole)
    train(recipe, parted)
    shutil.rmtree(parted / "checkpoints" / "step-00000004")
    weights = train(recipe, parted)
    losses = [
        [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines()][-2:]
        for out in (whole, parted)
    ]
    assert losses[0] == losses[1]
    if network == "whisper":
        text = Transcriber.load(weights).transcribe(read_sound(SAID / "where-is-it.ogg")).text
        assert isinstance(text, str)
    else:
        assert ConvolutionalRecogniser.load(weights)(torch.zeros(1, RATE)).shape[1] == 50


# The shipped model, through the command line


def run(*words: object) -> str:
    done = CliRunner().invoke(app, [str(w) for w in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_spoken_question_is_answered_as_the_typed_one():
    about = ("chat", STAIN, "--reference", GOOD)
    files = [SAID / "is-there-a-defect.ogg", SAID / "how-large-is-it.ogg"]
    aloud = run(*about, "--voice", files[0], "--voice", files[1]).splitlines()
    typed = run(*about, "--ask", "Is there a defect?", "--ask", "How large is it?").splitlines()
    assert aloud[0].startswith("> Is there a defect? (heard, ")
    assert aloud[2].startswith("> How large is it? (heard, ")
    assert (aloud[1], aloud[3]) == (typed[1], typed[3])


def test_most_of_the_committed_questions_are_heard_right():
    transcriber = Transcriber.load()
    heard = {path: transcriber.transcribe(read_sound(path)) for path in SAID.glob("*.ogg")}
    right = [
        spoken_words(found.text) == spoken_words(path.stem.replace("-", " "))
        for path, found in heard.items()
    ]
    assert sum(right) >= len(right) - 2, {p.stem: f.text for p, f in heard.items()}
    assert all(0 < found.confidence <= 1 for found in heard.values())


def test_what_is_no_speech_is_not_answered(tmp_path: Path):
    noise = drawn_noise(2 * RATE, np.random.default_rng(0))
    path = written(tmp_path / "noise.wav", 0.3 * noise / np.abs(noise).max())
    said = run("chat", STAIN, "--reference", GOOD, "--voice", path).splitlines()
    assert said[1].startswith("The question was not understood") and said[1].endswith("type it.")
    assert len(said) == 2


def test_a_doubtful_transcript_asks_to_type():
    sure = Transcript(text="is it okay?", seconds=0.1, confidence=0.9, understood=True)
    assert sure.question() == "is it okay?"
    with pytest.raises(AnomalystError, match="perhaps 'is it okay"):
        replace(sure, understood=False).question()
    with pytest.raises(AnomalystError, match="I heard no words"):
        Transcript(text="", seconds=0.1, confidence=0.0, understood=False).question()


# Speaking


def test_without_espeak_ng_speaking_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(speaking.shutil, "which", lambda _: None)
    with pytest.raises(AnomalystError, match="espeak-ng, which is not installed"):
        write_spoken(tmp_path / "a.wav", ["No."])
    with pytest.raises(AnomalystError, match="espeak-ng, which is not installed"):
        run("chat", STAIN, "--reference", GOOD, "--ask", "Why?", "--speak", tmp_path / "a.wav")


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_an_answer_is_spoken_without_its_pixels(tmp_path: Path):
    write_spoken(tmp_path / "a.wav", ["A scratch (box 1, 2, 3, 4)."])
    write_spoken(tmp_path / "b.wav", ["A scratch."])
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    assert 0.4 < read_sound(tmp_path / "a.wav").seconds < 2
    assert speaking.phonemes("It isn't.", "en-us") == ("I", "t#", "I", "z", "@", "n", "t")
    with pytest.raises(AnomalystError, match="said nothing"):
        speaking.spoken("Yes.", SpeakingConfig(voice="zz-zz"))
