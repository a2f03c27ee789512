"""PPO and GRPO, written down: everything that decides a run of reinforcement learning."""

from dataclasses import dataclass, field
from typing import Literal

from anomalyst.training.alignment.rewards import HackingConfig, RewardConfig
from anomalyst.training.data.feature_cache import FeatureCacheRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class KLConfig:
    """How dear it is to leave the model of the start."""

    start: float = 0.05  # coefficient of log pi - log pi_ref inside PPO's reward
    target: float = 2.0  # nats an answer, to which the coefficient is steered; 0: it stays
    horizon: float = 200.0  # answers in which it may change by a fifth
    weight: float = 0.04  # of GRPO's KL term, in its loss


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRecipe(FeatureCacheRecipe):
    """Step 3 of InstructGPT; `batch` counts answers, `initial` is the model after step 1."""

    task: Literal["ppo"] = "ppo"
    algorithm: Literal["ppo", "grpo"] = "ppo"
    reward: RewardConfig = field(default_factory=RewardConfig)
    preferences: str = ""  # rankings whose questions are asked among the grammar's; empty: none
    own_questions: float = 0.3  # share of questions from `preferences`
    imagined: float = 0.5  # share of drawn scenes whose regions never were
    turns: int = 2  # most of a dialogue; the last is answered
    epochs: int = 2  # steps trained on one round of answers
    group: int = 4  # GRPO: answers to each question
    answer_tokens: int = 80
    temperature: float = 1.0
    clip: float = 0.2
    value_clip: float = 0.2
    value_weight: float = 0.1
    gamma: float = 1.0
    lam: float = 0.95
    kl: KLConfig = field(default_factory=KLConfig)
    pretraining_weight: float = 0.0  # of the cross-entropy of the grammar's dialogues beside it
    hacking: HackingConfig = field(default_factory=HackingConfig)

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.steps % self.epochs:
            raise ValueError(
                f"steps is {self.steps} and epochs {self.epochs}; steps must be a multiple of it"
            )
        if self.algorithm == "grpo" and (self.group < 2 or self.batch % self.group):
            raise ValueError(
                f"group is {self.group} and batch {self.batch}; groups of 2 or more must fill it"
            )
        if not 0 <= self.own_questions <= 1:
            raise ValueError(f"own_questions is {self.own_questions}; a share is needed")
