"""The predecessor's question, put to a model in training: is there an anomaly, yes or no?"""

from typing import Any

import torch
from torch import Tensor

from anomalyst.evaluation.language import QUESTION, strictly_yes_or_no
from anomalyst.training.task import ProbeAnswer
from anomalyst.vlm.dialogue import messages_for
from anomalyst.vlm.huggingface import AnomalystModel, AnomalystProcessor

LONGEST_ANSWER = 24  # tokens; only the yes or no is read


@torch.no_grad()
def asked(
    model: AnomalystModel,
    processor: AnomalystProcessor,
    facts: str,
    seen: dict[str, Tensor],
    *,
    defective: bool,
) -> ProbeAnswer:
    """The plain greedy answer about what is `seen`, neither checked nor mended, and if it is true.

    `facts`: what the model is told in words; empty for a model that only sees.
    """
    family = str(model.config.text_config.model_type)
    text = processor.prompt(messages_for(facts, (), QUESTION), family)
    device = next(model.parameters()).device
    inputs: dict[str, Any] = {k: v.to(device) for k, v in processor(text, seen).items()}
    training = model.training
    tokens = model.eval().generate(
        **inputs,
        max_new_tokens=LONGEST_ANSWER,
        do_sample=False,
        pad_token_id=processor.tokenizer.pad_token_id,
    )
    model.train(training)
    answer = processor.tokenizer.decode(tokens[0], skip_special_tokens=True).strip()
    said = strictly_yes_or_no(answer)
    return ProbeAnswer(QUESTION, answer, None if said is None else said == defective)
