"""Sound -> words by a Whisper model, and whether they are to be believed."""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from transformers import AutoTokenizer, EncoderDecoderCache, WhisperForConditionalGeneration

from anomalyst.backbones.huggingface import quiet
from anomalyst.errors import AnomalystError
from anomalyst.senses.audio import RATE_HZ
from anomalyst.voice.beams import BEAMS, Written, likeliest
from anomalyst.voice.encoding import encoded
from anomalyst.voice.log_mel import STRIDE, log_mel
from anomalyst.voice.sound import Sound

EMBEDDED = Path(__file__).parent.parent / "weights" / "voice"
BELIEVED = 0.37  # mean probability of a token from which a transcript is believed: e to the -1,
# as in Whisper (Radford et al. 2022, sec. 4.5); a folder of ours tells its own
LANGUAGE, TASK = "<|en|>", "transcribe"
_SHORTEST_BLOCK = 100  # frames, 1 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """What was heard."""

    text: str
    seconds: float  # that it took
    confidence: float  # mean probability of its tokens (geometric), [0, 1]
    understood: bool  # whether it is sure enough to be answered
    notes: tuple[str, ...] = ()

    def question(self) -> str:
        """The text. Raises AnomalystError where it was not understood."""
        if self.understood:
            return self.text
        heard = f"perhaps {self.text!r}" if self.text else "no words"
        raise AnomalystError(
            f"the question was not understood (I heard {heard}, {self.confidence:.0%} sure); say "
            "it again nearer to the microphone, or type it."
        )


class Transcriber:
    """A model that writes down what is said."""

    def __init__(self, model: WhisperForConditionalGeneration, tokenizer: Any):
        self.model, self.tokenizer = model, tokenizer
        config = model.config
        self.short_blocks = bool(getattr(config, "short_blocks", False))  # else always whole ones
        self.believed = float(getattr(config, "believed", BELIEVED))
        self.longest_frames = config.max_source_positions * 2
        self.start = prompt_tokens(model)
        self.never = _suppressed(model, "suppress_tokens")
        self.not_first = _suppressed(model, "begin_suppress_tokens")

    @classmethod
    def load(cls, folder: Path = EMBEDDED) -> Self:
        """The transcriber of a Whisper folder of transformers; ours is one, and ships.

        Raises AnomalystError where the folder holds no Whisper model that can be read.
        """
        check_folder(folder)
        try:
            with quiet():
                model = WhisperForConditionalGeneration.from_pretrained(
                    folder, local_files_only=True, dtype=torch.float32, use_safetensors=True
                )
                tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        # Damaged weights, a wrong config and a missing tokenizer raise unrelated families.
        except Exception as error:
            why = " ".join(str(error).split())[:200]
            raise AnomalystError(
                f"{folder}: the voice model cannot be read ({why}); copy the whole folder again."
            ) from error
        return cls(model.eval(), tokenizer)

    @torch.inference_mode()
    def transcribe(self, sound: Sound) -> Transcript:
        """The words of a sound.

        Raises AnomalystError where it lasts longer than the model's block.
        """
        started = time.perf_counter()
        written = self.written(self.features(sound))
        text = self.tokenizer.decode(list(written.tokens), skip_special_tokens=True).strip()
        text = text[:1].upper() + text[1:]  # as it would be typed: ours writes small letters alone
        confidence = math.exp(written.score) if written.tokens else 0.0
        return Transcript(
            text=text,
            seconds=time.perf_counter() - started,
            confidence=confidence,
            understood=bool(text) and confidence >= self.believed,
            notes=sound.notes,
        )

    def features(self, sound: Sound) -> Tensor:
        """The spectrogram of a block (1, channels, T), silence behind the sound."""
        longest = self.longest_frames * STRIDE
        if len(sound.wave) > longest:
            raise AnomalystError(
                f"the recording lasts {sound.seconds:.1f} s; this voice model hears "
                f"{longest / RATE_HZ:g} s at once. Ask in fewer words, or cut the silence away."
            )
        whole = longest
        if self.short_blocks:
            frames = -(-len(sound.wave) // (2 * STRIDE)) * 2  # even, for the stride of 2
            whole = max(frames, _SHORTEST_BLOCK) * STRIDE
        wave = torch.nn.functional.pad(torch.from_numpy(sound.wave), (0, whole - len(sound.wave)))
        return log_mel(wave[None], self.model.config.num_mel_bins)

    def written(self, features: Tensor, beams: int = BEAMS) -> Written:
        """The likeliest tokens of a spectrogram (1, channels, T), of so many beams."""
        config = self.model.config
        hidden = encoded(self.model, features)  # (1, T / 2, D)
        cache: EncoderDecoderCache | None = None

        def read(tokens: Tensor, rows: Tensor) -> Tensor:
            nonlocal cache
            if cache is not None:
                cache.reorder_cache(rows)
            found = self.model.get_decoder()(
                input_ids=tokens,
                encoder_hidden_states=hidden.expand(len(tokens), -1, -1),
                past_key_values=cache,
                use_cache=True,
            )
            scores = self.model.proj_out(found.last_hidden_state[:, -1])  # (K, V)
            scores[:, self.never] = -torch.inf
            if cache is None:
                scores[:, self.not_first] = -torch.inf
            cache = found.past_key_values
            return torch.as_tensor(scores.log_softmax(1))

        end = int(self.model.generation_config.eos_token_id)
        most = config.max_target_positions - len(self.start)
        return likeliest(read, self.start, end, most, beams)


def check_folder(folder: Path) -> None:
    """Raises AnomalystError where a folder is no Whisper model's."""
    config = folder / "config.json"
    if not config.is_file():
        raise AnomalystError(
            f"{folder}: holds no voice model (config.json is missing); give the folder of a "
            "Whisper model with config.json, model.safetensors and its tokenizer."
        )
    try:
        kind = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError) as error:
        raise AnomalystError(f"{config}: is no JSON object; copy the folder again.") from error
    if kind != "whisper":
        raise AnomalystError(
            f"{folder}: is a {kind!r} model; a voice model is of the type 'whisper'."
        )


def prompt_tokens(model: WhisperForConditionalGeneration) -> list[int]:
    """What a transcript begins with: the start, and in English, written down, without times.

    A model of several languages is told language and task; one without times is told nothing.
    """
    told = model.generation_config
    start = [int(model.config.decoder_start_token_id)]
    languages = getattr(told, "lang_to_id", None)
    if languages and getattr(told, "is_multilingual", True):
        start += [int(languages[LANGUAGE]), int(told.task_to_id[TASK])]
    untimed = getattr(told, "no_timestamps_token_id", None)
    return [*start, int(untimed)] if untimed is not None else start


def _suppressed(model: WhisperForConditionalGeneration, name: str) -> list[int]:
    named: Sequence[int] = getattr(model.generation_config, name, None) or ()
    return [int(token) for token in named]
