"""What a text model writes: a text gone on with, or a second half from a first; and loops in it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from anomalyst.errors import AnomalystError
from anomalyst.vlm.texts.loading import TextModel
from anomalyst.vlm.texts.records import BETWEEN

LONGEST_PHRASE = 20  # tokens that a loop repeats
TIMES = 3  # in a row, from which on it is a loop


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How words are chosen. The defaults are greedy."""

    max_new_tokens: int = 50
    min_new_tokens: int = 0  # the end of the text is not chosen before
    num_beams: int = 1
    do_sample: bool = False
    temperature: float = 1.0
    top_p: float = 1.0  # sampling: the likeliest words that have this share
    repetition_penalty: float = 1.0  # Keskar et al. 2019; words that were said become less likely
    no_repeat_ngram_size: int = 0  # so many tokens never come twice
    length_penalty: float = 1.0  # beams: above 1, longer texts are preferred
    early_stopping: bool = False  # beams: end when as many texts are whole

    def options(self) -> dict[str, Any]:
        """As `generate` takes them, without those of other ways to choose."""
        found = asdict(self)
        if not self.do_sample:
            del found["temperature"], found["top_p"]
        if self.num_beams == 1:
            del found["length_penalty"], found["early_stopping"]
        return found


# Of a summary: at most 100 tokens, 4 beams, length penalty 2, no 3-gram twice, early stop.
SUMMARY_DECODING = Decoding(
    max_new_tokens=100, num_beams=4, length_penalty=2.0, no_repeat_ngram_size=3, early_stopping=True
)
WAYS = {  # of choosing words, compared by `anomalyst study loops`
    "greedy": Decoding(),
    "4 beams": Decoding(num_beams=4),
    "sampling, top-p 0.9": Decoding(do_sample=True, top_p=0.9),
    "repetition penalty 1.3": Decoding(repetition_penalty=1.3),
    "no 3-gram twice": Decoding(no_repeat_ngram_size=3),
}


@torch.no_grad()
def written(model: TextModel, text: str, decoding: Decoding, seed: int = 0) -> list[int]:
    """The tokens that the model writes after a text, or from it if it has a decoder beside.

    Raises AnomalystError for a model that writes nothing.
    """
    if model.objective not in ("next", "spans"):
        raise AnomalystError(
            f"{model.name}: is of BERT's class, which fills in words and writes no text; give a "
            "model of GPT-2's or BART's."
        )
    read = model.tokens([text])
    if model.objective == "next":  # the text goes on: without its end, and with room for more
        ends = {model.tokenizer.eos_token_id, model.tokenizer.sep_token_id}
        size = read["input_ids"].shape[1]
        size -= size > 1 and int(read["input_ids"][0, -1]) in ends
        room = max(1, model.longest - decoding.max_new_tokens)
        read = {name: value[:, max(0, size - room) : size] for name, value in read.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        found = model.model.generate(
            **read, **decoding.options(), pad_token_id=model.tokenizer.pad_token_id
        )
    start = read["input_ids"].shape[1] if model.objective == "next" else 1
    return [int(one) for one in found[0, start:]]


def said(model: TextModel, ids: Sequence[int]) -> str:
    """Tokens as people read them."""
    return " ".join(str(model.tokenizer.decode(ids, skip_special_tokens=True)).split())


def second_half(model: TextModel, source: str, head: str, decoding: Decoding) -> str:
    """What the model writes as a text's second half; `head`: the word before it, as "answer: ".

    Raises AnomalystError for a model that writes nothing.
    """
    if model.objective == "next":
        source += BETWEEN + head.rstrip()
    return half_said(model, written(model, source, decoding), head)


def half_said(model: TextModel, ids: Sequence[int], head: str) -> str:
    """The second half alone: a causal model goes on with further parts, one with a decoder says
    `head` itself."""
    found = said(model, ids)
    if model.objective == "next":
        return f" {found} ".partition(BETWEEN)[0].strip()
    return found.removeprefix(head.strip()).strip()


def loop_of(ids: Sequence[int]) -> tuple[int, ...]:
    """The phrase that a text says three times in a row, up to 20 tokens; empty: it has none."""
    for size in range(1, LONGEST_PHRASE + 1):
        for start in range(len(ids) - TIMES * size + 1):
            phrase = tuple(ids[start : start + size])
            if all(
                tuple(ids[start + n * size : start + (n + 1) * size]) == phrase
                for n in range(1, TIMES)
            ):
                return phrase
    return ()


def distinct(ids: Sequence[int], size: int = 3) -> float:
    """The share of a text's 3-grams that differ from one another; 1 for a shorter text."""
    grams = [tuple(ids[i : i + size]) for i in range(len(ids) - size + 1)]
    return len(set(grams)) / len(grams) if grams else 1.0
