"""Records what TRL's PPOTrainer makes of a tiny case, for tests/test_objectives.py.

Needs trl 1.12.0, the last release with `trl.experimental.ppo`, and `datasets`; neither is a
dependency of ours, so they lie in a folder of their own:

    pip install --no-deps --target ./trl trl==1.12.0 datasets dill multiprocess xxhash
    PYTHONPATH=./trl python scripts/record_trl_ppo.py tests/data

Writes tests/data/trl_ppo.safetensors and .json: weights before and after, and everything between as
the trainer itself computed it, read from its own frame. Only its sampling is replaced: the
responses are given, with the logits that the policy has for them.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from safetensors.torch import save_file
from tokenizers import Tokenizer, models
from torch import Tensor
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)
from trl import __version__ as trl_version
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

PAD, EOS, VOCABULARY, LENGTH = 0, 1, 64, 7
SHAPE = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 32, "tie_word_embeddings": True,
    "initializer_range": 0.25, "pad_token_id": PAD, "eos_token_id": EOS, "bos_token_id": None,
}  # fmt: skip
LAYERS = {"policy": 2, "value": 1}
COMMON = {
    "num_ppo_epochs": 3, "num_mini_batches": 1, "cliprange": 0.2, "cliprange_value": 0.2,
    "vf_coef": 0.1, "gamma": 1.0, "lam": 0.95, "kl_coef": 0.05, "kl_estimator": "k1",
    "whiten_rewards": False,
}  # fmt: skip
# Two batches from the same weights: answers that end early, and answers that fill their place.
CASES: dict[str, dict[str, Any]] = {
    "padded": {
        "ends": (6, 3, 4, 1, 0, 5), "temperature": 0.7, "optim": "sgd", "learning_rate": 0.01
    },
    "full": {
        "ends": (6,) * 6, "temperature": 1.0, "optim": "adamw_torch", "learning_rate": 0.001
    },
}  # fmt: skip
PROMPT_TOKENS = (3, 5, 2, 5, 4, 3)
CONVENTIONS = {
    "temperature": "logits are divided by temperature + 1e-7, in sampling, reference and training",
    "padding": "a response ends at the token before its first pad; T is the padded length",
    "positions": "attention mask = not pad; position = number of real tokens before it",
    "mask": "response tokens: policy loss, whitening of advantages",
    "mask_p1": "mask and one place more where there is one: values, value loss, reward, GAE",
    "logprobs": "1.0 where not in mask, in policy, old policy and reference alike",
    "values": "of token t: the value head at the token before it; 0 where not in mask_p1",
    "kl": "k1: log pi - log pi_ref of the sampled token; -kl_coef times it is each token's reward",
    "score": "added at the place after the last token, or at the last token of a full response",
    "advantages": "GAE over all T places, returns = advantages + values, then whitened over mask: "
    "less the mean, by rsqrt(unbiased variance + 1e-8); 0 where not in mask",
    "pg_loss": "max(-A r, -A clip(r)), mean over all tokens of the batch, not per response",
    "vf_loss": "0.5 x mean over mask_p1 of max((v - R)^2, (clip(v, v_old +- 0.2) - R)^2)",
    "loss": "pg_loss + vf_coef x vf_loss; no entropy bonus; gradients are not clipped",
    "approxkl": "0.5 x mean of (log pi - log pi_old)^2 over all B x T places, padding as zeros",
    "entropy": "mean over all B x T places, padding too, of the scaled logits' entropy",
}


def tokenizer() -> PreTrainedTokenizerFast:
    words = {"<pad>": PAD, "<eos>": EOS} | {f"w{i}": i for i in range(2, VOCABULARY)}
    inner = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>", padding_side="left"
    )


def network(kind: str, layers: int, seed: int) -> Any:
    torch.manual_seed(seed)
    config = LlamaConfig(**SHAPE, num_hidden_layers=layers, num_labels=1)
    made = LlamaForCausalLM if kind == "policy" else LlamaForSequenceClassification
    return made(config)


def fixed_responses(ends: tuple[int, ...]) -> Tensor:
    """Random tokens, the end-of-sequence token at `ends`, padding after it: (B, T)."""
    dice = torch.Generator().manual_seed(11)
    tokens = torch.randint(2, VOCABULARY, (len(ends), LENGTH), generator=dice)
    for row, end in enumerate(ends):
        tokens[row, end], tokens[row, end + 1 :] = EOS, PAD
    return tokens


class Recorder:
    """Stands where the trainer calls out, and copies what the trainer holds at that moment."""

    def __init__(self, trainer: PPOTrainer, ends: tuple[int, ...]):
        self.tensors: dict[str, Tensor] = {}
        self.steps: list[dict[str, float]] = []
        self.trainer, self.responses = trainer, fixed_responses(ends)
        self.whiten = ppo_trainer.masked_whiten
        self.backward, self.log = trainer.accelerator.backward, trainer.log
        ppo_trainer.batch_generation, ppo_trainer.masked_whiten = self.generate, self.whitened
        trainer.accelerator.backward, trainer.log = self.stepped, self.logged

    def generate(self, model: Any, queries: Tensor, _rows: int, pad: int, _config: Any) -> Any:
        whole = torch.cat([queries, self.responses], 1)
        with torch.no_grad():
            logits = ppo_trainer.forward(model, whole, pad).logits
        return whole, logits[:, queries.shape[1] - 1 : -1] / (self.trainer.args.temperature + 1e-7)

    def whitened(self, values: Tensor, mask: Tensor, **kwargs: Any) -> Tensor:
        held = sys._getframe(1).f_locals
        names = ("query_responses", "logprobs", "ref_logprobs", "values", "scores", "rewards",
                 "advantages", "returns")  # fmt: skip
        self.tensors = {name: held[name].clone() for name in names}
        self.tensors["mask"] = ~held["padding_mask"]
        self.tensors["mask_p1"] = ~held["padding_mask_p1"]
        result = self.whiten(values, mask, **kwargs)
        self.tensors["whitened_advantages"] = result.masked_fill(~mask, 0)
        return result

    def stepped(self, loss: Tensor) -> None:
        held = sys._getframe(1).f_locals
        self.backward(loss)
        inner = self.trainer.accelerator.unwrap_model(self.trainer.model)
        norms = torch.stack([p.grad.norm() for p in inner.parameters() if p.grad is not None])
        named = {name: float(held[name].detach()) for name in ("pg_loss", "vf_loss", "loss")}
        self.steps.append(named | {"grad_norm": float(norms.norm())})
        order = held["micro_batch_inds"]
        back = torch.empty_like(held["new_logprobs"]).index_copy(
            0, torch.as_tensor(order), held["new_logprobs"].detach()
        )
        self.tensors[f"logprobs_{len(self.steps)}"] = back

    def logged(self, metrics: dict[str, float]) -> None:
        held = sys._getframe(1).f_locals
        for i, step in enumerate(self.steps):
            for name in ("approxkl", "pg_clipfrac", "vf_clipfrac", "entropy", "ratio"):
                step[name] = float(held[f"{name}_stats"][i, 0, 0])
        self.log(metrics)


def record(name: str, case: dict[str, Any], folder: str) -> tuple[dict[str, Tensor], dict]:
    policy, value = network("policy", LAYERS["policy"], 1), network("value", LAYERS["value"], 2)
    reference, reward = network("policy", LAYERS["policy"], 1), network("value", 1, 3)
    with torch.no_grad():  # a policy that has left its reference, told by one small tensor
        reference.model.norm.weight.copy_(torch.linspace(0.7, 1.3, 32))
        reward.score.weight.mul_(0.5)
    start = {f"policy.{k}": v.clone() for k, v in policy.state_dict().items()}
    start |= {f"value.{k}": v.clone() for k, v in value.state_dict().items()}
    start["reference.model.norm.weight"] = reference.model.norm.weight.detach().clone()

    dice = torch.Generator().manual_seed(5)
    prompts = [torch.randint(2, 64, (n,), generator=dice).tolist() for n in PROMPT_TOKENS]
    settings = {k: v for k, v in case.items() if k != "ends"}
    args = PPOConfig(
        output_dir=folder, per_device_train_batch_size=6, total_episodes=6, response_length=LENGTH,
        gradient_checkpointing=False, bf16=False, use_cpu=True, seed=0, weight_decay=0.0,
        lr_scheduler_type="constant", num_sample_generations=0, report_to=[], save_strategy="no",
        **COMMON, **settings,
    )  # fmt: skip
    dataset = Dataset.from_dict({"input_ids": prompts})
    trainer = PPOTrainer(args, tokenizer(), policy, reference, reward, dataset, value)
    recorder = Recorder(trainer, case["ends"])
    trainer.train()

    end = {f"policy.{k}": v for k, v in policy.state_dict().items()}
    end |= {f"value.{k}": v for k, v in value.state_dict().items()}
    held = {f"start.{k}": v for k, v in start.items()}  # of both cases the same
    held |= {f"{name}.{k}": v for k, v in recorder.tensors.items()}
    held |= {f"{name}.end.{k}": v.clone() for k, v in end.items()}
    held.pop("start.policy.lm_head.weight"), held.pop(f"{name}.end.policy.lm_head.weight")  # tied
    context = max(PROMPT_TOKENS)
    return held, settings | {"context": context, "steps": recorder.steps}


def main(folder: Path) -> None:
    tensors: dict[str, Tensor] = {}
    told: dict[str, Any] = {}
    own = ppo_trainer.batch_generation, ppo_trainer.masked_whiten
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as scratch:
            held, told[name] = record(name, case, scratch)
        ppo_trainer.batch_generation, ppo_trainer.masked_whiten = own
        tensors |= held
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "trl_ppo.safetensors")
    versions = {"trl": trl_version, "transformers": transformers.__version__}
    versions["torch"] = torch.__version__.split("+")[0]
    note = {"versions": versions, "shape": SHAPE, "layers": LAYERS, "settings": COMMON,
            "conventions": CONVENTIONS, "cases": told}  # fmt: skip
    (folder / "trl_ppo.json").write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
