"""Questions about an inspection -> answers that agree with it, sentence by sentence."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteriaList

from anomalyst.errors import AnomalystError
from anomalyst.types import Answer, Dialogue, Turn
from anomalyst.vlm.constrained_decoding import may_go_on
from anomalyst.vlm.dialogue import checked_question, messages_for, without_marks
from anomalyst.vlm.facts import Facts, facts_of
from anomalyst.vlm.grounding import (
    CORRECTION,
    answer_of,
    claim,
    ground,
    holds,
    sentences,
)
from anomalyst.vlm.huggingface.loading import load_model
from anomalyst.vlm.huggingface.modeling import AnomalystModel
from anomalyst.vlm.huggingface.processing import AnomalystProcessor
from anomalyst.vlm.measure_questions import about_measures, with_tolerance
from anomalyst.vlm.part_questions import about_parts
from anomalyst.vlm.questions.causes import about_causes
from anomalyst.vlm.questions.decision import Decision
from anomalyst.vlm.questions.yes_no import decide
from anomalyst.vlm.referring import QuestionScope, question_scope
from anomalyst.vlm.version import model_version
from anomalyst.vlm.wording import plainly, resolved

LONGEST_ANSWER = 160  # tokens
CANDIDATES = 2048  # likeliest tokens of which one that agrees is looked for
ENDS = (".", "!", "?", ">")  # of a whole sentence
SentenceCallback = Callable[[str], None]
SamplingAt = Callable[[int], LogitsProcessor]


class Speaker:
    """A model that answers about inspections."""

    def __init__(self, model: AnomalystModel, processor: AnomalystProcessor, version: str = ""):
        self.model, self.processor, self.version = model, processor, version
        self.family = str(model.config.text_config.model_type)

    @classmethod
    def load(cls, folder: Path) -> "Speaker":
        """The speaker of a model folder. Raises AnomalystError if it cannot be used."""
        return cls(*load_model(folder), version=model_version(folder))

    def ask(
        self, question: str, dialogue: Dialogue, on_sentence: SentenceCallback = lambda _: None
    ) -> Answer:
        """The answer, added to the dialogue; `on_sentence` gets each sentence once it is checked.

        Raises AnomalystError for an empty or endless question.
        """
        asked = checked_question(question)
        facts = facts_of(dialogue.inspection)
        answer = self.answer(asked, facts, dialogue.inspection.shown, dialogue.turns, on_sentence)
        dialogue.turns.append(Turn(asked, answer))
        return answer

    @torch.inference_mode()
    def answer(
        self,
        question: str,
        facts: Facts,
        shown: Any,
        turns: Sequence[Turn] = (),
        on_sentence: SentenceCallback = lambda _: None,
    ) -> Answer:
        """The grounded answer to one question about some facts."""
        self.check_width(shown)
        if known := self.by_facts(question, facts, turns):
            on_sentence(known.text)
        else:
            known = self.spoken(question, facts, shown, turns, on_sentence)
        known, more = with_tolerance(known, facts)
        if more:
            on_sentence(more)
        return known

    def by_facts(self, question: str, facts: Facts, turns: Sequence[Turn] = ()) -> Answer | None:
        """The answer that needs no language model; None if it is to speak."""
        started = time.perf_counter()
        if facts.unfit:  # whatever is asked: nothing can be said of a part
            text = f"I cannot judge this picture. {facts.unfit}"
            said = Answer(text=text, raw=text, regions=(), verdict="unsure", confidence=0.5)
            return replace(said, model=self.version)
        decided = decide(question, facts, turns)
        known = _by_facts(question, facts, turns, decided, time.perf_counter() - started)
        return replace(known, model=self.version) if known else None

    @torch.inference_mode()
    def spoken(
        self,
        question: str,
        facts: Facts,
        shown: Any,
        turns: Sequence[Turn] = (),
        on_sentence: SentenceCallback = lambda _: None,
        *,
        sampling: SamplingAt | None = None,
    ) -> Answer:
        """The grounded answer in the model's own words, whatever the facts alone decide.

        With `sampling`, which is told how many tokens the answer is held to, other words than the
        likeliest: of a yes or no only that is held to.
        """
        started = time.perf_counter()
        ids, asked = self.written(question, facts, shown, turns, on_sentence, sampling=sampling)
        raw = self.processor.tokenizer.decode(ids, skip_special_tokens=True).strip()
        if len(ids) >= LONGEST_ANSWER:  # it does not come to an end
            raw = ""
        answer = ground(raw, facts, time.perf_counter() - started, whole=asked.whole)
        return replace(answer, model=self.version)

    @torch.inference_mode()
    def written(
        self,
        question: str,
        facts: Facts,
        shown: Any,
        turns: Sequence[Turn] = (),
        on_sentence: SentenceCallback = lambda _: None,
        *,
        sampling: SamplingAt | None = None,
    ) -> tuple[list[int], QuestionScope]:
        """The tokens that the model writes, before sentences are checked, and what it is held to.

        The streamer stops it at a sentence that does not hold, which is among them.
        """
        asked = _scope(question, facts, turns, decide(question, facts, turns))
        if sampling is not None and asked.begins.startswith(("Yes,", "No,")):
            asked = replace(asked, begins=asked.begins.partition(",")[0] + ",")
        streamer = SentenceStreamer(self.processor.tokenizer, facts, on_sentence, asked.whole)
        logits = GroundedLogits(self.processor.tokenizer, facts, asked)
        processors = [sampling(len(logits.first)), logits] if sampling is not None else [logits]
        inputs = self.processor(self.prompt(question, facts, turns), dict(shown))
        ids = self.model.generate(
            **inputs,
            max_new_tokens=LONGEST_ANSWER,
            do_sample=False,
            streamer=streamer,
            stopping_criteria=StoppingCriteriaList([streamer]),
            logits_processor=LogitsProcessorList(processors),
        )
        return ids[0].tolist(), asked

    def check_width(self, shown: Any) -> None:
        """Raises AnomalystError where the model was trained with another encoder's features."""
        width = dict(shown)["image_embedding"].shape[1]
        if width != self.model.config.embedding_width:
            raise AnomalystError(
                f"the language model was trained with the encoder {self.model.config.vision!r} "
                f"({self.model.config.embedding_width} features), this one gives {width}; "
                "give --language the folder of a model trained with it."
            )

    @torch.inference_mode()
    def likelihoods(
        self, question: str, options: Sequence[str], facts: Facts, shown: Any
    ) -> list[float]:
        """Mean log-likelihood of each option's tokens as the answer, in nats a token."""
        prompt = self.prompt(question, facts)
        start = self.processor(prompt)["input_ids"].shape[1]
        found = []
        for option in options:
            inputs = self.processor(prompt + option, dict(shown))
            logits = self.model(**inputs).logits[0, start - 1 : -1].log_softmax(1)  # (t, V)
            said = inputs["input_ids"][0, start:]
            found.append(float(logits.gather(1, said[:, None]).mean()))
        return found

    def prompt(self, question: str, facts: Facts, turns: Sequence[Turn] = ()) -> str:
        """The text that the model reads."""
        record = without_user_marks(facts).as_text() if self.model.config.facts else ""
        return self.processor.prompt(messages_for(record, turns, question), self.family)


