"""Words for a sound product and for a damaged one, embedded by a text tower: two states.

The prompt ensemble of WinCLIP (Jeong et al., CVPR 2023, section 4.1) and AnomalyGPT (section 3.3):
states of the product times templates of a picture, in words of ours or of a user's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyst.backbones.clip import has_text_tower, read_towers, text_features, tokenized
from anomalyst.errors import AnomalystError

# Words of ours for the two states, with the product's name as {}.
NORMAL_STATES = (
    "{}", "sound {}", "intact {}", "faultless {}", "good {}", "{} as it should be",
    "{} without damage", "{} without any flaw", "{} in perfect condition",
)  # fmt: skip
ABNORMAL_STATES = (
    "damaged {}", "defective {}", "flawed {}", "{} with damage", "{} with a flaw",
    "{} with a defect", "{} in bad condition", "{} that is not as it should be",
)  # fmt: skip
TEMPLATES = (
    "a photo of {}.",
    "a picture of {}.",
    "a close-up of {}.",
    "{} in an inspection image.",
)
DETERMINERS = ("a", "an", "the", "this", "no", "some", "my", "our", "one")
# Encoders of sentences: a sentence is the mean of its tokens' last states.
SENTENCE_FAMILIES = ("bert", "distilbert", "mpnet", "roberta", "xlm-roberta", "modernbert")


def words_of(name: str) -> str:
    """A folder's name as words: paper_brown -> paper brown."""
    return " ".join(name.replace("_", " ").replace("-", " ").split()) or "object"


@dataclass(frozen=True, slots=True, kw_only=True)
class States:
    """What is said of a sound product and of a damaged one, its name as {}."""

    normal: tuple[str, ...] = NORMAL_STATES
    abnormal: tuple[str, ...] = ABNORMAL_STATES

    @classmethod
    def read(cls, good: Path, bad: Path) -> "States":
        """From two text files, a state on each line; {} is the name, else it follows the words.

        Blank lines and what begins with # do not count. Raises AnomalystError for a file that
        cannot be read or holds no state, and for a state that both hold.
        """
        normal, abnormal = _lines(good), _lines(bad)
        if both := sorted(set(map(str.lower, normal)) & set(map(str.lower, abnormal))):
            raise AnomalystError(
                f"--states: {both[0].removesuffix(' {}')!r} is in {good} and in {bad}; a state is "
                "either normal or abnormal, so take it out of one."
            )
        return cls(normal=normal, abnormal=abnormal)

    def sentences(self, name: str) -> tuple[list[str], list[str]]:
        """What is said of a normal product and of an abnormal one, over all templates."""
        return tuple(  # type: ignore[return-value]
            [t.replace("{}", _phrase(s, name)) for s in states for t in TEMPLATES]
            for states in (self.normal, self.abnormal)
        )


def _phrase(state: str, name: str) -> str:
    """ "sound {}" of a screw: "a sound screw"; what begins with a determiner stays."""
    phrase = state.replace("{}", words_of(name))
    if phrase.split()[0].lower() in DETERMINERS:
        return phrase
    return f"{'an' if phrase[0].lower() in 'aeiou' else 'a'} {phrase}"


def _lines(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AnomalystError(f"--states {path}: cannot be read as text ({error}).") from error
    said = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not said:
        raise AnomalystError(
            f"--states {path}: holds no state; write one on each line, as in `scratched {{}}` or "
            "`{} with a dent`."
        )
    return tuple(line if "{}" in line else f"{line} {{}}" for line in said)


class TextTower:
    """Sentences -> vectors, by the text tower of CLIP or SigLIP or an encoder of sentences."""

    def __init__(self, source: str):
        """Raises AnomalystError if the folder is not there or holds no text tower."""
        if not Path(source).is_dir():
            raise AnomalystError(
                f"--text-tower {source}: there is no such folder; give that of a CLIP, SigLIP or "
                "sentence encoder, or of a run of the text_aligned recipe."
            )
        self.source = source
        self.model, self.tokenizer, _ = read_towers(source, f"--text-tower {source}")
        self.family = str(self.model.config.model_type)
        if not has_text_tower(self.model) and self.family not in SENTENCE_FAMILIES:
            raise AnomalystError(
                f"--text-tower {source}: is a {type(self.model).__name__}, which has no text "
                f"tower; CLIP or SigLIP has, or an encoder of sentences "
                f"({', '.join(SENTENCE_FAMILIES)})."
            )

    @torch.inference_mode()
    def embed(self, sentences: Sequence[str]) -> Tensor:
        """Unit vectors (S, D) float32."""
        tokens = tokenized(self.model, self.tokenizer, sentences)
        if has_text_tower(self.model):
            vectors = text_features(self.model, tokens)
        else:
            last = self.model(**tokens).last_hidden_state  # (S, T, D)
            there = tokens["attention_mask"][..., None].float()
            vectors = (last * there).sum(1) / there.sum(1)
        return F.normalize(vectors.float(), dim=1)

    def states(self, name: str, states: States | None = None) -> Tensor:
        """The two states (2, D) of a product: the mean of its sentences, unit length again."""
        both = (states or States()).sentences(name)
        return torch.stack([F.normalize(self.embed(said).mean(0), dim=0) for said in both])
