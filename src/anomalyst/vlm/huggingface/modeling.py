"""`AnomalystModel`: prompt learner, projector, text-aligned decoder, language model."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, GenerationMixin, PreTrainedModel

from anomalyst.detection.classifiers.text_aligned import TextAlignedDecoder
from anomalyst.vlm.huggingface.configuration import AnomalystConfig
from anomalyst.vlm.huggingface.layer_patches import as_patches, insert
from anomalyst.vlm.huggingface.varied_llama import vary
from anomalyst.vlm.huggingface.virtual_tokens import insert_virtual_tokens
from anomalyst.vlm.projector import Projector
from anomalyst.vlm.prompt_learner import PromptLearner

SHOWN = ("anomaly_map", "regions", "image_embedding", "patches")  # what a picture is shown as


class AnomalystModel(PreTrainedModel, GenerationMixin):
    """Pictures enter as what encoder and detector made of them (see `AnomalystProcessor`)."""

    config_class = AnomalystConfig
    base_model_prefix = "anomalyst"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules: list[str] = []

    def __init__(self, config: AnomalystConfig):
        super().__init__(config)
        width = config.text_config.hidden_size
        self.language_model = AutoModelForCausalLM.from_config(config.text_config)
        vary(self.language_model, config.blocks)
        insert(self.language_model, as_patches(config.patches))
        if config.virtual_tokens:
            insert_virtual_tokens(self.language_model, **config.virtual_tokens)
        self.prompt_learner = PromptLearner(
            width, base_tokens=config.base_tokens, regions=config.regions
        )
        self.projector = Projector(
            width,
            embedding=config.embedding_width,
            patch=config.patch_width,
            grid=config.patch_grid,
        )
        levels = config.level_widths
        self.text_aligned = TextAlignedDecoder(levels, config.state_width) if levels else None
        self.post_init()

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        inner = self.language_model._tied_weights_keys or {}
        return {f"language_model.{k}": f"language_model.{v}" for k, v in dict(inner).items()}

    def _init_weights(self, module: nn.Module) -> None:
        """Every part starts as its own constructor leaves it."""

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.language_model.get_output_embeddings()

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.language_model.set_output_embeddings(new_embeddings)

    def embedded(
        self,
        input_ids: Tensor,
        anomaly_map: Tensor | None = None,
        regions: Tensor | None = None,
        image_embedding: Tensor | None = None,
        patches: Tensor | None = None,
    ) -> Tensor:
        """Token ids (B, T) and what is shown -> embeddings (B, T, E).

        The placeholders `config.image_token_id` are filled in order. Raises ValueError if a prompt
        has another number of them than `config.num_image_tokens`, or nothing to fill them with.
        """
        holes = input_ids == self.config.image_token_id
        words = self.get_input_embeddings()(input_ids.masked_fill(holes, 0))
        if not holes.any():
            return words
        if anomaly_map is None or regions is None or image_embedding is None or patches is None:
            raise ValueError(f"a prompt with a picture needs all of {', '.join(SHOWN)}.")
        if not bool((holes.sum(1) == self.config.num_image_tokens).all()):
            raise ValueError(
                f"each prompt needs {self.config.num_image_tokens} placeholders for its picture; "
                f"these have {holes.sum(1).tolist()}."
            )
        precision = self.prompt_learner.map_out.weight.dtype
        soft = torch.cat(
            [
                self.prompt_learner(anomaly_map.to(precision), regions.to(precision)),
                self.projector(image_embedding.to(precision), patches.to(precision)),
            ],
            1,
        )  # (B, P, E)
        return words.masked_scatter(holes[..., None], soft.to(words.dtype))

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        anomaly_map: Tensor | None = None,
        regions: Tensor | None = None,
        image_embedding: Tensor | None = None,
        patches: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """The language model's output (loss where `labels`, logits, cache).

        input_ids (B, T) with placeholders; anomaly_map (B, 1, H, W) in [0, 1], regions (B, R, 8),
        image_embedding (B, D), patches (B, D', h, w); labels (B, T), -100 where nothing is learnt.
        """
        if inputs_embeds is None:
            assert input_ids is not None
            inputs_embeds = self.embedded(input_ids, anomaly_map, regions, image_embedding, patches)
        return self.language_model(
            inputs_embeds=inputs_embeds, attention_mask=attention_mask, labels=labels, **kwargs
        )

    @torch.no_grad()
    def generate(self, input_ids: Tensor | None = None, **kwargs: Any) -> Any:
        """As `GenerationMixin.generate`, of a prompt with a picture; only the new tokens."""
        if input_ids is None:
            return super().generate(**kwargs)
        if self.config.image_token_id is not None:  # nobody could fill what it would say
            kwargs.setdefault("suppress_tokens", [self.config.image_token_id])
        shown = {name: kwargs.pop(name) for name in SHOWN if name in kwargs}
        embeddings = self.embedded(input_ids, **shown)
        if kwargs.get("attention_mask") is None:
            kwargs["attention_mask"] = torch.ones_like(input_ids)
        return super().generate(inputs_embeds=embeddings, **kwargs)
