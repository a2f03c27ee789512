"""The ability matrix: what trying showed, and for what cannot be tried here what was reported."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from anomalyst.evaluation.baselines.comparison import ComparisonConfig, contenders
from anomalyst.evaluation.baselines.methods.text import Clip
from anomalyst.evaluation.reports.tables import markdown_table
from anomalyst.evaluation.studies.abilities import (
    CHECKS,
    AbilityConfig,
    Found,
    draw_products,
    try_method,
)
from anomalyst.evaluation.studies.few_shot_tables import METHODS
from anomalyst.io.files import write_text
from anomalyst.version import __version__

FILE = Path(__file__).with_name("abilities.yaml")
# Of AnomalyGPT only the map by patches is run: its verdicts and words need its language model.
NOT_TRIED = {"AnomalyGPT": ("judgement", "dialogue")}


def study_abilities(
    out: Path,
    *,
    clip: str | None = None,
    config: AbilityConfig | None = None,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> str:
    """Try every method that can be run and write OUT/abilities.json and abilities.md; its text.

    `progress` hears what is tried, how many products are done, and of how many. Raises
    AnomalystError for a CLIP folder that cannot be read, and if `out` cannot be written.
    """
    config = config or AbilityConfig()
    found: dict[str, dict[str, Found]] = {}
    comparison = ComparisonConfig(scorers=tuple(METHODS.values()), clip=clip)
    methods = contenders(comparison, Clip(clip) if clip else None)
    names = {scorer: name for name, scorer in METHODS.items()}
    total = len(methods) * len(config.products)
    with TemporaryDirectory() as folder:
        products = draw_products(Path(folder), config)
        for number, method in enumerate(methods):
            name, before = names[method.scorer], number * len(products)
            progress(name, before, total)
            every = try_method(method.inspector, products, config)
            found[name] = {a: f for a, f in every.items() if a not in NOT_TRIED.get(name, ())}
    progress("done", total, total)
    record = {name: {a: asdict(f) for a, f in row.items()} for name, row in found.items()}
    write_text(out / "abilities.json", json.dumps(record, indent=2) + "\n")
    text = as_markdown(found, config)
    write_text(out / "abilities.md", text)
    return text


def as_markdown(found: Mapping[str, Mapping[str, Found]], config: AbilityConfig) -> str:
    """The matrix in Markdown; each cell says whether it was tried or is quoted."""
    reported = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    rows = [
        _row(group, method, found.get(method, {}))
        for group in reported["families"]
        for method in group["methods"]
    ]
    return (
        "\n\n".join(
            [
                "# What the methods can do",
                markdown_table(["family", "method", *CHECKS], rows, words=2 + len(CHECKS)),
                _notes(config, reported["source"]),
                f"Made by Anomalyst {__version__}.",
            ]
        )
        + "\n"
    )


def _row(group: Mapping[str, Any], method: str, tried: Mapping[str, Found]) -> list[str]:
    return [group["family"], method, *(_cell(tried, group["quoted"], one) for one in CHECKS)]


def _cell(tried: Mapping[str, Found], quoted: Mapping[str, bool | None], ability: str) -> str:
    if ability in tried:
        return f"{'yes' if tried[ability].able else 'no'} ({tried[ability].shown})"
    known = quoted.get(ability)
    return "not known" if known is None else f"{'yes' if known else 'no'} [quoted]"


def _notes(config: AbilityConfig, source: str) -> str:
    share, count = f"{100 * config.share_least:g} %", len(config.products)
    of = f"{count * config.test_good} sound and {count * config.test_bad} defective pictures"
    return (
        "Tried here, by `anomalyst study abilities`: the cells with figures, on "
        f"{of} of {count} drawn products ({', '.join(config.products)}), with the checks of "
        "`evaluation/studies/abilities.py`. Our own detector learned from drawn products, the "
        "others did not: which is better is for `study few-shot` to say.\n\n"
        f"- few-shot: taught one good picture, image AUROC of at least {config.auroc_least};\n"
        f"- score: taught {config.good}, the same;\n"
        f"- localisation: the map's peak lies in the defect, in {share} of defective pictures;\n"
        f"- judgement: a verdict without a threshold from the user, right for {share} of either "
        "kind;\n"
        '- dialogue: three turns about a defect of each product: "yes", its place, a size.\n\n'
        f"[quoted]: not run here; reported of the method, or of its family, by {source}. "
        '"not known": the sources at hand do not say. WinCLIP, and AnomalyGPT\'s map by patches, '
        "are run with `--clip DIR`; AnomalyGPT's verdicts and words are quoted then, too."
    )
