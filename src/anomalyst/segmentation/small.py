"""The segmenter that ships: Segment Anything in a small form, taught on drawn pictures."""

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from anomalyst.backbones.drawn_senses import load_drawn_senses
from anomalyst.backbones.embedded import load_embedded, read_weights
from anomalyst.config import from_mapping
from anomalyst.errors import AnomalystError
from anomalyst.io.geometry import Box, canvas_for, resize
from anomalyst.io.masks import mask_box
from anomalyst.segmentation.network import (
    Encoded,
    FrozenImageEncoder,
    SegmentConfig,
    SegmentNetwork,
)
from anomalyst.segmentation.prompt_encoder import (
    BESIDE,
    CORNER,
    NOTHING,
    ON,
    OTHER_CORNER,
    PromptTokens,
)
from anomalyst.segmentation.prompts import Prompt, Segment
from anomalyst.segmentation.soft_masks import as_logits

WEIGHTS = Path(__file__).parent.parent / "weights" / "segment.safetensors"
TENSORS = "segment"  # under which its weights are kept
FROZEN = "image.encoder."  # of its names: what ships with the detector
SIDE_PX = 256  # a view is seen with about so many pixels squared, as in training


class SmallSegmenter:
    """Views of about 256 x 256 pixels; answers a prompt in milliseconds."""

    def __init__(self, network: SegmentNetwork, name: str = "default"):
        self.network, self.name = network, name
        self._words: dict[str, Tensor] = {}

    @classmethod
    def load(cls, path: Path = WEIGHTS, name: str = "default") -> "SmallSegmenter":
        """From a file that `anomalyst train recipes/segment.yaml` wrote.

        Raises AnomalystError for a file that is none.
        """
        tensors, note = read_weights(path, TENSORS)
        network = SegmentNetwork(from_mapping(SegmentConfig, note["model"]))
        missing, surplus = network.load_state_dict(tensors, strict=False)
        odd = [one for one in missing if not one.startswith(FROZEN)] + list(surplus)
        if odd:
            raise AnomalystError(f"{path}: its segmenter has another shape ({odd[0]}).")
        if isinstance(network.image, FrozenImageEncoder):
            network.image.encoder = load_embedded()
        return cls(network.eval().requires_grad_(False), name)

    @torch.inference_mode()
    def look(self, picture: np.ndarray, view: Box | None = None) -> "SmallLook":
        """Encode a picture, uint8 (H, W, 3), or a view of it."""
        size_hw = picture.shape[0], picture.shape[1]
        x0, y0, x1, y1 = view or (0, 0, size_hw[1], size_hw[0])
        seen_hw = canvas_for((y1 - y0, x1 - x0), SIDE_PX, 16)
        seen = resize(np.ascontiguousarray(picture[y0:y1, x0:x1]), seen_hw)
        pixels = torch.from_numpy(seen).permute(2, 0, 1)[None].float() / 255
        return SmallLook(self, self.network.encode(pixels), (x0, y0, x1, y1), size_hw)

    def words(self, text: str) -> Tensor:
        """A text's vector, (1, W)."""
        if text not in self._words:
            self._words[text] = load_drawn_senses().embed("text", [text]).float()
        return self._words[text]


def _placed(prompt: Prompt) -> Prompt:
    """A mask alone also prompts by its box and its innermost place, as regions did in training."""
    if prompt.mask is None or prompt.points_xy or prompt.box_xyxy or prompt.text:
        return prompt
    shown = prompt.mask >= prompt.mask.max() / 2
    deep = cv2.distanceTransform(np.pad(shown, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    row, column = np.unravel_index(int(deep.argmax()), deep.shape)
    return replace(
        prompt,
        points_xy=((float(column) + 0.5, float(row) + 0.5),),
        positive=(True,),
        box_xyxy=mask_box(shown),
    )


@dataclass(frozen=True)
class SmallLook:
    """An encoded view."""

    segmenter: SmallSegmenter
    seen: Encoded
    view_xyxy: Box
    size_hw: tuple[int, int]

    @torch.inference_mode()
    def segment(self, prompt: Prompt) -> tuple[Segment, ...]:
        """One answer; three, the best first, where a click or a word alone may mean several."""
        prompt = _placed(prompt.checked(self.size_hw))
        masks, quality = self.segmenter.network.decode(self.seen, self._tokens(prompt))
        picked = slice(1, None) if prompt.ambiguous else slice(0, 1)
        masks, quality = masks[0, picked].float(), quality[0, picked].float().clamp(0, 1)
        return tuple(
            Segment(
                logits=masks[index].numpy(),
                view_xyxy=self.view_xyxy,
                size_hw=self.size_hw,
                iou=float(quality[index]),
            )
            for index in quality.argsort(descending=True).tolist()
        )

    def _tokens(self, prompt: Prompt) -> PromptTokens:
        """The prompt in shares of the view; what lies beside it is at its border."""
        x0, y0, x1, y1 = self.view_xyxy
        places = list(prompt.points_xy)
        kinds = [ON if positive else BESIDE for positive in prompt.positive]
        if prompt.box_xyxy is not None:
            bx0, by0, bx1, by1 = prompt.box_xyxy
            places += [(bx0, by0), (bx1, by1)]
            kinds += [CORNER, OTHER_CORNER]
        else:
            places.append((x0, y0))
            kinds.append(NOTHING)
        shares = (torch.tensor(places) - torch.tensor([x0, y0])) / torch.tensor([x1 - x0, y1 - y0])
        return PromptTokens(
            shares.clamp(0, 1)[None].float(),
            torch.tensor(kinds)[None],
            self._known(prompt.mask),
            self.segmenter.words(prompt.text) if prompt.text else None,
        )

    def _known(self, mask: np.ndarray | None) -> Tensor | None:
        """What is known so far, as logits over the view (1, 1, 4 h, 4 w)."""
        if mask is None:
            return None
        x0, y0, x1, y1 = self.view_xyxy
        cells_hw = 4 * self.seen.grid_hw[0], 4 * self.seen.grid_hw[1]
        shares = resize(mask[y0:y1, x0:x1].astype(np.float32), cells_hw)
        return as_logits(torch.from_numpy(shares))[None, None]
