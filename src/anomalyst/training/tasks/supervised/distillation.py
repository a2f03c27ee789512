"""What a student learns from a teacher's answers (Touvron et al. 2021, DeiT, section 4)."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyst.training.networks.network import Answers

Distil = Literal["hard", "soft", "features"]


def hard_loss(said: Answers, labels: Tensor, teacher: Tensor, smoothing: float = 0.0) -> Tensor:
    """DeiT's equation 3: half cross-entropy with the label, half with the teacher's choice.

    `teacher`: logits (B, K). DeiT's second head learns from the teacher; others have one for both.
    """
    from_labels = F.cross_entropy(said.logits, labels, label_smoothing=smoothing)
    return (from_labels + F.cross_entropy(said.taught, teacher.argmax(1))) / 2


def soft_loss(
    said: Answers,
    labels: Tensor,
    teacher: Tensor,
    *,
    temperature: float,
    share: float,
    smoothing: float = 0.0,
) -> Tensor:
    """DeiT's equation 2: (1 - share) CE(label) + share T^2 KL(teacher at T || student at T).

    The formula writes KL(student, teacher); as in Hinton et al. 2015 the teacher's distribution is
    the one that is approached.
    """
    from_labels = F.cross_entropy(said.logits, labels, label_smoothing=smoothing)
    apart = F.kl_div(
        (said.taught / temperature).log_softmax(1),
        (teacher / temperature).log_softmax(1),
        log_target=True,
        reduction="batchmean",
    )
    return (1 - share) * from_labels + share * temperature**2 * apart


def feature_loss(projected: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine between the student's projected features (B, D) and the teacher's, their mean.

    The direction alone: networks of other families have features of another length.
    """
    return (1 - F.cosine_similarity(projected, teacher, dim=1)).mean()


def label_loss(said: Answers, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy; where there are two heads both learn from the labels (DeiT, section 5.2)."""
    loss = F.cross_entropy(said.logits, labels, label_smoothing=smoothing)
    if said.distilled is None:
        return loss
    return (loss + F.cross_entropy(said.distilled, labels, label_smoothing=smoothing)) / 2


def agreement(taught: Tensor, teacher: Tensor) -> Tensor:
    """How often both choose the same class, in [0, 1]."""
    return (taught.argmax(1) == teacher.argmax(1)).float().mean().to(torch.float32)
