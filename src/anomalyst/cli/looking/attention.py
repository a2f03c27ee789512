"""`anomalyst look attention` and `look bert`: who looks at whom."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from anomalyst.cli.looking.opening import Model, Out, opened, page_path, picture_at
from anomalyst.cli.screen import needs, progress
from anomalyst.errors import AnomalystError

if TYPE_CHECKING:
    from anomalyst.report.sections import Section

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
READ = (
    "Rows look at columns. A share says what a head read, not why the model decided: heads that "
    "find nothing they seek put their share on the first token or on marks."
)


def attention(
    model: Model,
    what: Annotated[str, Argument(metavar="PICTURE|TEXT", help="A picture's file, or a text.")],
    out: Out = None,
) -> None:
    """Where each layer and head of a model looks, on a picture or among the tokens of a text.

    Pictures: vision transformers; heat over the picture by layer, head and token, and attention
    rollout. Texts: any Hugging Face language model, or `language`, the one that ships; matrices
    with numbers, and lines.

    Example: anomalyst look attention models/dinov2-small part.png
    Example: anomalyst look attention segment part.png --out looked.html
    Example: anomalyst look attention language "Is there a defect, and where?"
    """
    path = page_path(out, "attention")
    file = Path(what)
    is_picture = file.suffix.lower() in PICTURES or (len(what) < 250 and file.is_file())
    sections, intro = _of_picture(model, file) if is_picture else _of_text(model, what)
    from anomalyst.explaining.page import write_looked

    name = file.name if is_picture else "a text"
    typer.echo(f"Written to {write_looked(path, f'Where {model} looks: {name}', intro, sections)}")


def _of_picture(source: str, file: Path) -> "tuple[list[Section], list[str]]":
    from anomalyst.explaining.page import patch_view
    from anomalyst.explaining.patches import patch_attention
    from anomalyst.report.sections import Section

    picture = picture_at(file)
    sections = []
    for found in patch_attention(opened(source), picture):
        rolled = found.asking_row(found.rolled)
        last = found.asking_row(found.weights[-1].mean(0))
        whose = "the class token" if found.names else "the mean over all patches"
        rows, columns = found.grid_hw
        sections.append(
            Section(
                title=f"{len(found.layers)} layers of {found.weights.shape[1]} heads, "
                f"{rows} x {columns} patches",
                view=patch_view(picture, found.weights, found.rolled, found.grid_hw, found.names),
                pictures=(
                    (f"Rollout through all layers, of {whose}", found.summary(rolled, picture)),
                    (f"Last layer, mean over heads, of {whose}", found.summary(last, picture)),
                ),
            )
        )
        typer.echo(
            f"{len(found.layers)} layers, {found.weights.shape[1]} heads, {rows} x {columns} "
            f"patches; rollout of {whose}: most on {_best(rolled, found.grid_hw)}."
        )
    return sections, [
        "Heat is scaled to the largest share shown. Rollout multiplies the layers' mean attention, "
        "half of it the residual path (Abnar and Zuidema 2020).",
        READ,
    ]


def _best(row: "object", grid_hw: tuple[int, int]) -> str:
    import numpy as np

    cells = np.asarray(row)[-grid_hw[0] * grid_hw[1] :]
    best = int(cells.argmax())
    return (
        f"row {best // grid_hw[1] + 1}, column {best % grid_hw[1] + 1} ({cells[best]:.2%}, "
        f"{cells[best] * len(cells):.1f} times an even share)"
    )


def _of_text(source: str, text: str) -> "tuple[list[Section], list[str]]":
    import torch

    from anomalyst.explaining.attention import token_attention
    from anomalyst.explaining.opening import open_text_model
    from anomalyst.explaining.page import token_view
    from anomalyst.explaining.record import recorded
    from anomalyst.report.sections import Section

    if not text.strip():
        raise AnomalystError("the text is empty; give a sentence, or a picture's file.")
    opened_model = open_text_model(source)
    inputs, tokens = opened_model.read(text)
    most = getattr(opened_model.network.config, "max_position_embeddings", 0) or 1024
    if len(tokens) > min(most, 512):
        raise AnomalystError(
            f"the text has {len(tokens)} tokens; at most {min(most, 512)} can be shown. Give less."
        )
    with torch.inference_mode(), recorded(opened_model.network, attention=True) as record:
        opened_model.network(**inputs)
    if not record.attention:
        raise AnomalystError(
            f"{source}: attends nowhere that can be recorded, so there is nothing to show; give a "
            "transformer."
        )
    found = token_attention(record.layers(), tuple(tokens))
    for one in found:
        typer.echo(f"{one.title}: {one.weights.shape[0]} layers, {one.weights.shape[1]} heads.")
    return [Section(title=one.title, view=token_view(one)) for one in found], [READ]


def bert(
    epochs: Annotated[int, Option(min=1, help="Passes over the two sentences.")] = 10,
    seed: Annotated[int, Option(help="Of the weights it begins with.")] = 0,
    out: Out = None,
) -> None:
    """Build and train a small BERT on two sentences with one word in two senses; look into it.

    Width 128, 2 heads, 2 layers, MLP 256. The page has every layer and head, and for each sentence
    the mean over the heads of layer 1 as a picture with numbers, written beside it as PNG, too.

    Example: anomalyst look bert --out out/bert.html
    """
    needs("evaluate", "matplotlib")
    from anomalyst.explaining.drawn_matrix import draw_matrix
    from anomalyst.explaining.page import token_view, write_looked
    from anomalyst.explaining.small_bert import SmallBertConfig, train_small_bert
    from anomalyst.report.sections import Section

    path = page_path(out, "bert")
    config = SmallBertConfig(epochs=epochs, seed=seed)
    losses: list[float] = []
    with progress("Training", epochs) as bar:

        def heard(loss: float) -> None:
            losses.append(loss)
            bar.advance()

        model, found = train_small_bert(config, heard)
    count = sum(one.numel() for one in model.parameters())
    sections = []
    for number, one in enumerate(found, start=1):
        picture = draw_matrix(
            path.with_name(f"{path.stem}-{number}.png"), one.weights[0].mean(0), one.queries,
            f"Layer 1, mean over {config.heads} heads",
        )  # fmt: skip
        sections.append(
            Section(
                title=one.title, view=token_view(one),
                pictures=(("Layer 1, mean over the heads, with numbers", picture),),
            )
        )  # fmt: skip
    intro = (
        f"BERT of {count:,} parameters (width {config.width}, {config.heads} heads, "
        f"{config.layers} layers, MLP {config.mlp}), {epochs} epochs of AdamW at "
        f"{config.learning_rate:g}; loss {losses[0]:.2e} to {losses[-1]:.2e}.",
        "The loss is the mean of the hidden states, as in the lesson this repeats: it teaches "
        "nothing of language, and attention stays near even. The page shows how to read such "
        "pictures, not what the two apples mean.",
        READ,
    )
    typer.echo(f"{count:,} parameters; loss {losses[0]:.3e} to {losses[-1]:.3e}.")
    typer.echo(
        f"Written to {write_looked(path, 'A small BERT and its two apples', intro, sections)}"
    )
