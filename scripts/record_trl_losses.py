"""Records what TRL's reward, DPO and GRPO trainers make of tiny cases, for the tests.

Needs trl 1.16.0 and `datasets`; neither is a dependency of ours, so they lie in their own folder:

    pip install --no-deps --target ./trl trl==1.16.0 datasets dill multiprocess xxhash
    PYTHONPATH=./trl python scripts/record_trl_losses.py tests/data

Writes tests/data/trl_losses.json: what goes into each loss and what comes out, read from the
trainer's own frame while it trains a random LLaMA.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, RewardConfig, RewardTrainer
from trl import __version__ as trl_version

BARE = {
    "bf16": False, "use_cpu": True, "gradient_checkpointing": False, "report_to": [], "seed": 0,
    "save_strategy": "no", "lr_scheduler_type": "constant", "max_grad_norm": 0.0, "optim": "sgd",
    "disable_tqdm": True, "logging_steps": 1,
}  # fmt: skip
PROMPTS = ["w2 w3 w4", "w5 w6", "w7 w8 w9 w10"]
PAIRS = {
    "prompt": ["w2 w3", "w4 w5 w6", "w7", "w8 w9"],
    "chosen": [" w10 w11", " w12", " w13 w14 w15", " w16 w17"],
    "rejected": [" w20", " w21 w22 w23", " w24 w25", " w26 w27 w28 w29"],
}
MARGINS = [0.0, 0.5, 1.0, 2.0]
GROUPS = [[1.0, 0.0, 0.5, 2.0], [0.25, 0.25, 0.25, 0.25], [0.0, 0.0, 0.0, 1.0]]


def tokenizer() -> PreTrainedTokenizerFast:
    words = {"<pad>": 0, "<eos>": 1} | {f"w{i}": i for i in range(2, 64)}
    inner = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>")


def network(made: Any, seed: int) -> Any:
    torch.manual_seed(seed)
    return made(
        LlamaConfig(
            vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_labels=1,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
            initializer_range=0.25, pad_token_id=0, eos_token_id=1, bos_token_id=None,
        )
    )  # fmt: skip


def watch(trainer: Any, method: str, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Each call's local variables of these names, as they are when the method returns."""
    seen: list[dict[str, Any]] = []
    inner: Callable[..., Any] = getattr(trainer, method)
    code = inner.__func__.__code__  # type: ignore[attr-defined]

    def called(*args: Any, **kwargs: Any) -> Any:
        def at_return(frame: Any, event: str, _value: Any) -> None:
            if event == "return" and frame.f_code is code:
                seen.append({name: plain(frame.f_locals[name]) for name in names})

        sys.setprofile(at_return)
        try:
            return inner(*args, **kwargs)
        finally:
            sys.setprofile(None)

    setattr(trainer, method, called)
    return seen


def plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().tolist()
    return {k: plain(v) for k, v in value.items()} if isinstance(value, dict) else value


def reward(folder: str, margin: bool) -> dict[str, Any]:
    trainer = RewardTrainer(
        network(LlamaForSequenceClassification, 3),
        RewardConfig(
            folder, per_device_train_batch_size=4, max_steps=1, learning_rate=0.1, max_length=None,
            **BARE,
        ),
        train_dataset=Dataset.from_dict(PAIRS | ({"margin": MARGINS} if margin else {})),
        processing_class=tokenizer(),
    )  # fmt: skip
    seen = watch(trainer, "compute_loss", ("rewards_chosen", "rewards_rejected", "loss", "inputs",
                                          "mean_accuracy"))  # fmt: skip
    trainer.train()
    (held,) = seen
    inputs = held.pop("inputs")  # in the order of the batch
    return held | ({"margin": inputs["margin"]} if margin else {})


def dpo(folder: str) -> dict[str, Any]:
    trainer = DPOTrainer(
        network(LlamaForCausalLM, 1),
        network(LlamaForCausalLM, 2),
        DPOConfig(
            folder, per_device_train_batch_size=4, max_steps=1, learning_rate=0.1, beta=0.1,
            loss_type=["sigmoid"], **BARE,
        ),
        train_dataset=Dataset.from_dict(PAIRS),
        processing_class=tokenizer(),
    )  # fmt: skip
    seen = watch(trainer, "_compute_loss", (
        "chosen_logps", "rejected_logps", "ref_chosen_logps", "ref_rejected_logps", "loss",
        "chosen_rewards", "rejected_rewards", "margins", "reward_accuracies",
    ))  # fmt: skip
    trainer.train()
    return seen[0] | {"beta": 0.1}


def grpo(folder: str, loss_type: str) -> dict[str, Any]:
    network(LlamaForCausalLM, 1).save_pretrained(folder)
    rewards = [value for group in GROUPS for value in group]

    def told(completions: list[str], **_: Any) -> list[float]:
        assert len(completions) == len(rewards)
        return rewards

    trainer = GRPOTrainer(
        LlamaForCausalLM.from_pretrained(folder),
        told,
        GRPOConfig(
            folder, per_device_train_batch_size=12, num_generations=4, num_iterations=3,
            max_steps=3, max_completion_length=6, learning_rate=0.02, beta=0.04, epsilon=0.2,
            loss_type=loss_type, scale_rewards=True, temperature=1.0, shuffle_dataset=False,
            use_bias_correction_kl=False,  # by default TRL weighs the KL term by the ratio
            **BARE,
        ),
        train_dataset=Dataset.from_dict({"prompt": PROMPTS}),
        processing_class=tokenizer(),
    )  # fmt: skip
    # Ends some answers early, so that lengths differ: the random model says <eos> once in 60 words.
    trainer.generation_config.eos_token_id = trainer.eos_token_ids = list(range(1, 12))
    seen = watch(trainer, "_compute_loss", (
        "per_token_logps", "old_per_token_logps", "ref_per_token_logps", "mask", "advantages",
        "loss",
    ))  # fmt: skip
    trainer.train()
    first = seen[0]
    for step in seen:
        step["advantages"] = [value for (value,) in step["advantages"]]  # one for all its tokens
    same = ("mask", "advantages", "old_per_token_logps", "ref_per_token_logps")
    assert all(step[name] == first[name] for step in seen for name in same)
    steps = [{name: step[name] for name in ("per_token_logps", "loss")} for step in seen]
    return {
        "rewards": GROUPS, "group_advantages": list(trainer._logs["advantages"])[:12],
        "beta": 0.04, "clip": 0.2, "steps": steps,
        "clipped": [line["clip_ratio/region_mean"] for line in trainer.state.log_history[:3]],
    } | {name: first[name] for name in same}  # fmt: skip


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        told = {
            "versions": {"trl": trl_version, "transformers": transformers.__version__,
                         "torch": torch.__version__.split("+")[0]},
            "reward": reward(scratch, margin=False),
            "reward_margin": reward(scratch, margin=True),
            "dpo": dpo(scratch),
            "grpo": grpo(scratch, "grpo"),
            "dapo": grpo(scratch, "dapo"),
        }  # fmt: skip
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in told.items())
    (folder / "trl_losses.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
