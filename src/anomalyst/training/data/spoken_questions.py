"""Questions as people say them aloud: drawn texts, the ways they are spoken, and who holds out."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from anomalyst.training.data.dialogues.patterns import expand, one_of, sentences
from anomalyst.vlm.questions.vocabulary import vocabulary
from anomalyst.vlm.wording import KIND_WORDS
from anomalyst.voice.speaking import SpeakingConfig
from anomalyst.voice.words import spoken_words

ACCENTS = (
    "en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-us-nyc",
)  # fmt: skip
VARIANTS = (
    "", "m1", "m2", "m3", "m4", "m5", "m6", "m8", "f1", "f2", "f4", "f5", "Andy", "Alicia",
    "Annie", "linda", "steph", "adam", "belinda", "david", "edward", "michael", "john", "Gene",
)  # fmt: skip
# Never trained on: an accent with all its voices, and voices in all accents.
HELD_OUT_ACCENT = "en-029"
HELD_OUT_VARIANTS = ("m7", "f3", "grandpa", "Andrea")
_HELD_OUT_SHARE = 16  # one text in so many is never trained on
_FILES = ("defects", "verdict", "product", "other")
_NOT_SPOKEN = ("foreign",)
_SAYABLE = re.compile(r"[A-Za-z' ,.?!:;-]+$")
_SHARES = (0.6, 0.28, 0.12)  # of the grammar, of the vocabulary's questions, of words in any order
MOST_WORDS = 18


def drawn_question(rng: np.random.Generator, *, held_out: bool) -> str:
    """A question to be spoken; the same text is either always held out or never."""
    while True:
        text = _drawn(rng)
        words = spoken_words(text)
        if not (0 < len(words) <= MOST_WORDS and _SAYABLE.match(text)):
            continue
        if is_held_out(text) == held_out:
            return text


def grammar_question(rng: np.random.Generator) -> str:
    """A question of the grammar that is never trained on, as the bench asks it."""
    while True:
        text = _of_grammar(rng)
        if is_held_out(text) and _SAYABLE.match(text) and len(spoken_words(text)) <= MOST_WORDS:
            return text


def is_held_out(text: str) -> bool:
    """Whether the words of a text are among those never trained on."""
    digest = hashlib.sha256(" ".join(spoken_words(text)).encode()).digest()
    return digest[0] % _HELD_OUT_SHARE == 0


def drawn_voice(rng: np.random.Generator, *, held_out: bool) -> SpeakingConfig:
    """Who speaks, how fast and how high."""
    accent, variant = one_of(ACCENTS, rng), one_of(VARIANTS, rng)
    if held_out:
        if rng.random() < 0.25:
            accent = HELD_OUT_ACCENT
        else:
            variant = one_of(HELD_OUT_VARIANTS, rng)
    return SpeakingConfig(
        voice=f"{accent}+{variant}" if variant else accent,
        words_a_minute=int(rng.integers(120, 221)),
        pitch=int(rng.integers(25, 76)),
    )


def transcript_of(text: str) -> str:
    """What a model shall write: the words in lower case, and the mark at the end."""
    return " ".join(spoken_words(text)) + ("?" if text.rstrip().endswith("?") else ".")


def _drawn(rng: np.random.Generator) -> str:
    kind = int(rng.choice(3, p=_SHARES))
    if kind == 0:
        return _of_grammar(rng)
    if kind == 1:
        return expand(one_of(sentences("spoken")["asked"], rng), rng, _slots())
    words = _slots()["WORD"]
    return " ".join(one_of(words, rng) for _ in range(int(rng.integers(3, 8)))) + "."


def _of_grammar(rng: np.random.Generator) -> str:
    headings = [name for name in sentences(*_FILES) if name not in _NOT_SPOKEN]
    # The more ways a thing is asked in, the more often it is drawn.
    held = sentences(*_FILES)
    counts = np.array([len(held[name]) for name in headings])
    pattern = "{nonsense}"
    while "{nonsense}" in pattern or "{told_number}" in pattern:
        pattern = one_of(held[str(rng.choice(headings, p=counts / counts.sum()))], rng)
    text = expand(pattern, rng, _slots())
    if rng.random() < 0.1:
        text = f"{expand('{please}', rng, _slots())}, {text[:1].lower()}{text[1:]}"
    if rng.random() < 0.05:
        text = f"{expand(one_of(sentences('user')['preambles'], rng), rng, _slots())} {text}"
    return text


@cache
def _slots() -> Mapping[str, Sequence[str]]:
    """Words for the slots of the grammar, and of vocabulary.yaml in capitals."""
    held = vocabulary()
    wheres = tuple(way for ways in sentences("places").values() for way in ways)
    called = tuple(one for ways in KIND_WORDS.values() for one in ways)
    kinds = sorted({one for ways in held.kinds.values() for one in ways})
    own = {name.upper(): _sayable(held[name]) for name in held.headings}
    own |= {"KIND": _sayable(kinds), "WORD": _sayable(sorted(held.single))}
    own["DEFECTS"] = tuple(f"{one}s" for one in own["DEFECT"] if not one.endswith(("s", "y")))
    own |= {"where": wheres, "kind": called}
    return dict(sentences("words")) | own


def _sayable(words: Sequence[str] | frozenset[str]) -> tuple[str, ...]:
    """Those that are said as they are written: "take … off" is not."""
    return tuple(sorted(one for one in words if _SAYABLE.match(one)))
