"""Base model against SFT on one, four and six data sets: trained, and asked the same questions.

After DeepSpeed-Chat's first step, where the same prompts are answered by a base model and by the
same model tuned on 1, 4 and 6 sets of dialogues. All three tunings have equally many steps.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from anomalyst.backbones.huggingface import quiet
from anomalyst.config import from_mapping, to_mapping
from anomalyst.inspection.config import EMBEDDED_LANGUAGE
from anomalyst.io.files import folder_written_whole, make_folder, write_text
from anomalyst.training.alignment.prompts import Prompt
from anomalyst.training.alignment.rollouts import replies
from anomalyst.training.alignment.verifiable import verify
from anomalyst.training.studies.resuming import begin_study
from anomalyst.training.studies.sft.texts import (
    SETS,
    TEMPLATE,
    TURN,
    answer_sample,
    held_out_prompts,
    text_sample,
)
from anomalyst.training.tasks.language import (
    LanguageModelConfig,
    answer_loss,
    collated,
    model_config,
)
from anomalyst.vlm.huggingface import AnomalystModel, AnomalystProcessor
from anomalyst.vlm.huggingface.loading import load_model

BASE = "base"
TUNINGS = {f"SFT on {count} set{'s' * (count > 1)}": count for count in (1, 4, 6)}
LONGEST = 60  # tokens of an answer
GROUP = 8  # batches sorted by length together, so that little of one is filling
Draw = Callable[[np.random.Generator], dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SFTStudy:
    """How much of everything."""

    base_steps: int = 800  # on running text
    sft_steps: int = 200  # of each tuning
    batch: int = 8
    base_rate: float = 3e-3  # peaks, set by hand
    sft_rate: float = 1e-3
    questions: int = 40  # held out, of each set
    seed: int = 0
    model: LanguageModelConfig = field(
        default_factory=lambda: LanguageModelConfig(
            width=128, layers=4, heads=4, kv_heads=4, hidden=352
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a model said to a question."""

    set: str
    question: str
    text: str  # all of it, to the end mark or to `LONGEST` tokens
    right: bool  # all that was asked and nothing false, before any further turn
    ended: bool
    words: int
    another_turn: bool  # it began one by itself


def study_sft(
    study: SFTStudy, out: Path, *, say: Callable[[str], None] = lambda _: None
) -> dict[str, list[Said]]:
    """Every model's answers to the same questions; OUT/answers.json. Goes on where it stopped.

    Raises AnomalystError for a folder that holds another study.
    """
    make_folder(out)
    begin_study(out, to_mapping(study))
    prompts = [(name, prompt) for name in SETS
               for prompt in held_out_prompts(name, study.questions, study.seed)]  # fmt: skip
    path = out / "answers.json"
    held = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    found = {name: [from_mapping(Said, one) for one in rows] for name, rows in held.items()}
    for name in (BASE, *TUNINGS):
        if name in found:
            continue
        found[name] = answers_of(model_of(study, name, out), prompts)
        right = sum(one.right for one in found[name])
        say(f"{name}: {right} of {len(prompts)} right")
        rows = {which: [asdict(one) for one in some] for which, some in found.items()}
        write_text(path, json.dumps(rows, indent=1) + "\n")
    return found


def model_of(study: SFTStudy, name: str, out: Path) -> Path:
    """The folder of one of the models, trained unless it is there."""
    folder = out / "models" / name.replace(" ", "-")
    if folder.exists():
        return folder
    torch.manual_seed(study.seed)
    if name == BASE:
        model, processor = new_model(study.model)
        draw: Draw = partial(text_sample, processor)
        steps, rate = study.base_steps, study.base_rate
    else:
        model, processor = load_model(model_of(study, BASE, out))
        model.requires_grad_(True)
        sets = list(SETS.values())[: TUNINGS[name]]
        draw = partial(_answer_of_some, processor, sets)
        steps, rate = study.sft_steps, study.sft_rate
    _train(model, draw, steps=steps, rate=rate, batch=study.batch, seed=study.seed)
    with folder_written_whole(folder) as part, quiet():
        model.save_pretrained(part)
        processor.save_pretrained(part)
    return folder


def new_model(config: LanguageModelConfig) -> tuple[AnomalystModel, AnomalystProcessor]:
    """A LLaMA of random weights with the shipped model's tokenizer and a plain turn format."""
    processor = AnomalystProcessor.from_pretrained(EMBEDDED_LANGUAGE, local_files_only=True)
    processor.tokenizer.chat_template = TEMPLATE
    processor.chat_template = None
    return AnomalystModel(model_config(config, processor.tokenizer)), processor


def _answer_of_some(
    processor: AnomalystProcessor, sets: Sequence[Sequence[str]], rng: np.random.Generator
) -> dict[str, Any]:
    """A dialogue of one of the sets, each as likely."""
    return answer_sample(processor, rng, sets[int(rng.integers(len(sets)))])


def _train(
    model: AnomalystModel, draw: Draw, *, steps: int, rate: float, batch: int, seed: int
) -> None:
    """AdamW with a short warm-up and a straight way down; a tenth of the peak remains."""
    model.train()
    # What shows a picture has nothing to do here.
    optimizer = torch.optim.AdamW(
        model.language_model.parameters(), rate, betas=(0.9, 0.95), weight_decay=0.01
    )
    warmup = max(1, steps // 20)
    for step, made in enumerate(_batches(draw, steps, batch, seed)):
        along = min((step + 1) / warmup, 1 - 0.9 * max(0, step - warmup) / max(1, steps - warmup))
        optimizer.param_groups[0]["lr"] = rate * along
        loss = answer_loss(model, made)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.language_model.parameters(), 1.0)
        optimizer.step()
    model.eval()


def _batches(draw: Draw, steps: int, batch: int, seed: int) -> Iterator[dict[str, Any]]:
    for group in range(0, steps, GROUP):
        rng = np.random.default_rng((seed, 1 << 46, group))
        samples = sorted((draw(rng) for _ in range(batch * GROUP)), key=lambda s: len(s["labels"]))
        for place in rng.permutation(GROUP)[: steps - group]:
            yield collated(samples[place * batch : (place + 1) * batch])


def answers_of(folder: Path, prompts: Sequence[tuple[str, Prompt]]) -> list[Said]:
    """The likeliest answer of a model to each question of a set."""
    model, processor = load_model(folder)
    said = replies(model, processor, [prompt for _, prompt in prompts], tokens=LONGEST)
    return [
        judged_answer(name, prompt, reply.text, ended=reply.ended)
        for (name, prompt), reply in zip(prompts, said, strict=True)
    ]


def judged_answer(name: str, prompt: Prompt, text: str, *, ended: bool) -> Said:
    """What was said to a question of a set, judged by the facts."""
    assert prompt.intent is not None
    judged = verify(text.split(TURN)[0], prompt.intent, prompt.facts)
    return Said(
        set=name, question=prompt.question, text=text,
        right=judged.right == 1 and not judged.contradictions, ended=ended,
        words=len(text.split()), another_turn=TURN in text,
    )  # fmt: skip
