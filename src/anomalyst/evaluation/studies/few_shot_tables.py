"""The few-shot table as data: what was measured, and what was published of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from anomalyst.evaluation.baselines.comparison import ComparisonConfig, Shots
from anomalyst.evaluation.baselines.methods.clip_references import PatchBank, WinCLIPPlus
from anomalyst.evaluation.baselines.report import OURS, Contest
from anomalyst.evaluation.reports.tables import Line, Spread
from anomalyst.evaluation.studies.published import Figure, PublishedSet, published_sets
from anomalyst.types import Sample

METHODS = {  # the table's name -> that of `bench peers`
    "SPADE": "SPADE",
    "PaDiM": "PaDiM",
    "PatchCore": "PatchCore",
    "WinCLIP": WinCLIPPlus.name,
    "AnomalyGPT": PatchBank.name,
    "ours": OURS,
}
ON_CLIP = ("WinCLIP", "AnomalyGPT")
NETWORKS = "Published figures are of other networks and picture sizes than the measured ones."
APART = "Not the pictures that were measured, so nothing here stands beside a measured figure."
Origin = Literal["measured", "quoted"]
Pair = tuple[Figure | None, Figure | None]  # image AUROC, pixel AUROC; None: not defined


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One method: for each number of good pictures its figures, or why there are none."""

    method: str
    features: str
    origin: Origin
    cells: Mapping[Shots, Pair | str]

    def text(self, shots: Shots) -> str:
        """Image / pixel AUROC as in the tables, or the reason."""
        cell = self.cells[shots]
        if isinstance(cell, str):
            return cell
        return " / ".join("-" if one is None else one.text() for one in cell)


@dataclass(frozen=True, slots=True)
class Section:
    """One table: what was measured, or published, on one set."""

    title: str
    said: str
    rows: list[Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is measured, in words for the tables."""

    name: str
    categories: frozenset[str]
    masked: frozenset[str]  # categories whose defects' places are known
    paired: tuple[str, ...]  # categories whose pictures each have a reference of their own
    config: ComparisonConfig

    @classmethod
    def of(cls, samples: Sequence[Sample], config: ComparisonConfig, name: str) -> "Setting":
        """That of a set which is called `name`."""
        paired = sorted({s.category for s in samples if s.reference and s.split == "test"})
        categories = frozenset(sample.category for sample in samples)
        return cls(
            name=name,
            categories=categories,
            masked=frozenset(sample.category for sample in samples if sample.mask),
            paired=tuple(paired),
            config=config,
        )

    def is_of(self, known: PublishedSet) -> bool:
        """Whether the set has a published set's categories, all of them and no other."""
        return self.categories == known.categories

    def said(self) -> str:
        """What a reader must know of the measured figures."""
        most, draws = self.config.max_pictures, self.config.seeds
        spread = f" ± standard deviation over {draws} draws" if draws > 1 else ", one draw"
        parts = [
            f"Image / pixel AUROC in percent, mean over {len(self.categories)} categories"
            f"{spread} of the good pictures",
            "every test picture" if most is None else f"at most {most} test pictures a category",
        ]
        if self.masked != self.categories:
            parts.append(f"pixel AUROC over the {len(self.masked)} whose defects have masks")
        if self.paired:
            parts.append(
                f"{', '.join(self.paired)}: each picture has a reference of its own and is "
                "compared with that alone, once, whatever the number of good pictures"
            )
        return "; ".join(parts) + "."


def sections(contests: Sequence[Contest], setting: Setting) -> list[Section]:
    """The measured table, then the published ones; one table where both are of the same set."""
    shots = setting.config.shots
    measured = [_measured(method, contests, setting.config) for method in METHODS]
    found = [Section(f"Measured on {setting.name}", setting.said(), measured)]
    for known in published_sets():
        quoted = [_quoted(method, known, shots) for method in METHODS if method in known.figures]
        source = f"{known.source}. {_answers(known)}"
        if setting.is_of(known):
            rows = [*measured, *quoted]
            beside = [row for method in METHODS for row in rows if row.method == method]
            said = f"{setting.said()} Quoted: {source} {NETWORKS}"
            found[0] = Section(f"Measured and reported on {known.name}", said, beside)
        else:
            found.append(Section(f"Reported on {known.name}", f"{source} {APART}", quoted))
    return found


def _answers(known: PublishedSet) -> str:
    """The share of right answers, which only a method that answers has."""
    parts = [
        f"{method}'s answers to whether there is a defect were right in "
        + ", ".join(f"{one.text()} % ({shots}-shot)" for shots, one in row.items())
        for method, row in known.accuracy.items()
    ]
    return f"{'; '.join(parts)}."


def _measured(method: str, contests: Sequence[Contest], config: ComparisonConfig) -> Row:
    lines: dict[Shots, Line] = {}
    features = "-"
    for contest in contests:
        for entry in contest.entries:
            if entry.scorer == METHODS[method]:
                lines[contest.shots], features = entry.lines[0], entry.features
    without = "not measured yet"
    if method in ON_CLIP and config.clip is None:
        without = "not measured: needs a CLIP folder, --clip DIR"
    cells = {shots: _pair(lines[shots]) if shots in lines else without for shots in config.shots}
    return Row(method=method, features=features, origin="measured", cells=cells)


def _pair(line: Line) -> Pair:
    image, pixel = (line.metrics[name] for name in ("image_auroc", "pixel_auroc"))
    return _figure(image, line.runs), _figure(pixel, line.runs)


def _figure(spread: Spread, draws: int) -> Figure | None:
    if spread.mean is None or spread.std is None:
        return None
    return Figure(100 * spread.mean, 100 * spread.std if draws > 1 else None)


def _quoted(method: str, known: PublishedSet, shots: Sequence[Shots]) -> Row:
    row = known.figures[method]
    cells: dict[Shots, Pair | str] = dict.fromkeys(shots, "not in the source")
    cells |= {one: row[one] for one in shots if one != "all" and one in row}
    return Row(method=method, features="theirs", origin="quoted", cells=cells)
