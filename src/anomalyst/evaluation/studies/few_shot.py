"""The few-shot study: six ways with one, two and four good pictures, beside what was published."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from anomalyst.evaluation.baselines.comparison import ComparisonConfig, Tell, compare_baselines
from anomalyst.evaluation.baselines.report import Contest
from anomalyst.evaluation.studies.few_shot_report import write_report
from anomalyst.evaluation.studies.few_shot_tables import METHODS, Section, Setting, sections
from anomalyst.types import Sample


def study_few_shot(
    samples: Sequence[Sample],
    config: ComparisonConfig,
    *,
    name: str,
    out: Path,
    progress: Tell = lambda *_: None,
) -> list[Section]:
    """Measure the six methods on a set, called `name`, and put the published figures beside.

    OUT/few-shot.md, few-shot.html and few-shot.png are written anew after every method; runs are
    kept, and gone on with, as `compare_baselines` does. Raises AnomalystError as that does.
    """
    config = replace(config, scorers=tuple(METHODS.values()))
    setting = Setting.of(samples, config, name)

    def write(contests: Sequence[Contest], out: Path) -> None:
        write_report(sections(contests, setting), config.shots, out)

    contests = compare_baselines(samples, config, out=out, progress=progress, write=write)
    return sections(contests, setting)
