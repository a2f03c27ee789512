"""The published state dict, imagebind_huge.pth, under our names: every tensor used exactly once."""

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from anomalyst.backbones.imagebind.config import (
    ImageBindConfig,
    Modality,
    TextConfig,
    TowerConfig,
)
from anomalyst.backbones.imagebind.loading import write_folder
from anomalyst.backbones.imagebind.model import ImageBind
from anomalyst.errors import AnomalystError

LICENCE_FILE = "LICENCE.txt"
LICENCE = """\
The weights in this folder are those of ImageBind (Meta Platforms, Inc.; Girdhar et al.,
"ImageBind: One Embedding Space To Bind Them All", CVPR 2023), with their tensors renamed.

They are not free for commercial use. Their authors' README says CC-BY-NC 4.0; their LICENSE file
and model card say CC BY-NC-SA 4.0. So: give credit, use them for no commercial purpose and, by the
latter, share what you make of them under the same licence.

https://github.com/facebookresearch/ImageBind
https://creativecommons.org/licenses/by-nc/4.0/
https://creativecommons.org/licenses/by-nc-sa/4.0/
"""
WORDS: dict[Modality, str] = {"image": "vision"}  # where their word for a sense is another
# Where their stem keeps its projection; an image's stands behind a layer without weights.
PROJECTIONS: dict[Modality, str] = {
    "image": "rgbt_stem.proj.1",
    "audio": "rgbt_stem.proj",
    "depth": "depth_stem.proj",
    "thermal": "rgbt_stem.proj",
    "imu": "imu_stem.proj",
}
TEXT_MASK = "modality_preprocessors.text.mask"  # -inf above the diagonal; ours is not stored
Names = Iterator[tuple[str, tuple[str, ...]]]  # ours, and what it is put together from


