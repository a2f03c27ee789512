"""`AnomalystProcessor`: text and what was found in a picture -> a model's inputs."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import BatchFeature, ProcessorMixin

from anomalyst.vlm.dialogue import IMAGE_TOKEN, Message, template_for
from anomalyst.vlm.visual_inputs import stacked


class AnomalystProcessor(ProcessorMixin):
    """A tokenizer that knows where the picture goes.

    In a text, `<image>` stands for `num_image_tokens` placeholders, filled by the model with what
    `language.showing.shown` gives.
    """

    attributes = ["tokenizer"]
    tokenizer_class = "AutoTokenizer"

    def __init__(
        self, tokenizer: Any = None, num_image_tokens: int = 29, chat_template: str | None = None
    ):
        self.num_image_tokens = num_image_tokens
        super().__init__(tokenizer, chat_template=chat_template)

    def __call__(
        self,
        text: str | Sequence[str],
        shown: dict[str, Tensor] | Sequence[dict[str, Tensor]] | None = None,
        *,
        padding: bool = True,
        return_tensors: str = "pt",
        **kwargs: Any,
    ) -> BatchFeature:
        """Token ids (B, T) and mask, with what is shown; one dict per text that has `<image>`."""
        texts = [text] if isinstance(text, str) else list(text)
        texts = [t.replace(IMAGE_TOKEN, IMAGE_TOKEN * self.num_image_tokens) for t in texts]
        inputs = dict(
            self.tokenizer(
                texts,
                padding=padding,
                return_tensors=return_tensors,
                add_special_tokens=False,
                **kwargs,
            )
        )
        inputs.pop("token_type_ids", None)
        if shown is not None:
            inputs |= shown if isinstance(shown, dict) else stacked(shown)
        return BatchFeature(inputs)

    def prompt(self, messages: Sequence[Message], family: str, *, answer: bool = True) -> str:
        """Messages as one text, by the tokenizer's chat template or the family's.

        `answer`: end where the assistant is to speak.
        """
        return self.tokenizer.apply_chat_template(
            list(messages),
            chat_template=self.chat_template or template_for(self.tokenizer, family),
            tokenize=False,
            add_generation_prompt=answer,
        )

    def training_ids(self, messages: Sequence[Message], family: str) -> tuple[Tensor, Tensor]:
        """Token ids (T,) of a whole dialogue, and labels: -100 but on what the assistant says."""
        ids: list[int] = []
        labels: list[int] = []
        for index, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before = self.prompt(messages[:index], family)
            whole = self.prompt(messages[: index + 1], family, answer=False)
            assert whole.startswith(before), "a template must only add to what was there"
            prompt, full = (self(t)["input_ids"][0].tolist() for t in (before, whole))
            # A token may straddle the seam: what differs belongs to the answer.
            seam = next((i for i, pair in enumerate(zip(prompt, full, strict=False))
                         if pair[0] != pair[1]), min(len(prompt), len(full)))  # fmt: skip
            labels += [-100] * (seam - len(labels)) + full[seam:]
            ids = full
        return torch.tensor(ids), torch.tensor(labels[: len(ids)])
