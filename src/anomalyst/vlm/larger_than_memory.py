"""A language model whose weights do not fit into memory: they stay in their file.

What ZeRO-Inference (DeepSpeed, 2022) does with weights on disk, for one processor: a layer's
weights are read when its turn comes and used for all that is to be computed. Slow by the
disk's rate: every token reads the whole file once.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from anomalyst.backbones.huggingface import quiet
from anomalyst.errors import AnomalystError
from anomalyst.io.files import make_folder

WEIGHTS = "model.safetensors"


def in_memory(folder: Path) -> nn.Module:
    """All weights read and copied."""
    model = mapped(folder)
    for tensor in [*model.parameters(), *model.buffers()]:
        tensor.data = tensor.data.clone()
    return model


def mapped(folder: Path) -> nn.Module:
    """Weights as pages of the file, which the kernel reads and drops as it sees fit."""
    with quiet():
        return _loaded(folder)


def by_layers(folder: Path) -> nn.Module:
    """Each decoder layer's weights read from the file for its turn, into the same place.

    Embeddings, the last norm and the head stay in memory. Raises AnomalystError for a folder
    whose weights are not one safetensors file.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise AnomalystError(f"{folder}: holds no {WEIGHTS}; weights in one such file are needed.")
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    with torch.device("meta"), quiet():
        model = AutoModelForCausalLM.from_config(config)
    model = model.eval().requires_grad_(False)
    layers = model.get_decoder().layers
    with safe_open(str(path), framework="pt") as file:
        known = set(file.keys())
        for name, _ in list(model.named_parameters()):
            if name in known and not name.startswith("model.layers."):
                _put(model, name, file.get_tensor(name).clone())
    if config.tie_word_embeddings:
        model.tie_weights()
    _compute_positions(model, config)
    room: dict[tuple[str, torch.Size], Tensor] = {}
    for index, layer in enumerate(layers):
        _share(layer, room)
        layer.register_forward_pre_hook(_reader(path, f"model.layers.{index}."))
    return model


def by_accelerate(folder: Path, scratch: Path) -> nn.Module:
    """As `by_layers`, by transformers and accelerate: layers' device map says "disk"."""
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    places = {"model.embed_tokens": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu",
              "lm_head": "cpu"}  # fmt: skip
    places |= {f"model.layers.{i}": "disk" for i in range(config.num_hidden_layers)}
    with quiet():
        return _loaded(folder, device_map=places, offload_folder=str(make_folder(scratch)))


def _loaded(folder: Path, **more: Any) -> nn.Module:
    made: nn.Module = AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, **more
    )
    return made.eval().requires_grad_(False)


def _compute_positions(model: Any, config: Any) -> None:
    """Rotary frequencies are computed, not stored: a model made without memory has none yet."""
    decoder = model.get_decoder()
    decoder.rotary_emb = type(decoder.rotary_emb)(config=config)


def _put(model: nn.Module, name: str, value: Tensor) -> None:
    owner, _, last = name.rpartition(".")
    setattr(model.get_submodule(owner), last, nn.Parameter(value, requires_grad=False))


def _share(layer: nn.Module, room: dict[tuple[str, torch.Size], Tensor]) -> None:
    """All layers have one place for their weights, which is filled for each in its turn.

    Taking and giving back memory for every layer leaves gaps: 350 MiB of them at 587 of weights.
    """
    for name, old in list(layer.named_parameters()):
        place = room.setdefault((name, old.shape), torch.empty_like(old, device="cpu"))
        _put(layer, name, place)


def _reader(path: Path, prefix: str) -> Callable[[nn.Module, Any], None]:
    def read(layer: nn.Module, _: Any) -> None:
        with safe_open(str(path), framework="pt") as file:
            for name, held in layer.named_parameters():
                held.data.copy_(file.get_tensor(prefix + name))

    return read
