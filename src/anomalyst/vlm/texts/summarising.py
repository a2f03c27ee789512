"""A text model as the writer of a shift's summary; what it writes is checked by the report."""

from collections.abc import Callable

from anomalyst.vlm.texts.loading import TextModel, load_text_model
from anomalyst.vlm.texts.records import ROWS, SUMMARY
from anomalyst.vlm.texts.writing import SUMMARY_DECODING, second_half, written


def shift_writer(spec: str) -> Callable[[str], str]:
    """A function from a shift's rows as one line to a summary, unchecked.

    Raises AnomalystError for a folder that holds no text model, or one that writes nothing.
    """
    model = load_text_model(spec)
    if model.objective not in ("next", "spans"):
        written(model, "", SUMMARY_DECODING)  # refuses
    return lambda rows: summarise(model, rows)


def summarise(model: TextModel, rows: str) -> str:
    """The summary that a model writes of a shift's rows."""
    return second_half(model, ROWS + rows, SUMMARY, SUMMARY_DECODING)
