"""What of a vision-language model is trained: whole parts, or few parameters beside frozen ones.

LoRA and IA3 are peft's; adapters are layer patches, prefix and prompt virtual tokens, since a
shipped model must have them without peft. What can be merged into the weights is merged.
"""

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from peft import IA3Config, LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from anomalyst.errors import AnomalystError
from anomalyst.training.recipe import Recipe
from anomalyst.vlm.huggingface import AnomalystModel
from anomalyst.vlm.huggingface.layer_patches import Patch, as_patches, as_values, blocks_of, insert
from anomalyst.vlm.huggingface.virtual_tokens import (
    insert_virtual_tokens,
    start_from_words,
    virtual_tokens_of,
)

PARTS = ("projector", "prompt_learner", "decoder", "language", "vision")  # trained whole
METHODS = ("lora", "adapter", "prefix", "prompt", "ia3", "bitfit", "sparse")  # few parameters
FRESH = (".lora_", ".ia3_")  # what peft puts beside a weight


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningRecipe(Recipe):
    """What is trained: parts as a whole, and one method in a frozen language model."""

    # projector, prompt_learner, decoder, language, vision; and one of lora, adapter, prefix,
    # prompt, ia3, bitfit, sparse.
    train: tuple[str, ...] = ("projector",)
    lora_rank: int = 32
    lora_alpha: int = 32
    lora_dropout: float = 0.1
    lora_targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    adapter_width: int = 16  # of the bottlenecks of `adapter`
    virtual_tokens: int = 20  # of `prefix` and `prompt`
    sparse_share: float = 0.005  # of the weights of each matrix that `sparse` changes


def checked_words(train: Sequence[str], *, parts: Sequence[str] = PARTS) -> None:
    """Raises ValueError, for a recipe, where `train` cannot be meant."""
    known = (*parts, *METHODS)
    for word in train:
        if word not in known:
            near = difflib.get_close_matches(word, known, n=1, cutoff=0.0)[0]
            raise ValueError(f"train has {word!r}; the nearest is {near!r} of {', '.join(known)}")
    methods = [word for word in train if word in METHODS]
    if not train:
        raise ValueError(f"train is empty; name one or more of {', '.join(known)}")
    if len(methods) > 1:
        raise ValueError(f"train has {' and '.join(methods)}; one of them at a time")
    if methods and "language" in train:
        raise ValueError(
            f"train has language and {methods[0]}; the whole language model, or {methods[0]} in it"
        )


def set_trained(model: AnomalystModel, recipe: TuningRecipe) -> None:
    """Freeze all but what `recipe.train` names, with what its method puts in.

    Layer patches that are declared as trained stay so. Raises AnomalystError for a method that this
    kind of language model cannot have.
    """
    patched = [p for n, p in model.named_parameters() if ".patched_" in n and p.requires_grad]
    model.requires_grad_(False)
    held: dict[str, Any] = {
        "projector": model.projector,
        "prompt_learner": model.prompt_learner,
        "decoder": model.text_aligned,
        "language": model.language_model,
    }
    for word in recipe.train:
        if word in METHODS:
            _APPLY[word](model, recipe)
        elif word == "vision":
            model.vision_encoder.model.requires_grad_(True)
        elif held[word] is not None:
            held[word].requires_grad_(True)
    for parameter in patched:
        parameter.requires_grad_(True)


def merged_state(model: AnomalystModel) -> dict[str, Tensor]:
    """The state of a model with LoRA, IA3 and sparse changes added to the weights they change."""
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module._disable_adapters = False
            module.merge()
        elif isinstance(module, SparseLinear):
            module.merge()
    return {
        name.replace(".base_layer.", "."): value
        for name, value in model.state_dict().items()
        if not any(part in name for part in FRESH) and not name.endswith(SparseLinear.OWN)
    }


