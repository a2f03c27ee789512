"""Data set x references x seeds -> metrics, through the same `Inspector` as the user."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, Protocol, cast

from anomalyst.config import to_mapping
from anomalyst.datasets.splits import k_shot
from anomalyst.errors import AnomalystError, PictureError
from anomalyst.evaluation.protocols.areas import areas_for
from anomalyst.evaluation.protocols.plans import Plan, plan_runs
from anomalyst.evaluation.protocols.run_records import Run, RunFolder, Skipped, folder_name
from anomalyst.evaluation.protocols.tally import Tally
from anomalyst.evaluation.reports.failures import worst
from anomalyst.evaluation.reports.kept_pictures import keep_failures
from anomalyst.evaluation.reports.plots import draw_sheet
from anomalyst.io.pictures import open_picture
from anomalyst.teaching.known_defects.defects import KnownDefects
from anomalyst.teaching.known_defects.limits import BAD_LEAST, BAD_MOST, GOOD_LEAST
from anomalyst.types import Inspection, Sample
from anomalyst.version import __version__


class Evaluable(Protocol):
    """What can be evaluated: the Inspector, or any other method with these verbs."""

    @property
    def name(self) -> str:
        """What the tables call it."""

    @property
    def fingerprint(self) -> str:
        """Which weights and settings: runs of another fingerprint are not gone on with."""

    def named(self, category: str) -> "Evaluable":
        """The same for the products of a category, where their name matters; else itself."""

    def teach(
        self,
        name: str,
        good: Sequence[Path],
        *,
        adapted: bool | None = None,
        bad: KnownDefects | None = None,
    ) -> Any:
        """A product from good pictures, and a few defective ones."""

    def untaught(self) -> Any:
        """A product of which no good picture is known."""

    def inspect_many(
        self, images: Sequence[Path], product: Any, *, false_alarm_rate: float
    ) -> Iterator[Inspection | PictureError]:
        """One answer per picture, in order; for a broken one the error is the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolConfig:
    """How a data set is evaluated; saved with the results and compared before going on."""

    shots: int | Literal["all"] = 1
    """Good training pictures taught; 0 and "all" make one run, there is nothing to draw."""
    seeds: int = 5
    """Draws of the references, numbered from 0: one run of each category per draw."""
    map_side_px: int = 256
    """Maps and masks are compared at the picture's aspect and the area of this square."""
    false_alarm_rate: float = 0.05
    """The rate the verdicts are asked to keep, shown beside the measured one."""
    adapted: bool | None = None
    """Whether the detector is fitted to each product (`Inspector.teach`)."""
    worst: int = 20
    """How many pictures of a category the page of failures shows, of the first draw."""
    language: bool = False
    """Whether each picture is asked about, and the words are judged (evaluation/language.py)."""
    side: str | None = None
    """What the inspector was told of its working side, for the record; None: the encoder's own."""
    max_pictures: int | None = None
    """At most so many test pictures per category, evenly spaced over labels and defect kinds."""
    bad_shots: int = 0
    """Defective test pictures drawn by seed and taught, too; the figures are of the others."""

    areas: str | None = None
    """Which places count, by category, as JSON (areas.py); what does not is in no figure."""

    def __post_init__(self) -> None:
        shots = GOOD_LEAST if self.shots == "all" else self.shots
        for wrong, sentence in (
            (shots < 0, f'shots is {shots}; 0 or more, or "all", is needed.'),
            (self.seeds < 1, f"seeds is {self.seeds}; at least 1 is needed."),
            (self.map_side_px < 32, f"map_side_px is {self.map_side_px}; at least 32 is needed."),
            (
                not 0 < self.false_alarm_rate < 1,
                f"false_alarm_rate is {self.false_alarm_rate}; a share between 0 and 1 is needed.",
            ),
            (
                self.max_pictures is not None and self.max_pictures < 2,
                f"max_pictures is {self.max_pictures}; at least 2 are needed, one of each label.",
            ),
            (
                self.bad_shots and not BAD_LEAST <= self.bad_shots <= BAD_MOST,
                f"bad_shots is {self.bad_shots}; 0, or {BAD_LEAST} to {BAD_MOST}, is needed.",
            ),
            (
                self.areas and (self.bad_shots or self.shots == 0),
                "areas are drawn on a good picture, and known defects set no threshold for them; "
                "leave out bad_shots, and give 1 shot or more.",
            ),
            (
                self.bad_shots and shots < GOOD_LEAST,
                f"bad_shots needs {GOOD_LEAST} shots or more, for good pictures are judged by the "
                f"others; shots is {shots}.",
            ),
        ):
            if wrong:
                raise AnomalystError(sentence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an evaluation is; pictures of runs that were finished before are not counted."""

    category: str
    seed: int
    pictures_done: int
    pictures_total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Every run of an evaluation."""

    inspector: str
    config: ProtocolConfig
    runs: tuple[Run, ...]

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Every picture that could not be used, once, in the order they were met."""
        return tuple(dict.fromkeys(s for run in self.runs for s in run.skipped))


def evaluate(
    inspector: Evaluable,
    samples: Sequence[Sample],
    config: ProtocolConfig,
    *,
    out: Path,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Results:
    """Teach and inspect every category under every seed; go on where an earlier call stopped.

    A category whose test pictures carry their own `reference` is run paired: once, each picture
    against a product taught from its reference alone. Any other is taught `config.shots` normal
    training pictures drawn by seed. Test pictures without a label are left out. A picture that
    cannot be used is listed and skipped; a reference that cannot be is replaced by another draw.
    Anomalous pictures without a mask count in the picture metrics only.

    Each finished run is kept in `out` (run_records.py), the first of each category with a sheet of
    its best and worst cases; `progress` is called after every picture. Raises AnomalystError if
    `out` holds another evaluation, or a category cannot be run: too few references, no test
    pictures with a label, only some of them paired.
    """
    plans = plan_runs(
        samples,
        config.shots,
        config.seeds,
        max_pictures=config.max_pictures,
        bad_shots=config.bad_shots,
    )
    protocol = {
        "anomalyst": __version__,
        "inspector": inspector.name,
        "fingerprint": inspector.fingerprint,
        **to_mapping(config),
    }
    folder = RunFolder(out, protocol)
    found = [folder.finished(plan.category, plan.seed, plan.digest) for plan in plans]
    total = sum(len(plan.test) for plan, run in zip(plans, found, strict=True) if run is None)
    evaluation = _Evaluation(inspector, config, folder, total, progress)
    runs = [run or evaluation.run(plan) for plan, run in zip(plans, found, strict=True)]
    return Results(inspector=inspector.name, config=config, runs=tuple(runs))


class _Evaluation:
    """What the runs of one evaluation share, and how many pictures are done."""

    def __init__(
        self,
        inspector: Evaluable,
        config: ProtocolConfig,
        folder: RunFolder,
        total: int,
        tell: Callable[[Progress], None],
    ):
        self.inspector, self.config, self.folder = inspector, config, folder
        self._named: dict[str, Evaluable] = {}  # of the category at hand
        self._done, self._total, self._tell = 0, total, tell

    def run(self, plan: Plan) -> Run:
        """Teach, inspect every test picture, count, and keep the run."""
        tally = Tally(self.config.map_side_px)
        if plan.category not in self._named:
            self._named = {plan.category: self.inspector.named(plan.category)}
        references: list[Path] = []
        teach_seconds, started = 0.0, perf_counter()
        for product, good, queries in self._lessons(plan, tally):
            teach_seconds += perf_counter() - started
            references += good
            images = [query.image for query in queries]
            answers = self._named[plan.category].inspect_many(
                images, product, false_alarm_rate=self.config.false_alarm_rate
            )
            for query, answer in zip(queries, answers, strict=True):
                if isinstance(answer, PictureError):
                    tally.skip(answer)
                else:
                    tally.add(query, answer)
                self._tick(plan)
            started = perf_counter()
        run = Run(
            category=plan.category,
            seed=plan.seed,
            paired=plan.paired,
            references=tuple(path.as_posix() for path in references),
            pictures=len(tally.rows),
            pixel_pictures=tally.num_maps,
            metrics=tally.metrics(),
            teach_seconds=teach_seconds,
            digest=plan.digest,
            skipped=tuple(tally.skipped),
            notes=tuple(tally.notes),
        )
        self._keep(run, plan, tally)
        return run

    def _keep(self, run: Run, plan: Plan, tally: Tally) -> None:
        out, name = self.folder.out, folder_name(plan.category)
        if plan.seed == 0:
            title = f"{plan.category or 'all'}: {self.inspector.name}"
            draw_sheet(tally.extremes.groups(), out / "sheets" / f"{name}.png", title)
            keep_failures(out, name, worst(tally.judged, self.config.worst))
        place = {sample.image.as_posix(): number for number, sample in enumerate(plan.test)}
        self.folder.save(run, sorted(tally.rows, key=lambda row: place[row.path]))

    def _tick(self, plan: Plan, pictures: int = 1) -> None:
        self._done += pictures
        self._tell(
            Progress(
                category=plan.category,
                seed=plan.seed,
                pictures_done=self._done,
                pictures_total=self._total,
            )
        )

    def _lessons(self, plan: Plan, tally: Tally) -> Iterator[tuple[Any, list[Path], list[Sample]]]:
        """(product, its references, the pictures to inspect with it), one product at a time."""
        if self.config.shots == 0:
            yield self._named[plan.category].untaught(), [], plan.test
            return
        if not plan.paired:
            yield *self._teach_draw(plan, tally), plan.test
            return
        # By reference, so that each is taught once and its product need not be kept.
        by_reference: dict[Path, list[Sample]] = {}
        for sample in plan.test:
            assert sample.reference is not None
            by_reference.setdefault(sample.reference, []).append(sample)
        for reference, queries in by_reference.items():
            try:
                product = self._teach(plan, [reference])
            except PictureError as error:
                tally.skip(error)
                reason = f"its reference {reference} is not usable."
                for query in queries:
                    tally.skip(PictureError(query.image, reason))
                self._tick(plan, len(queries))
            else:
                yield product, [reference], queries

    def _teach_draw(self, plan: Plan, tally: Tally) -> tuple[Any, list[Path]]:
        """(product, its references); a broken picture leaves the pool, and others are drawn."""
        pool, shots = list(plan.train), self.config.shots
        while True:
            count = max(1, len(pool)) if shots == "all" else shots
            good = [sample.image for sample in k_shot(pool, count, plan.seed)]
            try:
                return self._teach(plan, good), good
            except PictureError as error:
                if error.path not in good:
                    raise
                tally.skip(error)
                pool = [sample for sample in pool if sample.image != error.path]

    def _teach(self, plan: Plan, good: Sequence[Path]) -> Any:
        """A product of exactly these pictures; PictureError for the first that cannot be used."""
        # Whoever teaches for work may leave a broken one out; "4-shot" must not mean three.
        for path in good:
            open_picture(path)
        name, adapted = folder_name(plan.category), self.config.adapted
        inspector = self._named[plan.category]
        areas = areas_for(self.config.areas, plan.category, good[0])
        if areas is not None:
            # Baselines, which count all of a picture, are never asked for areas.
            teach = cast(Callable[..., Any], inspector.teach)
            return teach(name, good, adapted=adapted, areas=areas)
        if not plan.bad:
            return inspector.teach(name, good, adapted=adapted)
        masks = {sample.image: sample.mask for sample in plan.bad if sample.mask}
        bad = KnownDefects(pictures=tuple(sample.image for sample in plan.bad), masks=masks)
        return inspector.teach(name, good, adapted=adapted, bad=bad)
