"""A tiny case of PPO as TRL's trainer ran it (`scripts/record_trl_ppo.py`), and its networks."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

DATA = Path(__file__).parent / "data"


@dataclass
class RecordedPPO:
    """One batch. `settings` is TRL's configuration, `steps` its figures, `held` its tensors."""

    shape: dict[str, Any]  # of the LLaMA configuration
    settings: dict[str, Any]
    steps: list[dict[str, float]]
    held: dict[str, Tensor]
    policy: LlamaForCausalLM
    value: LlamaForSequenceClassification
    reference: LlamaForCausalLM

    @property
    def responses(self) -> Tensor:
        """(B, T) token ids, padded on the right."""
        return self.held["query_responses"][:, self.settings["context"] :]

    def per_token(self, model: LlamaForCausalLM) -> Tensor:
        """(B, T) log-probabilities of the responses at the case's temperature."""
        logits = model(**self._inputs()).logits[:, self.settings["context"] - 1 : -1]
        logits = logits / (self.settings["temperature"] + 1e-7)
        return logits.log_softmax(-1).gather(-1, self.responses[..., None])[..., 0]

    def values(self) -> Tensor:
        """(B, T) of the value model, at the token before each token of the response."""
        states = self.value.model(**self._inputs()).last_hidden_state
        return self.value.score(states)[:, self.settings["context"] - 1 : -1, 0]

    def optimizer(self) -> torch.optim.Optimizer:
        weights = [*self.policy.parameters(), *self.value.parameters()]
        rate = self.settings["learning_rate"]
        if self.settings["optim"] == "sgd":
            return torch.optim.SGD(weights, lr=rate)
        return torch.optim.AdamW(weights, lr=rate, weight_decay=0.0)

    def end(self, name: str) -> dict[str, Tensor]:
        """The recorded weights of `policy` or `value` after the last step."""
        return under(self.held, f"end.{name}.")

    def _inputs(self) -> dict[str, Tensor]:
        ids = self.held["query_responses"]
        real = ids != self.shape["pad_token_id"]
        return {
            "input_ids": ids, "attention_mask": real, "position_ids": real.cumsum(1) - real.long()
        }  # fmt: skip


def recorded_ppo(case: str) -> RecordedPPO:
    """`padded` (responses end early, SGD) or `full` (they do not, AdamW)."""
    note = json.loads((DATA / "trl_ppo.json").read_text(encoding="utf-8"))
    tensors = load_file(DATA / "trl_ppo.safetensors")
    start = under(tensors, "start.")

    def network(made: Any, name: str) -> Any:
        layers = note["layers"][name]
        model = made(LlamaConfig(**note["shape"], num_hidden_layers=layers, num_labels=1))
        fill(model, under(start, f"{name}."))
        return model

    reference = network(LlamaForCausalLM, "policy").requires_grad_(False)
    reference.model.norm.weight.copy_(start["reference.model.norm.weight"])
    settings = note["settings"] | note["cases"][case]
    return RecordedPPO(
        note["shape"],
        settings,
        settings.pop("steps"),
        under(tensors, f"{case}."),
        network(LlamaForCausalLM, "policy"),
        network(LlamaForSequenceClassification, "value"),
        reference,
    )


def fill(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """All weights of the model; the output is tied to the embedding and not named."""
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert set(missing) <= {"lm_head.weight"} and not unexpected, (missing, unexpected)


def under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