def _by_facts(
    question: str, facts: Facts, turns: Sequence[Turn], decided: Decision | None, seconds: float
) -> Answer | None:
    """The answer that needs no language model; None if it is to speak."""
    if known := about_causes(question, facts, turns, seconds):
        return known
    if known := about_parts(question, facts, seconds):
        return known
    if known := about_measures(question, facts, turns, seconds):
        return known
    if decided is None or decided.begins:
        return None
    # What the model reads again is in words that it was taught.
    raw = decided.whole if decided.whole.startswith(("Yes", "No")) else plainly(facts)
    return answer_of(decided.whole, raw, facts, seconds)


def _scope(
    question: str, facts: Facts, turns: Sequence[Turn], decided: Decision | None
) -> QuestionScope:
    """What is told of a question without the model, a yes or no before all else."""
    if decided is None:
        return question_scope(question, facts, turns)
    return QuestionScope(regions=decided.regions, begins=decided.begins, whole=decided.whole)


def without_user_marks(facts: Facts) -> Facts:
    """The facts with a user's words such that no template takes them for its own."""
    return replace(facts, told=without_marks(facts.told), product=without_marks(facts.product))


class GroundedLogits:
    """Takes the likeliest token after which the sentence begun still agrees with the facts.

    A logits processor of `generate`, for one answer at a time. Where none of the likeliest tokens
    agrees the model goes its way, and the sentence is cut when it is checked.
    """

    def __init__(self, tokenizer: Any, facts: Facts, asked: QuestionScope):
        self.tokenizer, self.facts, self.asked = tokenizer, facts, asked
        begins = tokenizer(asked.begins, add_special_tokens=False) if asked.begins else {}
        self.lost = False  # no token fitted: what follows is left to the check
        self.first: list[int] = list(begins.get("input_ids", ()))

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        before = input_ids[0].tolist()
        if len(before) < len(self.first):
            return _only(self.first[len(before)], scores)
        if self.lost:
            return scores
        so_far = self.tokenizer.decode(before, skip_special_tokens=True)
        short: int | None = None
        for token in scores[0].topk(min(CANDIDATES, scores.shape[1])).indices.tolist():
            text = self.tokenizer.decode([*before, token], skip_special_tokens=True)
            if not self._fits(token, text, so_far):
                continue
            # Where the model is held back, a letter or a space may fit that leads nowhere.
            if token == scores[0].argmax() or len(text[len(so_far) :].strip()) > 2:
                return _only(token, scores)
            short = token if short is None else short
        self.lost = short is None
        return scores if short is None else _only(short, scores)

    def _fits(self, token: int, text: str, so_far: str) -> bool:
        begun = (sentences(text)[-1:] or [""])[0]
        if token == self.tokenizer.eos_token_id:
            return begun.endswith(ENDS)
        if text[-1:].isspace():
            begun += " "  # a word has ended
            if so_far[-1:].isspace():
                return False
        # A mark that is no text says nothing.
        if self.asked.whole and len(sentences(text)) <= 1:
            begun = claim(begun)
        return text != so_far and may_go_on(begun, self.facts, self.asked.regions)