def convert_file(path: Path, out: Path, config: ImageBindConfig) -> int:
    """Write the folder of a published state dict, its licence beside it; numbers in it.

    Raises AnomalystError for a file that is not one, another model, other sizes than `config` has,
    or a folder that is there already.
    """
    if out.exists():
        raise AnomalystError(f"{out}: is there already; choose another --out, or remove it first.")
    weights = convert(read_state_dict(path), config, str(path))
    write_folder(out, config, weights, {LICENCE_FILE: LICENCE})
    return sum(value.numel() for value in weights.values())


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors by name of a file that torch saved; no code in it is run.

    Raises AnomalystError if it is not such a file or holds anything but tensors.
    """
    if not path.is_file():
        raise AnomalystError(f"{path}: there is no such file; imagebind_huge.pth is needed.")
    try:
        whole = zipfile.is_zipfile(path)  # read where it is needed, not at once, in torch's format
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=whole)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise AnomalystError(
            f"{path}: is not a state dict that torch saved, or not a whole one; "
            "imagebind_huge.pth is needed."
        ) from error
    if (
        not isinstance(found, dict)
        or not found
        or not all(_is_tensor(*one) for one in found.items())
    ):
        raise AnomalystError(
            f"{path}: holds something else than tensors by name; a state dict is needed."
        )
    return dict(found)


def convert(state: Mapping[str, Tensor], config: ImageBindConfig, where: str) -> dict[str, Tensor]:
    """The state dict of our `ImageBind(config)`, float32.

    Raises AnomalystError for names of another model, missing or to spare, and for other shapes.
    """
    sources = dict(published_names(config))
    _refuse_other_names(state, sources, config, where)
    with torch.device("meta"):
        ours = ImageBind(config).state_dict()
    assert ours.keys() == sources.keys()
    converted = {}
    for name, parts in sources.items():
        wanted = ours[name].shape
        tensors = [state[part] for part in parts]
        if sum(tensor.numel() for tensor in tensors) != wanted.numel() or (
            len(parts) == 1 and tensors[0].shape != wanted
        ):
            raise AnomalystError(
                f"{where}: {parts[0]} is {list(tensors[0].shape)}, which is not this size's "
                f"{name} of {list(wanted)}; the published model is `huge`."
            )
        joined = tensors[0] if len(parts) == 1 else torch.cat(tensors).reshape(wanted)
        converted[name] = joined.float()
    return converted


def published_names(config: ImageBindConfig) -> Names:
    """For each tensor of ours, the published ones it is made of."""
    for modality in config.modalities:
        word, tower = WORDS.get(modality, modality), config.tower(modality)
        ours = f"towers.{modality}"
        yield from _stem(f"{ours}.stem", f"modality_preprocessors.{word}", modality)
        yield from _trunk(f"{ours}.trunk", f"modality_trunks.{word}", tower)
        head = f"modality_heads.{word}"
        norm, projection = _head(modality)
        yield from _layer(f"{ours}.head_norm", f"{head}.{norm}")
        yield f"{ours}.head.weight", (f"{head}.{projection}.weight",)
        if tower.scale is not None:
            yield f"{ours}.log_scale", (f"modality_postprocessors.{word}.1.log_logit_scale",)


def _stem(ours: str, theirs: str, modality: Modality) -> Names:
    if modality == "text":
        yield f"{ours}.words.weight", (f"{theirs}.token_embedding.weight",)
        yield f"{ours}.positions", (f"{theirs}.pos_embed",)
        return
    projection = f"{theirs}.{PROJECTIONS[modality]}"
    positions = "pos_embed" if modality == "imu" else "pos_embedding_helper.pos_embed"
    patches = "patches.weight" if modality == "imu" else "patches"
    yield f"{ours}.{patches}", (f"{projection}.weight",)
    yield f"{ours}.class_token", (f"{theirs}.cls_token",)
    yield f"{ours}.positions", (f"{theirs}.{positions}",)
    if modality != "image":
        yield from _layer(f"{ours}.patch_norm", projection.removesuffix("proj") + "norm_layer")


def _trunk(ours: str, theirs: str, tower: TowerConfig) -> Names:
    if tower.norm_first:
        yield from _layer(f"{ours}.norm_first", f"{theirs}.pre_transformer_layer.0")
    for number in range(tower.depth):
        mine, other = f"{ours}.blocks.{number}", f"{theirs}.blocks.{number}"
        for kind in ("weight", "bias"):
            yield f"{mine}.attention.qkv.{kind}", (f"{other}.attn.in_proj_{kind}",)
        yield from _layer(f"{mine}.attention.out", f"{other}.attn.out_proj")
        if tower.bias_kv:
            pair = (f"{other}.attn.bias_k", f"{other}.attn.bias_v")
            yield f"{mine}.attention.bias_kv", pair
        yield from _layer(f"{mine}.norm_attention", f"{other}.norm_1")
        yield from _layer(f"{mine}.norm_mlp", f"{other}.norm_2")
        yield from _layer(f"{mine}.mlp.0", f"{other}.mlp.fc1")
        yield from _layer(f"{mine}.mlp.2", f"{other}.mlp.fc2")


def _head(modality: Modality) -> tuple[str, str]:
    """Where their head keeps its norm and its projection: layers without weights lie between."""
    if modality == "text":
        return "proj.0", "proj.1"
    return "0", "3" if modality == "imu" else "2"


def _layer(ours: str, theirs: str) -> Names:
    for kind in ("weight", "bias"):
        yield f"{ours}.{kind}", (f"{theirs}.{kind}",)


def _refuse_other_names(
    state: Mapping[str, Tensor],
    sources: Mapping[str, tuple[str, ...]],
    config: ImageBindConfig,
    where: str,
) -> None:
    if not any(name.startswith("modality_trunks.") for name in state):
        raise AnomalystError(
            f"{where}: is the state dict of another model (its first name is {next(iter(state))!r})"
            "; ImageBind's begin with modality_."
        )
    wanted = {part for parts in sources.values() for part in parts}
    if isinstance(config.text, TextConfig):
        wanted.add(TEXT_MASK)
    for names, what in ((wanted - state.keys(), "lacks"), (state.keys() - wanted, "has to spare")):
        if names:
            listed = ", ".join(sorted(names)[:5])
            raise AnomalystError(
                f"{where}: {what} {len(names)} of ImageBind's tensors ({listed}"
                f"{', ...' if len(names) > 5 else ''}); this size of it needs {len(wanted)}."
            )


def _is_tensor(name: object, value: object) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor)
