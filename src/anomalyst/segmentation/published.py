"""Published Segment Anything models from a folder: SAM, SAM-HQ and SAM 2, through transformers.

Kirillov et al., ICCV 2023 (arXiv:2304.02643); Ke et al., NeurIPS 2023 (arXiv:2306.01567); Ravi et
al., 2024 (arXiv:2408.00714).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyst.backbones.huggingface_families import IMAGENET
from anomalyst.backbones.huggingface_files import normalisation_of
from anomalyst.errors import AnomalystError
from anomalyst.io.geometry import Box, resize
from anomalyst.segmentation.prompts import Prompt, Segment
from anomalyst.segmentation.soft_masks import as_logits

CLASSES = {"sam": "SamModel", "sam_hq": "SamHQModel", "sam2": "Sam2Model"}


class PublishedSegmenter:
    """A model of the three families; nothing is downloaded."""

    def __init__(self, folder: Path):
        self.name = f"sam:{folder}"
        self.kind, self.model = _read(folder)
        mean, std = normalisation_of(folder) or IMAGENET
        self.mean, self.std = (torch.tensor(one).view(1, 3, 1, 1) for one in (mean, std))

    @property
    def side_px(self) -> int:
        """Of the square that the model sees."""
        return int(self.model.config.prompt_encoder_config.image_size)

    @torch.inference_mode()
    def look(self, picture: np.ndarray, view: Box | None = None) -> "PublishedLook":
        """Encode a picture, uint8 (H, W, 3), or a view of it.

        SAM and SAM-HQ see it with its longer side filling the square, SAM 2 stretched to it.
        """
        size_hw = picture.shape[0], picture.shape[1]
        view = view or (0, 0, size_hw[1], size_hw[0])
        x0, y0, x1, y1 = view
        side = self.side_px
        scale = side / max(y1 - y0, x1 - x0)
        seen_hw = max(1, round((y1 - y0) * scale)), max(1, round((x1 - x0) * scale))
        if self.kind == "sam2":
            seen_hw = side, side
        seen = resize(np.ascontiguousarray(picture[y0:y1, x0:x1]), seen_hw)
        pixels = torch.from_numpy(seen).permute(2, 0, 1)[None].float() / 255
        pixels = (pixels - self.mean) / self.std
        pixels = F.pad(pixels, (0, side - seen_hw[1], 0, side - seen_hw[0]))
        found = self.model.get_image_embeddings(pixels)
        embeddings = {"image_embeddings": found}
        if self.kind == "sam_hq":
            embeddings = {"image_embeddings": found[0], "intermediate_embeddings": found[1]}
        return PublishedLook(self, embeddings, seen_hw, view, size_hw)


@dataclass(frozen=True)
class PublishedLook:
    """A view as a published model has encoded it."""

    segmenter: PublishedSegmenter
    embeddings: dict[str, Any]
    seen_hw: tuple[int, int]  # of the square, what the view fills
    view_xyxy: Box
    size_hw: tuple[int, int]

    @torch.inference_mode()
    def segment(self, prompt: Prompt) -> tuple[Segment, ...]:
        """Three answers to a click alone, else one; the best first. Words are not understood."""
        prompt = prompt.checked(self.size_hw)
        if prompt.text:
            raise AnomalystError(
                f"{self.segmenter.name}: published weights understand no words; give a point, a "
                "box or a mask."
            )
        found = self.segmenter.model(
            **self.embeddings, **self.asked(prompt), multimask_output=prompt.ambiguous
        )
        masks, quality = found.pred_masks[0, 0].float(), found.iou_scores[0, 0].float()
        rows, columns = (self._filled(masks.shape[1 + axis], axis) for axis in (0, 1))
        return tuple(
            Segment(
                logits=masks[index, :rows, :columns].numpy(),
                view_xyxy=self.view_xyxy,
                size_hw=self.size_hw,
                iou=float(quality[index].clamp(0, 1)),
            )
            for index in quality.argsort(descending=True).tolist()
        )

    def asked(self, prompt: Prompt) -> dict[str, Tensor]:
        """A prompt as the model's `forward` takes it: pixels of its square, logits of its masks."""
        inputs: dict[str, Tensor] = {}
        points, kinds = list(prompt.points_xy), [int(one) for one in prompt.positive]
        if points:
            inputs["input_points"] = self._placed(points)[None, None]
            inputs["input_labels"] = torch.tensor(kinds)[None, None]
        if prompt.box_xyxy is not None:
            x0, y0, x1, y1 = prompt.box_xyxy
            inputs["input_boxes"] = self._placed([(x0, y0), (x1, y1)]).view(1, 1, 4)
        elif not points and self.segmenter.kind != "sam2":
            # SAM's prompt encoder takes no mask alone; a place that is none stands beside it.
            inputs["input_points"] = torch.zeros(1, 1, 1, 2)
            inputs["input_labels"] = torch.full((1, 1, 1), -1)
        if prompt.mask is not None:
            inputs["input_masks"] = self._known(prompt.mask)
        return inputs

    def _placed(self, points_xy: list[tuple[float, float]]) -> Tensor:
        """Places of the picture in pixels of the model's square, whose first pixel lies at 0."""
        x0, y0, x1, y1 = self.view_xyxy
        scale = torch.tensor([self.seen_hw[1] / (x1 - x0), self.seen_hw[0] / (y1 - y0)])
        return (torch.tensor(points_xy) - torch.tensor([x0, y0])).float() * scale - 0.5

    def _known(self, mask: np.ndarray) -> Tensor:
        """What is known so far, on the model's square: (1, 1, s, s) logits."""
        x0, y0, x1, y1 = self.view_xyxy
        encoder = self.segmenter.model.config.prompt_encoder_config
        side = 4 * (encoder.image_size // encoder.patch_size)
        rows, columns = (round(one * side / self.segmenter.side_px) for one in self.seen_hw)
        shares = resize(mask[y0:y1, x0:x1].astype(np.float32), (max(1, rows), max(1, columns)))
        whole = np.zeros((side, side), np.float32)
        whole[:rows, :columns] = shares
        return as_logits(torch.from_numpy(whole))[None, None]

    def _filled(self, length: int, axis: int) -> int:
        """Cells of a mask along an axis that lie on the view."""
        return max(1, round(length * self.seen_hw[axis] / self.segmenter.side_px))


def _read(folder: Path) -> tuple[str, Any]:
    """What kind of model a folder holds, and the model. Raises AnomalystError for no such one."""
    import transformers

    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AnomalystError(
            f"sam:{folder}: no SAM model can be read there ({error}); the folder of a saved model "
            "with config.json and model.safetensors is needed."
        ) from None
    kind = "sam2" if kind == "sam2_video" else kind  # as the published folders call it
    if kind not in CLASSES:
        raise AnomalystError(
            f"sam:{folder}: is a {kind!r} model; one of these is needed: {', '.join(CLASSES)}."
        )
    try:
        model = getattr(transformers, CLASSES[kind]).from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise AnomalystError(
            f"sam:{folder}: no SAM model can be read there ({str(error).splitlines()[0]})."
        ) from error
    return kind, model.eval().requires_grad_(False)