def trained_count(module: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


class SparseLinear(nn.Module):
    """A linear layer of which few weights, chosen once, are changed: W + a sparse difference.

    Trained: one number for each chosen weight. FISH Mask (Sung et al. 2021): the weights of the
    largest empirical Fisher information. The paper ranks all weights together; here each matrix
    keeps its own share, so that shapes are known before anything is measured.
    """

    OWN = (".values", ".index")
    index: Tensor  # (count,) places in the flattened weight

    def __init__(self, base: nn.Linear, share: float):
        super().__init__()
        self.weight, self.bias = base.weight, base.bias
        count = max(1, round(share * base.weight.numel()))
        self.values = nn.Parameter(torch.zeros(count))
        self.register_buffer("index", torch.arange(count))

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        return F.linear(x, self._changed(), self.bias)

    def choose(self, information: Tensor) -> None:
        """Take the weights of most information: a matrix shaped like the weight."""
        self.index.copy_(information.flatten().topk(len(self.index)).indices.sort().values)

    @torch.no_grad()
    def merge(self) -> None:
        """Add the difference to the weight."""
        self.weight.copy_(self._changed())
        self.values.zero_()

    def _changed(self) -> Tensor:
        values = self.values.to(self.weight.dtype)
        return self.weight.flatten().index_add(0, self.index, values).view_as(self.weight)


def choose_sparse(model: nn.Module, losses: Iterator[Callable[[], Tensor]]) -> None:
    """Choose the weights of every `SparseLinear` by the mean squared gradient of single samples.

    `losses`: the loss of one sample after the other, each computed when called.
    """
    chosen = [module for module in model.modules() if isinstance(module, SparseLinear)]
    others = [p for p in model.parameters() if p.requires_grad]
    found = [torch.zeros_like(module.weight) for module in chosen]
    for module in chosen:
        module.weight.requires_grad_(True)
    for loss in losses:
        loss().backward()
        for total, module in zip(found, chosen, strict=True):
            assert module.weight.grad is not None
            total += module.weight.grad**2
            module.weight.grad = None
    for total, module in zip(found, chosen, strict=True):
        module.weight.requires_grad_(False)
        module.choose(total)
    for parameter in others:
        parameter.grad = None


def _add_lora(model: AnomalystModel, recipe: TuningRecipe) -> None:
    """LoRA on the attention's projections, by the names that this model has for them."""
    language_model = model.language_model
    names = {name.rsplit(".", 1)[-1] for name, _ in language_model.named_modules()}
    wanted = recipe.lora_targets
    targets = [name for name in (*wanted, "out_proj", "c_attn", "c_proj") if name in names]
    if not targets:
        raise AnomalystError(
            f"lora_targets {', '.join(wanted)}: none is in a {type(language_model).__name__}."
        )
    config = LoraConfig(
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules=targets,
    )
    inject_adapter_in_model(config, language_model)


def _add_ia3(model: AnomalystModel, recipe: TuningRecipe) -> None:
    """Factors of keys, values and the inner activations of the MLP (Liu et al. 2022)."""
    del recipe
    try:
        inject_adapter_in_model(IA3Config(), model.language_model)
    except ValueError as error:
        kind = type(model.language_model).__name__
        raise AnomalystError(f"train ia3: peft has none for a {kind} ({error}).") from error


def _add_adapters(model: AnomalystModel, recipe: TuningRecipe) -> None:
    """Two bottlenecks in every block, after the attention and after the MLP (Houlsby et al.)."""
    there = [p for n, p in model.named_parameters() if ".patched_adapter_" in n]
    if not there:
        places = ("after_attention", "after_mlp")
        new = tuple(
            Patch(layer="adapter", at=at, width=recipe.adapter_width)  # type: ignore[arg-type]
            for at in places
        )
        made = insert(model.language_model, new)
        there = [p for layer in made.values() for p in layer.parameters()]
        model.config.patches = as_values((*as_patches(model.config.patches), *new))
    for parameter in there:
        parameter.requires_grad_(True)


def _virtual(kind: str) -> Callable[[AnomalystModel, TuningRecipe], None]:
    """Prefix or prompt tuning: those that are there, or new ones."""

    def add(model: AnomalystModel, recipe: TuningRecipe) -> None:
        there = model.config.virtual_tokens
        if there and there["kind"] != kind:
            raise AnomalystError(
                f"train {kind}: this model has a {there['kind']} already; go on with that, or "
                "start from another model."
            )
        if not there:
            insert_virtual_tokens(model.language_model, kind, recipe.virtual_tokens)  # type: ignore[arg-type]
            start_from_words(model.language_model, recipe.seed)
            model.config.virtual_tokens = {"kind": kind, "count": recipe.virtual_tokens}
        virtual_tokens_of(model.language_model).requires_grad_(True)

    return add


def _add_bitfit(model: AnomalystModel, recipe: TuningRecipe) -> None:
    """All biases of the blocks' linear layers (Ben Zaken et al. 2022); LLaMA's begin at zero."""
    del recipe
    text = model.config.text_config
    linear = list(_linear(model))
    if not any(layer.bias is not None for layer in linear):
        if not (hasattr(text, "attention_bias") and hasattr(text, "mlp_bias")):
            kind = type(model.language_model).__name__
            raise AnomalystError(
                f"train bitfit: a {kind} has no biases and can have none; train lora or ia3."
            )
        text.attention_bias = text.mlp_bias = True  # so that the shipped model has them, too
        for layer in linear:
            layer.bias = nn.Parameter(layer.weight.new_zeros(layer.out_features))
    for layer in linear:
        if layer.bias is not None:
            layer.bias.requires_grad_(True)


def _add_sparse(model: AnomalystModel, recipe: TuningRecipe) -> None:
    """A sparse difference beside every linear weight of the blocks."""
    for block in blocks_of(model.language_model).values():
        for name, layer in list(block.named_modules()):
            if isinstance(layer, nn.Linear) and ".patched_" not in f".{name}":
                new = SparseLinear(layer, recipe.sparse_share)
                new._modules.update(layer._modules)  # layers put inside it
                new._forward_pre_hooks.update(layer._forward_pre_hooks)
                block.set_submodule(name, new)
    if not any(isinstance(module, SparseLinear) for module in model.modules()):
        kind = type(model.language_model).__name__
        raise AnomalystError(f"train sparse: a {kind} has no linear layers; train lora instead.")


def _linear(model: AnomalystModel) -> Iterator[Any]:
    """The linear layers of the language model's blocks, without what was put in."""
    for block in blocks_of(model.language_model).values():
        for name, layer in block.named_modules():
            if isinstance(layer, nn.Linear | Conv1D) and ".patched_" not in f".{name}":
                yield layer


_APPLY: dict[str, Callable[[AnomalystModel, TuningRecipe], None]] = {
    "lora": _add_lora,
    "ia3": _add_ia3,
    "adapter": _add_adapters,
    "prefix": _virtual("prefix"),
    "prompt": _virtual("prompt"),
    "bitfit": _add_bitfit,
    "sparse": _add_sparse,
}
