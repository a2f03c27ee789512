"""Turns -> the text a language model reads, by the template of its own family."""

from collections.abc import Sequence
from typing import Any

from anomalyst.errors import AnomalystError
from anomalyst.types import Turn

IMAGE_TOKEN = "<image>"  # one in a text stands for all that is shown of a picture
INSTRUCTION = "You inspect parts. Answer from the facts; name places as <region 1>."
LONGEST_QUESTION = 500  # characters
TURNS_KEPT = 4  # earlier turns that are read again

Message = dict[str, str]

# For tokenizers that bring no chat template. Jinja, as transformers renders it.
_VICUNA = (
    "{% for m in messages %}"
    "{% if m.role == 'system' %}{{ bos_token or '' }}{{ m.content }}\n"
    "{% elif m.role == 'user' %}### Human: {{ m.content }}\n"
    "{% else %}### Assistant: {{ m.content }}\n###\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}### Assistant:{% endif %}"
)
_PLAIN = (
    "{% for m in messages %}"
    "{% if m.role == 'system' %}{{ m.content }}\n"
    "{% elif m.role == 'user' %}Question: {{ m.content }}\n"
    "{% else %}Answer: {{ m.content }}{{ eos_token or '' }}\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}Answer:{% endif %}"
)
EMBEDDED_TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TEMPLATES = {"llama": _VICUNA, "opt": _PLAIN, "gpt2": _PLAIN}


def template_for(tokenizer: Any, family: str) -> str:
    """The chat template of a tokenizer: its own, or that of its model's family.

    `family` is a configuration's `model_type`. A family without one is asked plain questions.
    """
    return tokenizer.chat_template or TEMPLATES.get(family, _PLAIN)


def messages_for(
    facts: str, turns: Sequence[Turn], question: str, *, instruction: str = INSTRUCTION
) -> list[Message]:
    """The messages of a dialogue: what is known, the last turns, and the new question.

    `facts` is the record of `Facts.as_text`; empty, the model has only what it is shown.
    """
    system = f"{IMAGE_TOKEN}{instruction}" + (f"\n{facts}" if facts else "")
    messages = [{"role": "system", "content": system}]
    for turn in turns[-TURNS_KEPT:]:
        messages.append({"role": "user", "content": turn.question})
        messages.append({"role": "assistant", "content": turn.answer.raw})
    return [*messages, {"role": "user", "content": question}]


def checked_question(question: str) -> str:
    """The question on one line, without anything a template could take for its own.

    Raises AnomalystError if it is empty, or longer than a question is.
    """
    words = " ".join(question.split())
    if not words:
        raise AnomalystError("the question is empty; ask, for example, 'Is there a defect?'.")
    if len(words) > LONGEST_QUESTION:
        raise AnomalystError(
            f"the question has {len(words):,} characters; at most {LONGEST_QUESTION} are read. "
            "Ask one thing at a time."
        )
    return without_marks(words)


def without_marks(text: str) -> str:
    """A user's text in which nothing can be taken for a role, a region or a picture."""
    return text.replace("<", "(").replace(">", ")").replace("###", "#")
