"""Convolutions alone, to compare Whisper with: Wav2Vec's two networks, read out by CTC.

An encoder network turns the wave into frames, a context network sees a limited stretch of them
(Schneider et al. 2019, sec. 2.1). There they learn to tell true frames from others; here both learn
from transcripts from the first step on, by connectionist temporal classification.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from anomalyst.config import from_mapping
from anomalyst.errors import AnomalystError
from anomalyst.io.files import folder_written_whole

CONFIG = "convolutional.json"
BLANK = 0  # of CTC: nothing new at this frame; the tokenizer's filling


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvolutionalConfig:
    """How wide and how deep; the strides come to 20 ms a frame."""

    vocabulary: int = 384
    channels: tuple[int, ...] = (48, 64, 96, 128, 192, 256)  # of the encoder network
    kernels: tuple[int, ...] = (10, 8, 4, 4, 4, 4)
    strides: tuple[int, ...] = (5, 4, 2, 2, 2, 2)
    context_layers: int = 9
    context_kernel: int = 3

    def __post_init__(self) -> None:
        if not len(self.channels) == len(self.kernels) == len(self.strides):
            raise AnomalystError(
                "channels, kernels and strides: one of each is needed per layer of the encoder."
            )


class ConvolutionalRecogniser(nn.Module):
    """Waves -> tokens that follow each other."""

    def __init__(self, config: ConvolutionalConfig):
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        inputs = 1
        for width, kernel, stride in zip(
            config.channels, config.kernels, config.strides, strict=True
        ):
            layers.append(_Block(inputs, width, kernel, stride))
            inputs = width
        self.encoder = nn.Sequential(*layers)
        self.context = nn.ModuleList(
            _Block(inputs, inputs, config.context_kernel, 1) for _ in range(config.context_layers)
        )
        self.out = nn.Linear(inputs, config.vocabulary)

    def frames(self, waves: Tensor) -> Tensor:
        """Waves (B, S) at 16 kHz -> what is known of every 20 ms (B, S / 320, D)."""
        hidden: Tensor = self.encoder(waves[:, None])  # (B, D, T)
        for block in self.context:
            hidden = hidden + block(hidden)
        return hidden.transpose(1, 2)

    def forward(self, waves: Tensor) -> Tensor:
        """Waves (B, S) at 16 kHz -> logits (B, S / 320, vocabulary)."""
        logits: Tensor = self.out(self.frames(waves))
        return logits

    @property
    def context_seconds(self) -> float:
        """How long a stretch of sound decides one frame."""
        reach, step = 1, 1
        config = self.config
        for kernel, stride in zip(config.kernels, config.strides, strict=True):
            reach, step = reach + (kernel - 1) * step, step * stride
        return (reach + config.context_layers * (config.context_kernel - 1) * step) / 16_000

    def save(self, folder: Path, tokenizer: Any) -> Path:
        """Write weights, configuration and tokenizer."""
        with folder_written_whole(folder) as part:
            tensors = {k: v.to(torch.bfloat16).contiguous() for k, v in self.state_dict().items()}
            save_file(tensors, part / "convolutional.safetensors")
            (part / CONFIG).write_text(json.dumps(asdict(self.config)))
            tokenizer.save_pretrained(part)
        return folder

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The recogniser that `save` wrote."""
        path = folder / CONFIG
        values = json.loads(path.read_text(encoding="utf-8"))
        model = cls(from_mapping(ConvolutionalConfig, values, where=str(path)))
        model.load_state_dict(load_file(folder / "convolutional.safetensors"))
        return model.eval()


class _Block(nn.Module):
    """A convolution over the frames around one, normalised over its channels."""

    def __init__(self, inputs: int, width: int, kernel: int, stride: int):
        super().__init__()
        self.around = kernel - stride  # frames that are filled up, so that S / stride come out
        self.convolution = nn.Conv1d(inputs, width, kernel, stride)
        self.norm = nn.GroupNorm(1, width)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, C, T) -> (B, width, T / stride)."""
        before = self.around // 2
        filled = F.pad(frames, (before, self.around - before))
        return F.relu(self.norm(self.convolution(filled)))


def collapsed(tokens: list[int]) -> list[int]:
    """A path of CTC -> what it says: repeated tokens once, blanks gone."""
    following = zip([BLANK, *tokens], tokens, strict=False)
    return [now for before, now in following if now not in (before, BLANK)]
