"""Many prompts answered at once: what reinforcement learning trains on and judges."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from anomalyst.training.alignment.prompts import Prompt
from anomalyst.vlm.huggingface import AnomalystModel, AnomalystProcessor
from anomalyst.vlm.huggingface.modeling import SHOWN

TOGETHER = 32  # prompts that are answered or judged at once


@dataclass(frozen=True, slots=True)
class Answers:
    """Prompts and what was said to each, as one batch: prompts filled on the left, answers right.

    ids (B, T + A), attended (B, T + A) bool, said (B, A) bool: true to the end token and with it.
    """

    ids: Tensor
    attended: Tensor
    said: Tensor
    shown: dict[str, Tensor]

    @property
    def inputs(self) -> dict[str, Tensor]:
        """What `answer_states` takes, as a batch of the loop."""
        return {"ids": self.ids, "attended": self.attended, "said": self.said} | self.shown

    def ended(self, end: int) -> Tensor:
        """Whether each (B,) came to the end token, and was not cut off before."""
        return ((self.ids[:, -self.said.shape[1] :] == end) & self.said).any(1)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said to one prompt."""

    text: str  # raw and unchecked
    ended: bool  # by itself, not for being too long


def encoded(
    texts: Sequence[str], prompts: Sequence[Prompt], processor: AnomalystProcessor
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Ids (B, T) filled on the left, what is attended to (B, T), and what is shown.

    `texts`: the prompts as the model reads them.
    """
    made = processor(texts, [one.shown for one in prompts], padding_side="left")
    shown = {name: made[name] for name in SHOWN}
    return made["input_ids"], made["attention_mask"].bool(), shown


@torch.no_grad()
def sample(
    model: AnomalystModel,
    processor: AnomalystProcessor,
    prompts: Sequence[Prompt],
    *,
    tokens: int,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    to_the_end: bool = False,
) -> Answers:
    """An answer of at most `tokens` to each prompt; temperature 0 takes the likeliest tokens.

    `to_the_end`: take every step though all have ended, as processes must that split the weights.
    """
    device = next(model.parameters()).device
    family = str(model.config.text_config.model_type)
    texts = [processor.prompt(one.messages(), family) for one in prompts]
    ids, attended, shown = encoded(texts, prompts, processor)
    ids, attended = ids.to(device), attended.to(device)
    shown = {name: value.to(device) for name, value in shown.items()}
    ends, image = processor.tokenizer.eos_token_id, model.config.image_token_id
    said = torch.zeros(len(prompts), 0, dtype=torch.bool, device=device)
    going = torch.ones(len(prompts), dtype=torch.bool, device=device)
    embeds, cache = model.embedded(ids, **shown), None
    for _ in range(tokens):
        found = model.language_model(
            inputs_embeds=embeds,
            attention_mask=attended.long(),
            position_ids=_positions(attended)[:, -embeds.shape[1] :],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache = found.past_key_values
        logits = found.logits[:, -1].float()
        logits[:, image] = -torch.inf  # nobody could fill what it would say
        token = _chosen(logits, temperature, generator)
        token = torch.where(going, token, torch.zeros_like(token))
        ids = torch.cat([ids, token[:, None]], 1)
        said = torch.cat([said, going[:, None]], 1)
        attended = torch.cat([attended, going[:, None]], 1)
        going = going & (token != ends)
        if not going.any() and not to_the_end:
            break
        embeds = model.get_input_embeddings()(token[:, None])
    return Answers(ids, attended, said, shown)


def replies(
    model: AnomalystModel,
    processor: AnomalystProcessor,
    prompts: Sequence[Prompt],
    *,
    tokens: int,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
    together: int = TOGETHER,
) -> list[Reply]:
    """An answer to each of many prompts, by `sample`; `together` of them at once, in order."""
    found: list[Reply] = []
    for start in range(0, len(prompts), together):
        some = prompts[start : start + together]
        made = sample(
            model, processor, some, tokens=tokens, temperature=temperature, generator=generator
        )
        ended = made.ended(processor.tokenizer.eos_token_id).tolist()
        found += map(Reply, texts_of(made, processor), ended)
    return found


def _chosen(logits: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    if not temperature:
        return logits.argmax(1)
    # On the processor, so that a seed says the same wherever the model is.
    chances = (logits / temperature).softmax(1).cpu()
    return torch.multinomial(chances, 1, generator=generator)[:, 0].to(logits.device)


def _positions(attended: Tensor) -> Tensor:
    """The place of each token among those attended to, (B, T)."""
    return (attended.long().cumsum(1) - 1).clamp(min=0)


def texts_of(answers: Answers, processor: AnomalystProcessor) -> list[str]:
    """What was said, raw; an answer that did not end has no end mark added."""
    asked = answers.ids.shape[1] - answers.said.shape[1]
    rows = answers.ids[:, asked:]
    return [
        processor.tokenizer.decode(row[mask], skip_special_tokens=True).strip()
        for row, mask in zip(rows.cpu(), answers.said.cpu(), strict=True)
    ]


def with_answers(
    prompts: Sequence[Prompt], texts: Sequence[str], processor: AnomalystProcessor, family: str
) -> Answers:
    """Given answers in place of sampled ones."""
    talks = [prompt.messages() for prompt in prompts]
    before = [processor.prompt(talk, family) for talk in talks]
    ids, attended, shown = encoded(before, prompts, processor)
    rows = []
    for talk, asked, text in zip(talks, before, texts, strict=True):
        whole = processor.prompt(
            [*talk, {"role": "assistant", "content": text}], family, answer=False
        )
        assert whole.startswith(asked), "a template must only add to what was there"
        rest = processor.tokenizer(whole[len(asked) :], add_special_tokens=False)
        rows.append(torch.tensor(rest["input_ids"]))
    longest = max(len(row) for row in rows)
    said = torch.zeros(len(rows), longest, dtype=torch.bool)
    answer = torch.zeros(len(rows), longest, dtype=torch.long)
    for index, row in enumerate(rows):
        answer[index, : len(row)], said[index, : len(row)] = row, True
    return Answers(torch.cat([ids, answer], 1), torch.cat([attended, said], 1), said, shown)


def answer_states(
    model: AnomalystModel, batch: dict[str, Tensor], read: Callable[..., Any] | None = None
) -> Tensor:
    """The states (B, A, E) from which each token of the answers is foretold."""
    read = read or model.language_model.get_decoder().forward
    attended = batch["attended"]
    embeds = model.embedded(batch["ids"], **{name: batch[name] for name in SHOWN})
    found = read(
        inputs_embeds=embeds,
        attention_mask=attended.long(),
        position_ids=_positions(attended),
        use_cache=False,
    )
    said = batch["said"].shape[1]
    return found.last_hidden_state[:, -said - 1 : -1]


def token_logprobs(
    model: AnomalystModel, states: Tensor, batch: dict[str, Tensor], temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Log-probabilities (B, A) of what was said, and the entropy (B, A) of what might have been."""
    logits = model.get_output_embeddings()(states).float() / temperature
    logits = logits.index_fill(
        2, torch.tensor([model.config.image_token_id], device=logits.device), -1e9
    )
    chances = logits.log_softmax(2)  # (B, A, V)
    tokens = batch["ids"][:, -batch["said"].shape[1] :]
    with torch.no_grad():
        entropy = -(chances.exp() * chances).sum(2)
    return chances.gather(2, tokens[..., None])[..., 0], entropy
