"""The page of the study: its tables, and in words what was not reached."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anomalyst.report.sections import Section
from anomalyst.training.studies.page import write_page
from anomalyst.training.studies.senses.detection import SENSES as DETECTING
from anomalyst.training.studies.senses.study import ONE_WAY, SETS, SensesStudy

WORDS = {"seen": "new products of known families", "unseen": "families never trained on"}
Figures = Mapping[str, Any]


def write_senses_page(out: Path, study: SensesStudy, figures: Figures) -> str:
    """OUT/senses.html and senses.md; returns the Markdown."""
    sections = [
        *(_retrieval(figures["retrieval"][which], which) for which in SETS),
        _emergent(figures["retrieval"]),
        _ways(figures["ways"], study),
        _losses(figures["losses"]),
        *(_zero_shot(figures["zero_shot"][which], which) for which in SETS),
        _conditions(figures["conditions"]),
        _probes(figures["probes"], figures["zero_shot"]),
        _detection(figures["detection"]),
    ]
    intro = [
        f"{study.parts} drawn parts of 22 families to train on; {study.held_out} new products of "
        f"these families and {study.held_out} parts of 7 families never seen to judge. "
        f"recipes/imagebind.yaml {study.bind_steps} steps, recipes/clip.yaml {study.clip_steps}, "
        f"seed {study.seed}. Every sense was trained beside images only."
    ]
    return write_page(out, "senses", "Six senses in one space", intro, sections)


def _retrieval(cells: Sequence[Figures], which: str) -> Section:
    """Recall of every sense by every other; * marks senses never trained together."""
    names = list(dict.fromkeys(cell["query"] for cell in cells))
    by_pair = {(cell["query"], cell["key"]): cell for cell in cells}
    rows = [
        [query, *(_cell(by_pair[query, key]) if query != key else "" for key in names)]
        for query in names
    ]
    gallery = cells[0]["gallery"]
    return Section(
        title=f"Which of {gallery} parts is it? {WORDS[which].capitalize()}",
        sentences=[
            f"Recall@1 / recall@5 in percent, {cells[0]['asked']} questions a cell; row: what is "
            f"asked with, column: what is looked through. Chance {100 / gallery:.1f} / "
            f"{500 / gallery:.1f}. * never trained together; ! not above chance (95 %, Wilson, "
            "recall@5)."
        ],
        heads=["", *names],
        rows=rows,
    )


def _cell(cell: Figures) -> str:
    shares = " / ".join(f"{100 * cell[f'recall@{k}']['share']:.1f}" for k in (1, 5))
    return shares + ("" if cell["paired"] else " *") + ("" if cell["beats_chance"]["5"] else " !")


def _emergent(sets: Mapping[str, Sequence[Figures]]) -> Section:
    """Cells that were never trained: how many beat chance."""
    rows = []
    for which, cells in sets.items():
        free = [cell for cell in cells if not cell["paired"]]
        for k in ("1", "5"):
            shares = [100 * cell[f"recall@{k}"]["share"] for cell in free]
            beat = sum(cell["beats_chance"][k] for cell in free)
            chance = 100 * int(k) / free[0]["gallery"]
            rows.append([WORDS[which], k, f"{beat} of {len(free)}", f"{min(shares):.1f}",
                         f"{sum(shares) / len(shares):.1f}", f"{max(shares):.1f}",
                         f"{chance:.1f}"])  # fmt: skip
    heads = ["set", "k", "cells above chance", "least", "mean", "most", "chance"]
    return Section(
        title="Emergent cells: senses that never met",
        sentences=["Recall in percent over the cells marked * above."],
        heads=heads,
        rows=rows,
    )


def _ways(ways: Mapping[str, Figures], study: SensesStudy) -> Section:
    """Symmetric InfoNCE against each direction."""
    couples = list(ways["both"])
    rows = [
        [couple, *(f"{100 * ways[way][couple]['recall@5']['share']:.1f}" for way in ONE_WAY)]
        for couple in couples
    ]
    return Section(
        title="Symmetric against one way",
        sentences=[
            f"Recall@5 in percent on {WORDS['seen']}; text and audio beside images, "
            f"{study.way_steps} steps each."
        ],
        heads=["asked -> looked through", *ONE_WAY],
        rows=rows,
    )


def _losses(losses: Mapping[str, Figures]) -> Section:
    rows = [
        [WORDS[which], couple, *(
            " / ".join(f"{100 * losses[loss][which][couple][f'recall@{k}']['share']:.1f}"
                       for k in (1, 5)) for loss in losses)]
        for which in SETS for couple in losses["infonce"][which]
    ]  # fmt: skip
    return Section(
        title="InfoNCE against the sigmoid",
        sentences=["CLIP, recall@1 / recall@5 in percent."],
        heads=["set", "asked -> looked through", *losses],
        rows=rows,
    )


def _zero_shot(found: Mapping[str, Figures], which: str) -> Section:
    rows = []
    for model, figures in found.items():
        for sense, one in figures.items():
            if sense != "chance":
                rows.append(
                    [model, sense, *(f"{100 * one[t]:.1f}" for t in ("family", "condition"))]
                )
    chance = found["imagebind"]["chance"]
    rows.append(["", "chance", *(f"{100 * chance[t]:.1f}" for t in ("family", "condition"))])
    told = "by name" if which == "seen" else "by what is said of material and machine"
    return Section(
        title=f"Named by sentences alone: {WORDS[which]}",
        sentences=[f"Percent right, mean over the classes; families {told}, 8 conditions."],
        heads=["towers", "sense", "family", "condition"],
        rows=rows,
    )


def _conditions(found: Sequence[Figures]) -> Section:
    """What each sense tells of the condition, before and in the common space."""
    rows = []
    for sense in dict.fromkeys(row["sense"] for row in found):
        mine = {row["what"]: row for row in found if row["sense"] == sense}
        cells = [f"{100 * mine[what][w]:.1f}" for w in SETS for what in ("plain", "tower")]
        rows.append([sense, *cells])
    return Section(
        title="What each sense tells of the condition",
        sentences=[
            "Percent right of 8 conditions, mean over the classes (chance 12.5): a linear probe "
            "with all labels on plain statistics of the sense, and on its tower's embedding."
        ],
        heads=["sense", *(f"{word}, {which}" for which in SETS for word in ("plain", "tower"))],
        rows=rows,
    )


def _probes(rows: Sequence[Figures], zero_shot: Mapping[str, Any]) -> Section:
    """One line for each target, set and way; numbers of labels across."""
    counts = list(dict.fromkeys(row["labels"] for row in rows))
    table = []
    for target, which in (("family", "seen"), ("condition", "seen"), ("condition", "unseen")):
        none = zero_shot[which]["clip"]["image"][target]
        dashes = ["-"] * len(counts)
        table.append([target, WORDS[which], "zero-shot", f"{100 * none:.1f}", *dashes])
        for way in dict.fromkeys(row["way"] for row in rows):
            cells = [
                f"{100 * row[which]:.1f}"
                for row in rows
                if row["target"] == target and row["way"] == way
            ]
            table.append([target, WORDS[which], way, "-", *cells])
    words = [f"{count or 'all'} a class" for count in counts]
    return Section(
        title="How many labels CLIP saves",
        sentences=["Percent right, mean over the classes, from the picture; one run a cell."],
        heads=["target", "set", "way", "no label", *words],
        rows=table,
    )


def _detection(products: Sequence[Mapping[str, Figures]]) -> Section:
    """Mean AUROC over held-out products, and on how many the taught features are better."""
    judged = [one for one in products if one]
    rows = []
    for sense in DETECTING:
        taught, plain = ([one[sense][name] for one in judged] for name in ("taught", "plain"))
        better = sum(a > b for a, b in zip(taught, plain, strict=True))
        means = [f"{100 * sum(figures) / len(figures):.1f}" for figures in (taught, plain)]
        rows.append([sense, *means, f"{better} of {len(judged)}"])
    return Section(
        title="Faults of products never seen, by one sense",
        sentences=[
            "Memory bank of 8 good instances; AUROC in percent, mean over the products: patches of "
            "the tower against plain ones (images: the ImageNet trunk; sound: log-mel; depth and "
            "heat: squares of pixels; vibration: log spectra)."
        ],
        heads=["sense", "tower's patches", "plain", "tower is better"],
        rows=rows,
    )
