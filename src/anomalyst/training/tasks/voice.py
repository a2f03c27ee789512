"""The voice task: questions spoken by espeak-ng, in factory noise -> their words.

A small Whisper learns by cross-entropy of what its decoder writes; beside it, in training only, the
encoder alone must tell the phonemes in order (CTC), which espeak-ng knows: it teaches the attention
where to look (Kim, Hori and Watanabe 2017, eq. 6; there of letters). For comparison convolutions
alone, by CTC of the words' tokens and of the same phonemes.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import WhisperFeatureExtractor

from anomalyst.backbones.huggingface import quiet
from anomalyst.errors import AnomalystError
from anomalyst.io.files import folder_written_whole, write_text
from anomalyst.training.data.microphone import RoomConfig, as_heard, drawn_noises
from anomalyst.training.data.speech_cache import FOLDER, LOT, Utterance, speech
from anomalyst.training.data.spoken_questions import drawn_question, transcript_of
from anomalyst.training.recipe import Recipe
from anomalyst.training.task import Share, Task, prefetched
from anomalyst.training.tasks.voice_networks import (
    NOTHING,
    ConvolutionalModule,
    SpeechModelConfig,
    SpeechModule,
    ctc,
    whisper_config,
)
from anomalyst.voice.convolutional import BLANK, ConvolutionalConfig, ConvolutionalRecogniser
from anomalyst.voice.encoding import encoded
from anomalyst.voice.log_mel import STRIDE, log_mel
from anomalyst.voice.sound import Sound
from anomalyst.voice.tokens import learn_tokenizer
from anomalyst.voice.transcriber import Transcriber
from anomalyst.voice.words import spoken_words

GROUP = 8  # steps whose utterances are drawn together and sorted by length
LEARNT_FROM = 4000  # drawn questions that the tokenizer is learnt from
HELD_OUT = "held_out"  # in the run's folder: what finish speaks
LEAST_BELIEVED = 20  # of the held-out transcripts, so that chance does not choose


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceRecipe(Recipe):
    """The voice model; `batch` counts utterances."""

    task: Literal["voice"] = "voice"
    network: Literal["whisper", "convolutional"] = "whisper"
    utterances: int = 8000  # spoken before the first step
    noises: int = 256  # pieces of factory noise, drawn before the first step
    harder_until: int = 1000  # steps in which noise, echo and speed grow to what `room` says
    ctc_share: float = 0.5  # of Whisper's loss, where phonemes are told
    held_out_utterances: int = 300  # by which it is chosen when a transcript is believed
    right_wanted: float = 0.9  # share of the believed transcripts that have every word right
    model: SpeechModelConfig = field(default_factory=SpeechModelConfig)
    convolutional: ConvolutionalConfig = field(default_factory=ConvolutionalConfig)
    room: RoomConfig = field(default_factory=RoomConfig)


class VoiceTask(Task):
    """Utterances, in another noise and another room at every step."""

    def __init__(self, recipe: VoiceRecipe, out: Path):
        self.recipe, self.out = recipe, out
        texts = (_text(recipe.seed, number) for number in range(LEARNT_FROM))
        self.tokenizer = learn_tokenizer(texts, recipe.model.vocabulary)
        told = {sound for one in self.said for sound in one.phonemes}
        self.phonemes = {sound: number for number, sound in enumerate(sorted(told), BLANK + 1)}
        self.module: nn.Module = self._start()

    def _start(self) -> nn.Module:
        """A new network, or that of the folder `initial`."""
        recipe, initial = self.recipe, Path(self.recipe.initial)
        if recipe.network == "convolutional":
            other = ConvolutionalModule(recipe.convolutional, len(self.phonemes))
            if recipe.initial:
                other.network.load_state_dict(ConvolutionalRecogniser.load(initial).state_dict())
            return other
        module = SpeechModule(whisper_config(recipe.model, self.tokenizer), len(self.phonemes))
        if recipe.initial:
            before = Transcriber.load(initial)
            if before.tokenizer.get_vocab() != self.tokenizer.get_vocab():
                raise AnomalystError(
                    f"initial {initial}: writes in other tokens than this recipe's; start from a "
                    "run of the same seed and model.vocabulary."
                )
            module.whisper.load_state_dict(before.model.state_dict())
        return module

    @cached_property
    def said(self) -> list[Utterance]:
        """What is trained on, spoken when it is first needed."""
        recipe = self.recipe
        workers = min(recipe.workers, -(-recipe.utterances // LOT))
        return speech(self.out / FOLDER, recipe.utterances, recipe.seed, workers=workers)

    @cached_property
    def noises(self) -> list[np.ndarray]:
        """What is mixed in, babble of the same voices included."""
        rng = np.random.default_rng((self.recipe.seed, 2))
        return drawn_noises(rng, [one.wave for one in self.said], self.recipe.noises)

    def batches(self, first_step: int, share: Share) -> Iterator[dict[str, Tensor]]:
        """Utterances of a step, drawn by the random numbers of its group of steps.

        Those of a group are sorted by length, so that little of a batch is silence.
        """
        _ = self.noises  # before there are workers, who would each draw them
        make = partial(self._micro_batch, share.of)
        steps = range(first_step, self.recipe.steps)
        return prefetched(make, steps, share, self.recipe.workers)

    def _micro_batch(self, parts: int, step: int, part: int) -> dict[str, Tensor]:
        batch = self.recipe.batch
        rng = np.random.default_rng((self.recipe.seed, step // GROUP))
        rows = rng.integers(len(self.said), size=batch * GROUP)
        lengths = np.array([len(self.said[row].wave) for row in rows])
        order = rows[np.argsort(lengths, kind="stable")].reshape(GROUP, batch)
        chosen = order[rng.permutation(GROUP)[step % GROUP]]
        numbers = np.random.default_rng((self.recipe.seed, 1, step))
        room = self.recipe.room.softened(step / max(1, self.recipe.harder_until))
        drawn = [self._heard(self.said[row], room, numbers) for row in chosen]
        return self._together(drawn[part::parts])

    def _heard(
        self, one: Utterance, room: RoomConfig, rng: np.random.Generator
    ) -> tuple[np.ndarray, list[int], list[int]]:
        """An utterance as the microphone takes it, the tokens of its words, and its phonemes."""
        wave = as_heard(one.wave, room, rng, self.noises)
        ids = self.tokenizer(transcript_of(one.text))["input_ids"]
        return wave, [*ids, self.tokenizer.eos_token_id], [self.phonemes[s] for s in one.phonemes]

    def _together(self, drawn: list[tuple[np.ndarray, list[int], list[int]]]) -> dict[str, Tensor]:
        """Utterances as one batch: waves (B, S) with silence behind, labels (B, T), phonemes."""
        longest = max(len(wave) for wave, _, _ in drawn)
        longest = -(-longest // (2 * STRIDE)) * 2 * STRIDE  # whole frames of the encoder
        waves = np.stack([np.pad(wave, (0, longest - len(wave))) for wave, _, _ in drawn])
        return {
            "waves": torch.from_numpy(waves),
            "labels": _filled([ids for _, ids, _ in drawn]),
            "phonemes": _filled([sounds for _, _, sounds in drawn]),
        }

    def amount(self, batch: dict[str, Tensor]) -> dict[str, int]:
        """Utterances count, and what is written of them."""
        written = int((batch["labels"] != NOTHING).sum())
        return {"samples": len(batch["labels"]), "tokens": written}

    def loss(
        self, batch: dict[str, Tensor], device: torch.device
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Of the transcript, and of the encoder's phonemes where they are told.

        Whisper's transcript by cross-entropy, that of convolutions by CTC.
        """
        waves, labels = batch["waves"].to(device), batch["labels"].to(device)
        if isinstance(self.module, ConvolutionalModule):
            hidden = self.module.network.frames(waves)
            logits = self.module.network.out(hidden)
            parts = {"words": ctc(logits, labels, self.tokenizer.eos_token_id)}
        else:
            hidden, parts = self._written(waves, labels)
        if not self.phonemes:
            return parts["words"], parts
        assert isinstance(self.module, SpeechModule | ConvolutionalModule)
        told = ctc(self.module.told(hidden), batch["phonemes"].to(device))
        share = self.recipe.ctc_share
        return (1 - share) * parts["words"] + share * told, parts | {"phonemes": told}

    def _written(self, waves: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Whisper's encoding of waves (B, T, D), and how well it writes the labels."""
        assert isinstance(self.module, SpeechModule)
        whisper = self.module.whisper
        with torch.autocast(waves.device.type, enabled=False):
            features = log_mel(waves)
        hidden = encoded(whisper, features)
        start = torch.full_like(labels[:, :1], whisper.config.decoder_start_token_id)
        before = torch.cat([start, labels[:, :-1].clamp(min=BLANK)], 1)
        read = whisper.get_decoder()(
            input_ids=before, encoder_hidden_states=hidden, use_cache=False
        )
        written = labels != NOTHING
        logits = whisper.proj_out(read.last_hidden_state[written])
        words = F.cross_entropy(logits.float(), labels[written], label_smoothing=0.1)
        right = (logits.argmax(1) == labels[written]).float().mean()
        return hidden, {"words": words, "right": right}

    def ship(self, average: Mapping[str, Tensor]) -> Path:
        """A Whisper folder, in bfloat16, as transformers reads it; or that of the convolutions."""
        folder = self.out / "model"
        if isinstance(self.module, ConvolutionalModule):
            shipped = ConvolutionalModule(self.recipe.convolutional, len(self.phonemes))
            shipped.load_state_dict(dict(average))
            return shipped.network.save(folder, self.tokenizer)
        module = SpeechModule(whisper_config(self.recipe.model, self.tokenizer), len(self.phonemes))
        missing, surplus = module.load_state_dict(dict(average), strict=False)
        # Sinusoids are not trained, and one matrix has two names.
        assert not surplus and all("embed_positions" in n or "proj_out" in n for n in missing)
        with folder_written_whole(folder) as part, quiet():
            module.whisper.to(torch.bfloat16).save_pretrained(part)
            self.tokenizer.save_pretrained(part)
            seconds = self.recipe.model.seconds
            WhisperFeatureExtractor(chunk_length=seconds).save_pretrained(part)
        return folder

    def finish(self, weights: Path) -> None:
        """Choose from which confidence on a transcript is believed, on held-out questions.

        Others' words, other voices, and noise drawn anew.
        """
        recipe = self.recipe
        if recipe.network != "whisper":
            return
        said = speech(self.out / HELD_OUT, recipe.held_out_utterances, recipe.seed, held_out=True)
        rng = np.random.default_rng((recipe.seed, 3))
        noises = drawn_noises(rng, [one.wave for one in said], recipe.noises)
        transcriber = Transcriber.load(weights)
        heard = [
            transcriber.transcribe(Sound(wave=as_heard(one.wave, recipe.room, rng, noises)))
            for one in said
        ]
        right = [
            spoken_words(one.text) == spoken_words(found.text)
            for one, found in zip(said, heard, strict=True)
        ]
        confidences = [found.confidence for found in heard]
        believed, figures = chosen_belief(confidences, right, recipe.right_wanted)
        config = json.loads((weights / "config.json").read_text(encoding="utf-8"))
        config |= {"believed": believed, "held_out": figures}
        write_text(weights / "config.json", json.dumps(config, indent=2, sort_keys=True) + "\n")


def chosen_belief(
    confidences: Sequence[float], right: Sequence[bool], wanted: float
) -> tuple[float, dict[str, float]]:
    """The least confidence from which `wanted` of the transcripts are right, and figures there.

    Where no confidence is that good, the one from which most are.
    """
    order = sorted(zip(confidences, right, strict=True), reverse=True)
    so_far = np.cumsum([one for _, one in order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(so_far >= min(wanted, so_far[LEAST_BELIEVED - 1 :].max()))
    last = max(int(good[-1]), LEAST_BELIEVED - 1)
    share = (last + 1) / len(order)
    figures = {"believed": round(share, 3), "right": round(float(so_far[last]), 3)}
    return round(order[last][0], 4), figures


def _filled(rows: list[list[int]]) -> Tensor:
    """Rows of different lengths as one tensor (B, L), `NOTHING` behind them."""
    longest = max(map(len, rows))
    return torch.tensor([row + [NOTHING] * (longest - len(row)) for row in rows])


def _text(seed: int, number: int) -> str:
    rng = np.random.default_rng((seed, 1 << 41, number))
    return transcript_of(drawn_question(rng, held_out=False))
