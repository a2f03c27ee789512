"""The networks of the voice task, and their losses."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import WhisperConfig, WhisperForConditionalGeneration

from anomalyst.senses.audio import RATE_HZ
from anomalyst.voice.convolutional import BLANK, ConvolutionalConfig, ConvolutionalRecogniser
from anomalyst.voice.log_mel import STRIDE

NOTHING = -100  # label that is not learnt


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechModelConfig:
    """A Whisper model, small."""

    width: int = 160
    encoder_layers: int = 4
    decoder_layers: int = 2
    heads: int = 4
    hidden: int = 640
    vocabulary: int = 384
    seconds: int = 10  # the longest question
    tokens: int = 96  # of the longest transcript


class SpeechModule(nn.Module):
    """Whisper, and the layer that reads phonemes off its encoder while it is trained."""

    def __init__(self, config: WhisperConfig, phonemes: int):
        super().__init__()
        self.whisper = WhisperForConditionalGeneration(config)
        # On a CPU, and blocks this short, written-out attention takes half the time of the fused.
        self.whisper.set_attn_implementation("eager")
        self.told = nn.Linear(config.d_model, 1 + phonemes)  # the first: none


class ConvolutionalModule(nn.Module):
    """Convolutions, and the same layer on them."""

    def __init__(self, config: ConvolutionalConfig, phonemes: int):
        super().__init__()
        self.network = ConvolutionalRecogniser(config)
        self.told = nn.Linear(config.channels[-1], 1 + phonemes)


def whisper_config(config: SpeechModelConfig, tokenizer: Any) -> WhisperConfig:
    """The configuration of a Whisper model that reads short blocks as they are."""
    return WhisperConfig(
        vocab_size=config.vocabulary,
        d_model=config.width,
        encoder_layers=config.encoder_layers,
        decoder_layers=config.decoder_layers,
        encoder_attention_heads=config.heads,
        decoder_attention_heads=config.heads,
        encoder_ffn_dim=config.hidden,
        decoder_ffn_dim=config.hidden,
        init_std=config.width
        ** -0.5,  # 0.02 is for wide ones: here the sound would drown in positions
        max_source_positions=config.seconds * RATE_HZ // STRIDE // 2,
        max_target_positions=config.tokens,
        decoder_start_token_id=tokenizer.bos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        suppress_tokens=None,
        begin_suppress_tokens=None,
        short_blocks=True,
    )


def ctc(logits: Tensor, labels: Tensor, end: int = NOTHING) -> Tensor:
    """CTC of logits (B, T, V) for labels (B, L): a label's mean; `end` is none of them."""
    said = (labels != NOTHING) & (labels != end)
    lengths = said.sum(1)
    shares = logits.float().log_softmax(2).transpose(0, 1)  # (T, B, V)
    frames = torch.full_like(lengths, logits.shape[1])
    return F.ctc_loss(
        shares, labels.masked_fill(~said, BLANK), frames, lengths, BLANK, zero_infinity=True
    )
