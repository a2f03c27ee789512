"""The alignment study as a page: rewards, wins, what was right, and the curves."""

from collections.abc import Sequence
from pathlib import Path

from anomalyst.report.sections import Section
from anomalyst.training.experiments.plots import draw_alignment, draw_calibration
from anomalyst.training.experiments.runs import read_run
from anomalyst.training.studies.alignment import AlignmentStudy, TasteResult
from anomalyst.training.studies.page import write_page

CURVED = ("ppo", "grpo")


def write_alignment_page(study: AlignmentStudy, results: Sequence[TasteResult], out: Path) -> str:
    """OUT/alignment.html and .md; returns the Markdown."""
    intro = [
        f"Simulated inspectors; {100 * study.noise:.0f} % of their comparisons come out the wrong "
        f"way. Each words {study.corrections} answers better, and ranks four answers sampled from "
        f"the model after SFT to {study.rankings} questions. Judged by the taste itself on "
        f"{study.questions} held-out questions, answered greedily and unchecked."
    ]
    sections = [_rewards(results), _wins(results)]
    sections += [_models(one) for one in results]
    for one in results:
        sections += _curves(one, out / one.taste)
    return write_page(out, "alignment", "Alignment with simulated inspectors", intro, sections)


def _rewards(results: Sequence[TasteResult]) -> Section:
    rows = [
        [one.taste, str(one.reward["pairs"]),
         f"{100 * one.reward['ranked_wrong'] / max(1, one.reward['ranked_pairs']):.1f}",
         str(one.reward["held_out_pairs"]),
         f"{100 * one.reward['accuracy']:.1f}", f"{100 * one.reward['accuracy_by_taste']:.1f}",
         f"{one.reward['calibration_error']:.3f}"]
        for one in results
        if one.reward
    ]  # fmt: skip
    heads = [
        "taste", "pairs", "of the ranked the wrong way, %", "held-out pairs", "ranked right, %",
        "without noise, %", "calibration error",
    ]  # fmt: skip
    said = ["Held-out pairs are noisy like the others, so nothing can rank all of them right."]
    return Section(title="Reward models", sentences=said, heads=heads, rows=rows)


def _wins(results: Sequence[TasteResult]) -> Section:
    methods = list(dict.fromkeys(name for one in results for name in one.wins))
    rows = [
        [one.taste, *(f"{100 * one.wins[m]:.0f}" if m in one.wins else "-" for m in methods)]
        for one in results
    ]
    said = ["Share of questions whose answer the taste likes better than SFT's; ties count half."]
    said += [f"{one.taste}, {run}: {why}" for one in results for run, why in one.stopped.items()]
    return Section(
        title="Wins against SFT, %", sentences=said, heads=["taste", *methods], rows=rows
    )


def _models(one: TasteResult) -> Section:
    rows = [
        [name, f"{found['liked']:.2f}", f"{found['verifiable']:.3f}", f"{100 * found['right']:.1f}",
         f"{100 * found['contradicting']:.1f}", f"{found['words']:.1f}"]
        for name, found in one.models.items()
    ]  # fmt: skip
    heads = ["model", "liked", "verifiable reward", "all right, %", "contradicting, %", "words"]
    return Section(title=f"Taste: {one.taste}", heads=heads, rows=rows)


def _curves(one: TasteResult, folder: Path) -> list[Section]:
    found = []
    if one.reward:
        found.append(
            Section(
                title=f"{one.taste}: reward model", picture=draw_calibration(
                    one.reward["calibration"]), shows="How often it is right, by how sure it is",
            )
        )  # fmt: skip
    for run in sorted(folder.glob("round-*/*")):
        if run.name in CURVED and (run / "log.jsonl").is_file():
            title = f"{one.taste}: {run.name}, {run.parent.name.replace('-', ' ')}"
            picture = draw_alignment(read_run(run).lines)
            found.append(Section(title=title, picture=picture, shows="Rewards, KL, entropy"))
    return found
