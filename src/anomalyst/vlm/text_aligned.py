"""The text-aligned image decoder: one picture and words for "sound" and "damaged" -> a map.

AnomalyGPT (Gu et al., AAAI 2024, section 3.3, equation 2), after WinCLIP and APRIL-GAN: patch
features of several levels are projected to the space of a text tower and compared with the mean
embedding of sentences that say normal and of sentences that say abnormal. The embedded default has
no text tower: there the two states are learned vectors, the same for every product.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.backbones.embedded import read_weights
from anomalyst.errors import AnomalystError
from anomalyst.types import Features

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


def state_sentences(name: str) -> tuple[list[str], list[str]]:
    """What is said of a normal product and of an abnormal one, over all states and templates."""
    article = f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
    return tuple(  # type: ignore[return-value]
        [t.format(s.format(article)) for s in states for t in TEMPLATES]
        for states in (NORMAL_STATES, ABNORMAL_STATES)
    )


class TextAlignedDecoder(nn.Module):
    """Levels (B, D_l, h_l, w_l) -> logits of "anomalous" (B, 1, H, W), no good picture needed.

    One linear layer per level to `width`, cosine with the two states times a learned scale, softmax
    over the two; the probabilities are averaged over the levels.
    """

    def __init__(self, level_widths: Sequence[int], width: int):
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(d, width, 1) for d in level_widths])
        self.states = nn.Parameter(torch.randn(2, width))  # normal, abnormal; if no text tower
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))

    def forward(
        self, features: Features, size_hw: tuple[int, int], states: Tensor | None = None
    ) -> Tensor:
        """`states` (2, width) or (B, 2, width): embeddings from a text tower, of any length."""
        levels = self.level_logits(features, size_hw, states)
        # The mean of probabilities, kept as a logit so that losses stay finite.
        stacked = torch.stack(levels)  # (L, B, 1, H, W)
        yes = F.logsigmoid(stacked).logsumexp(0)
        return yes - F.logsigmoid(-stacked).logsumexp(0)

    def level_logits(
        self, features: Features, size_hw: tuple[int, int], states: Tensor | None = None
    ) -> list[Tensor]:
        """The logits of each level, (B, 1, H, W): abnormal less normal, bilinear to `size_hw`."""
        if len(features.levels) < len(self.layers):
            raise ValueError(
                f"the text-aligned decoder reads {len(self.layers)} levels; "
                f"the encoder gives {len(features.levels)}."
            )
        both = F.normalize(self.states if states is None else states, dim=-1)
        both = both.expand(len(features.embedding), 2, -1)  # (B, 2, width)
        found = []
        for layer, level in zip(self.layers, features.levels, strict=False):
            projected = F.normalize(layer(level), dim=1)  # (B, width, h, w)
            cosine = torch.einsum("bdhw,bsd->bshw", projected, both) * self.log_scale.exp()
            grown = F.interpolate(cosine, size=list(size_hw), mode="bilinear", align_corners=False)
            found.append(grown[:, 1:] - grown[:, :1])
        return found


def load_text_aligned(path: Path) -> TextAlignedDecoder:
    """The decoder that the text_aligned task wrote, ready to infer.

    Raises AnomalystError if the file is missing, broken or holds no such decoder.
    """
    tensors, metadata = read_weights(path, "text_aligned")
    decoder = TextAlignedDecoder(metadata["level_widths"], metadata["width"])
    decoder.load_state_dict(tensors, strict=True)
    return decoder.eval().requires_grad_(False)


@torch.inference_mode()
def text_states(source: str, name: str) -> Tensor:
    """The two states (2, D) of a product by the text tower of a CLIP or SigLIP folder.

    Unit embeddings averaged over the ensemble of sentences, and made unit again. Raises
    AnomalystError if the folder is not there or holds no text tower.
    """
    from transformers import AutoModel, AutoTokenizer

    try:
        model = AutoModel.from_pretrained(source, local_files_only=True).eval()
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    except (OSError, ValueError) as error:
        raise AnomalystError(
            f"{source}: no model with a text tower can be read ({error})."
        ) from error
    if not hasattr(model, "get_text_features"):
        raise AnomalystError(
            f"{source}: is a {type(model).__name__}, which has no text tower; CLIP or SigLIP has."
        )
    means = []
    for sentences in state_sentences(name):
        tokens = tokenizer(sentences, padding=True, truncation=True, return_tensors="pt")
        found = model.get_text_features(**tokens)
        vectors = getattr(found, "pooler_output", found)  # (S, D); a tensor before transformers 5.4
        means.append(F.normalize(F.normalize(vectors, dim=1).mean(0), dim=0))
    return torch.stack(means)
