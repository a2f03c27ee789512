"""Help: what each page does, in a minute."""

from pathlib import Path

import gradio as gr


def build() -> None:
    """The page."""
    gr.Markdown(Path(__file__).with_suffix(".md").read_text(encoding="utf-8"), elem_id="help")
