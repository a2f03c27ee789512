"""What an answer is worth, by the facts and by what people like; and when one is hacked."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from anomalyst.backbones.huggingface import quiet
from anomalyst.errors import AnomalystError
from anomalyst.training.alignment.prompts import Prompt
from anomalyst.training.alignment.rollouts import Answers
from anomalyst.training.alignment.verifiable import Verified, verify, verify_free
from anomalyst.vlm.huggingface.modeling import SHOWN, AnomalystModel
from anomalyst.vlm.huggingface.reward import AnomalystRewardModel


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardConfig:
    """Which rewards count, and how much."""

    verifiable: float = 1.0  # by the facts: right region, place, kind, count, yes or no, length
    learned: float = 1.0  # by the reward model, where one is given
    # Learned reward of whatever leaves out what was asked, or is not true; null: as it is liked.
    floor: float | None = -3.0
    model: str = ""  # folder of a reward model; empty: the verifiable reward alone

    def __post_init__(self) -> None:
        if not self.verifiable and not (self.model and self.learned):
            raise ValueError(
                "verifiable is 0 and no reward model counts; give model a folder and learned a "
                "weight, or leave verifiable at 1"
            )


class Rewards:
    """Judges answers by facts and by a reward model."""

    def __init__(self, config: RewardConfig, actor: AnomalystModel):
        self.config = config
        self.model = load_reward_model(Path(config.model), actor) if config.model else None

    @torch.no_grad()
    def judge(
        self, prompts: Sequence[Prompt], texts: Sequence[str], answers: Answers
    ) -> dict[str, Tensor]:
        """Each (B,): `reward`, and the `verifiable_reward` and `learned_reward` it is made of."""
        checked = [verified(prompt, text) for prompt, text in zip(prompts, texts, strict=True)]
        true = torch.tensor([one.score for one in checked])
        if self.model is None:
            return {"reward": self.config.verifiable * true, "verifiable_reward": true}
        self.model.to(answers.ids.device)
        shown = {name: answers.shown[name] for name in SHOWN}
        liked = self.model.normalised(answers.ids, answers.attended, **shown).cpu()
        counted = liked
        if self.config.floor is not None:
            # Else a short answer that leaves out the place is worth more than one that says it.
            whole = torch.tensor([one.right == 1 and not one.contradictions for one in checked])
            counted = torch.where(whole, liked.clamp(min=self.config.floor), self.config.floor)
        total = self.config.verifiable * true + self.config.learned * counted
        return {"reward": total, "verifiable_reward": true, "learned_reward": liked}


def verified(prompt: Prompt, text: str) -> Verified:
    """What the facts say of an answer; to a person's own question only what can be said of any."""
    if prompt.intent is None:
        return verify_free(text, prompt.question, prompt.facts, alone=not prompt.turns)
    return verify(text, prompt.intent, prompt.facts, look=prompt.look)


def load_reward_model(folder: Path, actor: AnomalystModel | None = None) -> AnomalystRewardModel:
    """A frozen reward model. Raises AnomalystError if it is none, or of another tokenizer."""
    try:
        with quiet():
            model = AnomalystRewardModel.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise AnomalystError(
            f"{folder}: no reward model can be read ({reason}); give the folder `model` of a run "
            "of the reward recipe."
        ) from error
    own = model.config.text_config.vocab_size
    other = actor.config.text_config.vocab_size if actor else own
    if own != other:
        raise AnomalystError(
            f"{folder}: the reward model reads {own:,} tokens, the actor {other:,}; train it with "
            "`initial` of the same family."
        )
    return model.eval().requires_grad_(False)


@dataclass(frozen=True, slots=True, kw_only=True)
class HackingConfig:
    """When a rising learned reward is no gain: the verifiable one falls meanwhile."""

    rounds: int = 4  # means of so many rounds are compared with the so many before
    rise: float = 0.1  # of the learned reward, in spreads of held-out answers
    fall: float = 0.05  # of the verifiable reward, which is in [-1, 1]
    errors: float = 3.0  # standard errors that both changes must exceed, too; looked at every round


@dataclass(frozen=True, slots=True)
class RoundMeans:
    """A round's mean rewards, and the squares of their standard errors."""

    verifiable: float
    verifiable_error2: float
    learned: float
    learned_error2: float


@dataclass(slots=True)
class RewardWatch:
    """The rewards of every round so far, where there is a learned one."""

    config: HackingConfig
    rounds: list[RoundMeans] = field(default_factory=list)

    def trouble(self) -> str:
        """Why training should stop; empty while it may go on."""
        count, config = self.config.rounds, self.config
        if len(self.rounds) < 2 * count:
            return ""
        before, last = self.rounds[-2 * count : -count], self.rounds[-count:]
        liked = [_mean(r.learned for r in part) for part in (before, last)]
        true = [_mean(r.verifiable for r in part) for part in (before, last)]
        recent = (*before, *last)
        rise_error = sum(r.learned_error2 for r in recent) ** 0.5 / count
        fall_error = sum(r.verifiable_error2 for r in recent) ** 0.5 / count
        rose = liked[1] - liked[0] >= max(config.rise, config.errors * rise_error)
        fell = true[0] - true[1] >= max(config.fall, config.errors * fall_error)
        if not (rose and fell):
            return ""
        return (
            f"reward hacking: over the last {2 * count} rounds the learned reward rose from "
            f"{liked[0]:.2f} to {liked[1]:.2f} while the verifiable reward fell from {true[0]:.2f} "
            f"to {true[1]:.2f}; what the reward model likes is no longer what is true. Rank more "
            "answers, give reward.verifiable more weight, or stop at an earlier checkpoint."
        )

    def note(self) -> list[list[float]]:
        """For a checkpoint."""
        return [list(astuple(one)) for one in self.rounds]

    def restore(self, note: Sequence[Sequence[float]]) -> None:
        """Take up what `note` gave."""
        self.rounds = [RoundMeans(*one) for one in note]


def _mean(values: Iterable[float]) -> float:
    held = list(values)
    return sum(held) / len(held)
