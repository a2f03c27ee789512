"""The encoder of a Whisper model on blocks shorter than it was made for."""

import torch.nn.functional as F
from torch import Tensor
from transformers import WhisperForConditionalGeneration


def encoded(model: WhisperForConditionalGeneration, features: Tensor) -> Tensor:
    """Mel spectrograms (B, channels, T), T even -> (B, T / 2, D): what the decoder attends to.

    As the model's own encoder, which takes blocks of one length only; dropout, which Whisper has
    none of, is left out.
    """
    encoder = model.get_encoder()
    hidden = F.gelu(encoder.conv1(features))
    hidden = F.gelu(encoder.conv2(hidden)).transpose(1, 2)  # (B, T / 2, D)
    hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
    for layer in encoder.layers:
        hidden = layer(hidden, None)
    return encoder.layer_norm(hidden)
