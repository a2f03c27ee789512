"""`anomalyst study texts` and `study loops`: text models compared, and greedy loops with a cure."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, print_table, progress, say

OWN = ("bert", "gpt2", "bart")


def texts(
    models: Annotated[
        list[str],
        Argument(
            metavar="bert|gpt2|bart|run:DIR|DIR...",
            help="Recipes of --recipes, trained where they are not yet; runs; folders.",
        ),
    ],
    steps: Annotated[
        int | None, Option(min=10, help="Of each training.", show_default="the recipes'")
    ] = None,
    recipes: Annotated[Path, Option(metavar="DIR", help="Where bert.yaml, ... are.")] = Path(
        "recipes/texts"
    ),
    tiny: Annotated[bool, Option("--tiny", help="A few questions each, to try it.")] = False,
    out: opt.Results = Path("out/texts"),
) -> None:
    """Compare text models on the same tasks, with TF-IDF: kinds of notes, search, answers, shifts.

    Writes texts.html, texts.md, texts.json and the runs; goes on where it stopped. Any folder of
    BERT's class (RoBERTa, ...), GPT-2's or BART's (T5, ...) may stand beside our own.

    Example: anomalyst --threads 1 study texts bert gpt2 bart
    Example: anomalyst study texts run:runs/bert models/distilroberta-base
    """
    needs("evaluate", "sklearn")
    from anomalyst.training.studies.texts.comparison import (
        Asked,
        TextsStudy,
        judged_model,
        judged_tfidf,
    )
    from anomalyst.training.studies.texts.page import heads, table, write_texts_page
    from anomalyst.training.tasks.texts import drawn_texts
    from anomalyst.vlm.texts.loading import load_text_model

    loaded = [load_text_model(one) for one in models if one not in OWN]  # refused at once
    paths = {
        one: _trained(recipes / f"{one}.yaml", out / one, steps) for one in models if one in OWN
    }
    study = (
        TextsStudy(fitted_on=120, notes=60, searched=40, answers=3, shifts=2)
        if tiny
        else (TextsStudy())
    )
    asked = Asked.draw(study)
    rows = []
    with progress("Asking", len(models) + 1) as bar:
        rows.append(judged_tfidf(drawn_texts(300 if tiny else 4000, 1), asked, study))
        bar.advance()
        for one in (*(load_text_model(path) for path in paths.values()), *loaded):
            rows.append(judged_model(one, asked, study))
            bar.advance()
    names = dict(zip((str(path) for path in paths.values()), paths, strict=True))
    rows = [replace(row, name=names.get(row.name, row.name)) for row in rows]
    write_texts_page(out, study, rows)
    print_table("The same tasks", heads(rows), table(rows))
    typer.echo(f"Written to {out}: texts.html, texts.md, texts.json")


def loops(
    model: Annotated[str, Argument(metavar="run:DIR|DIR", help="Of GPT-2's class or BART's.")],
    prompts: Annotated[int, Option(min=1, help="Drawn records with a question.")] = 20,
    text: Annotated[
        str | None, Option(metavar="WORDS", help="Go on with this instead.", show_default="drawn")
    ] = None,
    out: opt.Results = Path("out/loops"),
) -> None:
    """Show the loops that greedy choice of words falls into, and what sampling and penalties do.

    Each text of 50 tokens is written five ways: greedy, 4 beams, sampling from the likeliest 90 %,
    a repetition penalty of 1.3, no 3-gram twice. Writes loops.html with texts side by side.

    Example: anomalyst study loops run:runs/gpt2
    Example: anomalyst study loops models/gpt2 --text "Once upon a time"
    """
    from anomalyst.errors import AnomalystError
    from anomalyst.training.studies.texts.loops import (
        HEADS,
        drawn_prompts,
        study_loops,
        table,
        write_loops_page,
    )
    from anomalyst.vlm.texts.loading import load_text_model
    from anomalyst.vlm.texts.writing import WAYS

    if text is not None and not text.strip():
        raise AnomalystError("--text: is empty; write words to go on with.")
    loaded = load_text_model(model)
    with progress("Writing", len(WAYS)) as bar:
        rows = study_loops(loaded, prompts, text=text, told=bar.show)
    shown = [text] if text else [prompt for _, prompt in drawn_prompts(prompts)]
    write_loops_page(out, loaded.name, rows, shown)
    print_table("Ways to choose words", HEADS, table(rows))
    example = next((row for row in rows if row.phrases[0]), None)
    if example is not None:
        say(f"For example, {example.way}: {example.texts[0]}")
    typer.echo(f"Written to {out}: loops.html, loops.md")


def _trained(recipe: Path, out: Path, steps: int | None) -> Path:
    """The model's folder of a recipe's run, trained where it is not there."""
    from anomalyst.training.loop import train
    from anomalyst.training.tasks import load_recipe

    wanted = load_recipe(recipe, [f"steps={steps}"] if steps else [])
    with progress(f"Training {out.name}", wanted.steps) as bar:

        def show(line: dict[str, object]) -> None:
            if "step" in line:
                bar.show(int(str(line["step"])))

        return train(wanted, out, on_log=show) or out / "model"
