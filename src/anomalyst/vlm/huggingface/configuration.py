"""What an Anomalyst model is made of."""

from typing import Any

from transformers import AutoConfig, PreTrainedConfig

OWN_VISION = "hf:./vision"  # the folder of a trained encoder, inside the model's own


class AnomalystConfig(PreTrainedConfig):
    """A language model that is told and shown what a detector found.

    `vision` is an encoder's specification (`embedded`, `hf:DIR`), frozen and not saved with the
    model; where `trained_vision` says that they were trained together it is `OWN_VISION`, saved
    beside it, and no other will do. `embedding_width` and `patch_width` are those of its embedding
    and of its last level. `level_widths` are those of the levels that the text-aligned decoder
    reads; empty: it has none. `facts`: whether the prompt says in words what was found; without, as
    AnomalyGPT, the model sees it by its prompt embeddings alone. `patches`: layers put into the
    language model (`vlm/huggingface/layer_patches.py`). `blocks`: what of its blocks is not LLaMA's
    own (`vlm/huggingface/varied_llama.py`). `virtual_tokens`: {"kind": "prefix" or
    "prompt", "count"}, learned places before all it reads (`vlm/huggingface/virtual_tokens.py`).
    """

    model_type = "anomalyst"
    sub_configs = {"text_config": AutoConfig}

    def __init__(
        self,
        text_config: Any = None,
        vision: str = "embedded",
        trained_vision: bool = False,
        embedding_width: int = 256,
        patch_width: int = 128,
        patch_grid: int = 3,
        base_tokens: int = 4,
        regions: int = 6,
        level_widths: tuple[int, ...] = (),
        state_width: int = 64,
        facts: bool = True,
        patches: Any = (),
        virtual_tokens: Any = None,
        blocks: Any = None,
        image_token_id: int | None = None,
        **kwargs: Any,
    ):
        if isinstance(text_config, dict):
            kind = text_config.get("model_type", "llama")
            text_config = AutoConfig.for_model(
                kind, **{k: v for k, v in text_config.items() if k != "model_type"}
            )
        self.text_config = text_config if text_config is not None else AutoConfig.for_model("llama")
        self.vision, self.trained_vision = vision, trained_vision
        self.embedding_width, self.patch_width = embedding_width, patch_width
        self.patch_grid, self.base_tokens, self.regions = patch_grid, base_tokens, regions
        self.level_widths, self.state_width = list(level_widths), state_width
        self.facts = facts
        self.patches = list(patches)
        self.virtual_tokens = dict(virtual_tokens or {})
        self.blocks = dict(blocks or {})
        self.image_token_id = image_token_id
        # Generation stops where the language model's own does.
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            kwargs.setdefault(name, getattr(self.text_config, name, None))
        kwargs.setdefault("tie_word_embeddings", bool(self.text_config.tie_word_embeddings))
        super().__init__(**kwargs)

    @property
    def num_image_tokens(self) -> int:
        """How many placeholders the prompt holds for what the model is shown."""
        return self.base_tokens + 9 + self.regions + 1 + self.patch_grid**2
