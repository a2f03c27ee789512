"""A dialogue's answers as a page on which every word shows where it looked."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from anomalyst.errors import AnomalystError
from anomalyst.explaining.answers import looked
from anomalyst.explaining.attention import TokenAttention
from anomalyst.explaining.page import answer_view, token_view, write_looked
from anomalyst.io.pictures import open_picture
from anomalyst.report.sections import Section
from anomalyst.types import Dialogue
from anomalyst.vlm.facts import facts_of

if TYPE_CHECKING:
    from anomalyst.inspector import Inspector

INTRO = (
    "A token's attention is that of the place from which it was chosen; a word's is the mean over "
    "its tokens. Nine tokens show the language model the map of what differs, nine the picture, "
    "one each region; the record reaches it as text. A line with many tokens gathers more.",
    "Italic: the record's words, not the model's. Wavy: the model wanted another word, and the "
    "record held it.",
)
TOKENS = "The same token by token: rows are the answer's, columns all that was read before them."


def write_answers(
    out: Path,
    inspector: "Inspector",
    dialogue: Dialogue,
    on_answer: Callable[[], None] = lambda: None,
) -> Path:
    """The page of a dialogue. Raises AnomalystError for one in which nothing was answered."""
    if not dialogue.turns:
        raise AnomalystError("nothing was asked, so no word looked anywhere; give --ask TEXT.")
    found = dialogue.inspection
    picture = found.view if found.view is not None else open_picture(found.image)
    sections = []
    for number, turn in enumerate(dialogue.turns):
        with inspector.pipeline.threads():
            seen = looked(
                inspector.speaker, turn.question, turn.answer, facts_of(found), found.shown,
                dialogue.turns[:number],
            )  # fmt: skip
        tokens = TokenAttention(
            title=turn.question,
            weights=seen.weights,
            queries=seen.tokens[len(seen.kinds) :],
            keys=seen.tokens,
        )
        sections += [
            Section(title=turn.question, view=answer_view(seen, picture, found)),
            Section(sentences=(TOKENS,), view=token_view(tokens)),
        ]
        on_answer()
    return write_looked(out, f"Where the answers looked: {found.image.name}", INTRO, sections)