def _only(token: int, scores: Tensor) -> Tensor:
    """Scores that leave one token."""
    chosen = torch.full_like(scores, -torch.inf)
    chosen[0, token] = 0.0
    return chosen


class SentenceStreamer:
    """Takes tokens as they come, passes on whole sentences that hold, and stops at one that fails.

    A streamer (`put`, `end`) and a stopping criterion (call) of `generate`.
    """

    def __init__(
        self, tokenizer: Any, facts: Facts, on_sentence: SentenceCallback, whole: str = ""
    ):
        self.tokenizer, self.facts, self.on_sentence = tokenizer, facts, on_sentence
        self.whole = (
            whole  # what is said where the first sentence does not hold; empty: the verdict
        )
        self.ids: list[int] = []
        self.said = 0
        self.failed = False

    def put(self, value: Tensor) -> None:
        """One step's token; the prompt, if it is given, is embeddings and has no ids."""
        self.ids += value.flatten().tolist()
        text = self.tokenizer.decode(self.ids, skip_special_tokens=True)
        if text.rstrip().endswith((".", "!", "?")):
            return
        self._pass_on(sentences(text)[:-1])

    def end(self) -> None:
        """Pass on what is left."""
        text = self.tokenizer.decode(self.ids, skip_special_tokens=True)
        whole = sentences(text) if len(self.ids) < LONGEST_ANSWER else []
        self._pass_on(whole)
        if not whole and not self.failed and not self.said:
            self.on_sentence(resolved(self.whole or plainly(self.facts), self.facts))

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:  # noqa: ARG002
        return torch.full((len(input_ids),), self.failed, device=input_ids.device)

    def _pass_on(self, whole: Sequence[str]) -> None:
        for sentence in whole[self.said :]:
            if self.failed:
                return
            whole = self.whole if self.said == 0 else ""
            self.said += 1
            self.failed = not holds(sentence, self.facts, whole=whole)
            instead = whole or f"{CORRECTION} {plainly(self.facts)}"
            text = instead if self.failed else sentence
            self.on_sentence(resolved(text, self.facts))
