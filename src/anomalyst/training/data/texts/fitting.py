"""The heads of a text model, fitted on drawn notes and their records."""

from collections.abc import Callable

import numpy as np

from anomalyst.training.data.texts.drawn import TEXTS_SEED, draw_facts, kind_of, note_of, told
from anomalyst.vlm.facts import Facts
from anomalyst.vlm.texts.heads import Heads
from anomalyst.vlm.texts.loading import TextModel
from anomalyst.vlm.texts.records import NOTE, RECORD

FITTED_ON = 600  # drawn notes
Noted = tuple[Facts, str]  # a part's facts, and a note about it


def drawn_notes(count: int, seed: int) -> list[Noted]:
    """Notes that no training of texts with a like seed has seen."""
    rng = np.random.default_rng((TEXTS_SEED, 1, seed))
    drawn = [draw_facts(rng) for _ in range(count)]
    return [(facts, note_of(facts, rng)) for facts in drawn]


def fitted_heads(
    model: TextModel, *, seed: int, count: int = FITTED_ON, labelled: int | None = None
) -> Heads:
    """A model's heads; `labelled`: so few of the notes tell their kind."""
    return fit(model, drawn_notes(count, seed), labelled)


def fit(model: TextModel, noted: list[Noted], labelled: int | None = None) -> Heads:
    """A model's heads from given notes."""
    notes = model.embed([NOTE + note for _, note in noted])
    records = model.embed([RECORD + told(facts) for facts, _ in noted])
    return Heads.fit(notes, records, [kind_of(facts) for facts, _ in noted], labelled)


def with_heads(model: TextModel, say: Callable[[str], None] = lambda _: None) -> TextModel:
    """The model, with heads fitted now where its folder has none."""
    if model.heads is not None:
        return model
    say(f"{model.name}: has no heads; fitting them on {FITTED_ON} drawn notes.")
    heads = fitted_heads(model, seed=0)
    return TextModel(model.name, model.objective, model.model, model.tokenizer, heads)
