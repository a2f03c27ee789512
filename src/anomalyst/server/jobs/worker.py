"""The inference worker: holds the inspector and the taught products, and does the tasks."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict
from functools import cached_property, singledispatchmethod
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from anomalyst.errors import AnomalystError, PictureError
from anomalyst.inspection.areas import areas_on_first
from anomalyst.inspection.config import EMBEDDED_LANGUAGE, InspectorConfig
from anomalyst.inspection.lineup import with_suggestion
from anomalyst.inspection.odd_pictures import kept
from anomalyst.inspection.parts import senses_of
from anomalyst.inspector import Inspector
from anomalyst.io.files import PART, make_folder
from anomalyst.io.geometry import resize
from anomalyst.io.pictures import encoded
from anomalyst.measuring.settings import Measuring, write_measuring
from anomalyst.product import Product, put_back
from anomalyst.product_index import (
    BEFORE,
    RECORD,
    check_name,
    photograph_products,
    product_folder,
)
from anomalyst.report.overlay import shown_size
from anomalyst.server.config import ServingConfig
from anomalyst.server.jobs.comparing import compare
from anomalyst.server.jobs.judged_learning import learn_judged, without_judgements
from anomalyst.server.jobs.kinds_learning import learn_kinds
from anomalyst.server.jobs.tasks import (
    Accept,
    Ask,
    Candidates,
    Compare,
    DecideOdd,
    Embed,
    Inspect,
    Learn,
    LearnKinds,
    LookBack,
    Named,
    Resemble,
    Segment,
    SetAreas,
    SetMeasuring,
    Task,
    Teach,
    Transcribe,
    Unlearn,
    Withdraw,
)
from anomalyst.server.language.versions import live_folder
from anomalyst.server.records import versions
from anomalyst.server.records.products import taught_already
from anomalyst.server.records.turns import changing
from anomalyst.server.storage.pictures import Pictures
from anomalyst.types import Answer, Dialogue, Inspection, Turn
from anomalyst.vlm.facts import facts_of

if TYPE_CHECKING:
    from anomalyst.senses.space import Space
    from anomalyst.server.jobs.looks import Looks
    from anomalyst.vlm.generation import Speaker
    from anomalyst.voice.transcriber import Transcriber

CHANGES = (Accept, DecideOdd, Learn, LearnKinds, SetAreas, SetMeasuring, Teach, Unlearn, Withdraw)
ABOUT_SPACE = ("name", "fingerprint", "senses", "across")
Say = Callable[[str], None]
Result = dict[str, Any] | AnomalystError


class Model:
    """Does tasks, one batch after the other; what it makes is written before it answers."""

    def __init__(self, config: ServingConfig, inspector: Inspector | None = None):
        self.config = config
        self.inspector = inspector or self._inspector(config)
        self.pictures = Pictures(config.home / "pictures")
        self._products: dict[str, tuple[tuple[int, int], Product]] = {}

    @staticmethod
    def _inspector(config: ServingConfig) -> Inspector:
        settings = InspectorConfig(
            precision=config.precision,  # type: ignore[arg-type]
            device=config.device,  # type: ignore[arg-type]
            engine=config.engine,  # type: ignore[arg-type]
            language=config.language or EMBEDDED_LANGUAGE,
            refine=config.refine,
            segmenter=config.segmenter,
        )
        return Inspector.load(config.encoder, settings)

    def do(self, tasks: Sequence[Task], say: Say) -> list[Result]:
        """Results in order; an error that a person can mend is a result, too.

        Several tasks at once must be inspections of one batch (`Inspect.batch`).
        """
        inspections = [task for task in tasks if isinstance(task, Inspect)]
        if inspections:
            return self._inspect(inspections)
        try:
            with self._turn(tasks[0]):
                return [self._do(tasks[0], say)]
        except AnomalystError as error:
            return [error]

    def _turn(self, task: Task) -> AbstractContextManager[None]:
        """For a task that changes a product: no other server does meanwhile. Raises Busy."""
        if isinstance(task, CHANGES) and getattr(task, "keep", True):
            return changing(task.product, self.config.products)
        return nullcontext()

    @singledispatchmethod
    def _do(self, task: Task, say: Say) -> dict[str, Any]:  # noqa: ARG002
        raise AssertionError(f"no handler for {task!r}")

    @_do.register
    def _(self, task: Teach, say: Say) -> dict[str, Any]:
        check_name(task.product)
        folder = self.config.products / task.product
        known = self._product(task.product) if (folder / RECORD).exists() else None
        if known is None and folder.exists():
            raise AnomalystError(f"{folder}: is there and is no product; choose another name.")
        new = [part for part in task.good if known is None or not taught_already(part, folder)]
        if known is not None and not new:
            return self._saved(known, task.describe)
        product = self._taught(task, new, known, say)
        product.tolerance = self.inspector.tolerance(product)
        for sense, one in senses_of(product).items():
            called = dict(part[sense] for part in task.good)
            one.sources |= called
            names = {str(path): name for part in task.good for path, name in part.values()}
            names |= {path.name: called[path] for path in called}
            one.notes = tuple(_renamed(note, names) for note in one.notes)
        versions.keep(task.product, self.config.products)
        return self._saved(product, task.describe)

    def _taught(
        self, task: Teach, new: Sequence[Mapping[str, Named]], known: Product | None, say: Say
    ) -> Product:
        """The product with new good parts, by the senses they were given in."""
        parts = [{sense: path for sense, (path, _) in part.items()} for part in new]
        files = sum(map(len, parts)) + sum(
            one.num_references for one in (senses_of(known).values() if known else ())
        )
        done = count(1)

        def looked(_: Path) -> None:
            say(f"{next(done)} of {files} {'pictures' if pictures else 'files'}")

        def fitted() -> None:
            say("fitting its network")

        pictures = all(set(part) == {"image"} for part in parts)
        if pictures and (known is None or senses_of(known).keys() == {"image"}):
            good = [part["image"] for part in parts]
            return self.inspector.teach(
                task.product, good, product=known, pose=task.pose, on_picture=looked, on_step=fitted
            )
        return self.inspector.teach_part(
            task.product, parts, task.reading, product=known, pose=task.pose, on_file=looked,
            on_step=fitted,
        )  # fmt: skip

    @_do.register
    def _(self, task: DecideOdd, say: Say) -> dict[str, Any]:
        product = self._product(task.product)
        assert product.folder is not None  # it was loaded
        folder = product.folder
        product = kept(product, [folder / file for file in task.keep])
        gone = [folder / file for file in task.leave_out]
        gone = [image for image in gone if image in product.references]
        if gone:
            total, done = product.num_references - len(gone), count(1)
            product = self.inspector.without(
                product, gone, on_picture=lambda _: say(f"{next(done)} of {total} pictures")
            )
            versions.keep(task.product, self.config.products)
        return self._saved(product)

    @_do.register
    def _(self, task: Ask, say: Say) -> dict[str, Any]:
        return self._speaking().ask(task.question, _dialogue(task), say).as_dict()

    @_do.register
    def _(self, task: Transcribe, say: Say) -> dict[str, Any]:  # noqa: ARG002
        from anomalyst.voice.sound import read_sound

        sound = read_sound(task.sound, task.name)
        with self.inspector.pipeline.threads():
            return asdict(self.transcriber.transcribe(sound))

    @cached_property
    def transcriber(self) -> "Transcriber":
        """The voice model, read when the first question is spoken."""
        from anomalyst.voice.transcriber import Transcriber

        return Transcriber.load()

    @_do.register
    def _(self, task: Embed, say: Say) -> dict[str, Any]:  # noqa: ARG002
        space, what = self.space, task.what
        if what is None:
            return {name: getattr(space, name) for name in ABOUT_SPACE}
        with self.inspector.pipeline.threads():
            return asdict(space.of_text(what) if isinstance(what, str) else space.of_file(what))

    @cached_property
    def space(self) -> "Space":
        """The shipped towers of all senses, read when somebody first searches."""
        from anomalyst.backbones.spaces import open_space

        return open_space("drawn")

    @_do.register
    def _(self, task: Candidates, say: Say) -> dict[str, Any]:  # noqa: ARG002
        from anomalyst.vlm.candidates import candidates  # transformers: read with the first words

        speakers = [self._speaking().speaker, *([self.rival] if self.config.rival else [])]
        with self.inspector.pipeline.threads():
            found = candidates(
                speakers, task.question, _dialogue(task), count=task.count, key=task.key
            )
        answers = [one.answer.as_dict() | {"temperature": one.temperature} for one in found]
        return {"answers": answers}

    @_do.register
    def _(self, task: LookBack, say: Say) -> dict[str, Any]:  # noqa: ARG002
        from anomalyst.explaining.answers import looked  # transformers: read when somebody asks

        dialogue, answer = _dialogue(task), Answer.from_dict(task.answer)
        found, turns = dialogue.inspection, dialogue.turns
        with self.inspector.pipeline.threads():
            speaker = self._speaking().speaker
            seen = looked(speaker, task.question, answer, facts_of(found), found.shown, turns)
        return seen.answer.as_dict()

    @cached_property
    def rival(self) -> "Speaker":
        """A second language model, whose answers are ranked beside the first one's."""
        from anomalyst.vlm.generation import Speaker

        assert self.config.rival is not None
        return Speaker.load(self.config.rival)

    @_do.register
    def _(self, task: Accept, say: Say) -> dict[str, Any]:  # noqa: ARG002
        product = self._product(task.product)
        if any(one.name == task.name for one in product.accepted):
            return self._saved(product)  # it was applied before a crash
        with self._passing_folder() as folder:
            after = self.inspector.accept(
                product, task.image, task.boxes, name=task.name, folder=Path(folder)
            )
            return self._saved(after)

    @_do.register
    def _(self, task: Withdraw, say: Say) -> dict[str, Any]:  # noqa: ARG002
        product = self._product(task.product)
        if all(one.name != task.name for one in product.accepted):
            return self._saved(product)
        return self._saved(self.inspector.withdraw(product, task.name))

    @_do.register
    def _(self, task: Resemble, say: Say) -> dict[str, Any]:  # noqa: ARG002
        product = self._product(task.product)
        found = self.inspector.resembling(task.image, product, task.box)
        return {
            "image": str(found.image),
            "name": product.sources.get(found.image, found.image.name),
            "box_xyxy": list(found.box_xyxy),
            "similarity": round(found.similarity, 4),
        }

    @_do.register
    def _(self, task: Segment, say: Say) -> dict[str, Any]:  # noqa: ARG002
        with self.inspector.pipeline.threads():
            return self.looks.segment(task)

    @cached_property
    def looks(self) -> "Looks":
        """The segmenter, read when somebody first draws a mask."""
        from anomalyst.server.jobs.looks import Looks

        return Looks(self.inspector.pipeline.segmenter)

    @_do.register
    def _(self, task: Learn, say: Say) -> dict[str, Any]:
        product = self._product(task.product)
        learnt = learn_judged(self.inspector, product, task, say)
        if task.keep and learnt.figures["taken"]:
            versions.keep(product.name, self.config.products)
            with self._passing_folder() as folder:
                before = learnt.before
                if before.folder is None:  # it was taught anew
                    before.save(Path(folder) / product.name)
                learnt.after.save(self.config.products / product.name, before.folder)
            self._products.pop(product.name, None)
        return learnt.figures

    @_do.register
    def _(self, task: LearnKinds, say: Say) -> dict[str, Any]:
        product = self._product(task.product)
        kinds, figures = learn_kinds(self.inspector, product, task, say)
        if task.keep and (kinds is not None or not task.named):
            versions.keep(product.name, self.config.products)
            product.kinds = kinds
            assert product.folder is not None  # it was loaded
            before = product.folder / BEFORE  # what `Unlearn` puts back stays
            product.save(product.folder, before if before.exists() else None)
            self._products.pop(product.name, None)
        return figures

    @_do.register
    def _(self, task: Unlearn, say: Say) -> dict[str, Any]:  # noqa: ARG002
        folder = product_folder(task.product, self.config.products)
        versions.keep(task.product, self.config.products)
        exactly = put_back(folder)
        if not exactly:
            before = without_judgements(self.inspector, self._product(task.product))
            before.save(folder)
        self._products.pop(task.product, None)
        return {"exactly": exactly}

    @_do.register
    def _(self, task: SetAreas, say: Say) -> dict[str, Any]:
        product = self._product(task.product)
        areas = areas_on_first(product, task.areas, on_product=task.on_product)
        if areas == (product.areas or None):
            return self._told(product)
        total, done = product.num_references, count(1)
        after = self.inspector.with_areas(
            product, areas, on_picture=lambda _: say(f"{next(done)} of {total} pictures")
        )
        versions.keep(task.product, self.config.products)
        return self._saved(after)

    @_do.register
    def _(self, task: SetMeasuring, say: Say) -> dict[str, Any]:  # noqa: ARG002
        folder = product_folder(task.product, self.config.products)
        write_measuring(folder, Measuring.from_dict(task.measuring))
        return {"product": task.product}

    @_do.register
    def _(self, task: Compare, say: Say) -> dict[str, Any]:
        return compare(self.inspector, task, say)

    def _inspect(self, tasks: Sequence[Inspect]) -> list[Result]:
        try:
            product = self._product(tasks[0].product)
            rate = tasks[0].false_alarm_rate
            if product.companions:
                found = [self._part(task, product) for task in tasks]
            else:
                images = [task.image for task in tasks]
                found = self.inspector.inspect_together(images, product, false_alarm_rate=rate)
        except AnomalystError as error:
            return [error] * len(tasks)
        found = [self._named(one) if isinstance(one, Inspection) else one for one in found]
        revision = self._products[tasks[0].product][0]
        return [
            self._kept(one, task, f"{revision[0]:x}") if isinstance(one, Inspection) else one
            for one, task in zip(found, tasks, strict=True)
        ]

    def _named(self, found: Inspection) -> Inspection:
        """The inspection; of a picture of another product, with the taught one it looks like."""
        if found.unfit is None:
            return found
        others = []
        for name in photograph_products(self.config.products):
            with suppress(AnomalystError):  # a damaged one is no reason to fail
                others.append(self._product(name))
        return with_suggestion(found, self.inspector.pipeline, others)

    def _part(self, task: Inspect, product: Product) -> Inspection | PictureError:
        files = {product.sense_kind: task.image, **dict(task.beside)}
        try:
            return self.inspector.inspect_part(
                files, product, false_alarm_rate=task.false_alarm_rate
            )
        except PictureError as error:
            return error

    def _kept(self, found: Inspection, task: Inspect, revision: str) -> Result:
        """The record of an inspection; its map and what the language model is shown, as files."""
        shown = {name: t.contiguous() for name, t in found.shown.items() if name != "anomaly_map"}
        heat = resize(found.map, shown_size(found.size_hw))
        levels = np.round(np.clip(heat, 0, 1) * 255).astype(np.uint8)
        try:
            words = None
            if task.question is not None:
                words = self._speaking().ask(task.question, Dialogue(found)).as_dict()
            drawn = {}
            if found.view is not None:  # the file itself is no picture that could be shown
                drawn = {"view": self.pictures.keep(encoded(found.view), ".png")}
            return {
                "record": found.as_dict() | {"words": words} | drawn,
                "heat": self.pictures.keep(cv2.imencode(".png", levels)[1].tobytes(), ".png"),
                "shown": self.pictures.keep(save_tensors(shown), ".safetensors"),
                "revision": revision,
            }
        except AnomalystError as error:
            return error

    def _speaking(self) -> Inspector:
        """The inspector with the language model that is live now, unless --language gave one."""
        if self.config.language is None:
            folder = live_folder(self.config.home)
            if folder != self.inspector.config.language:
                self.inspector.speak_with(folder)
        return self.inspector

    def _product(self, name: str) -> Product:
        """The product as it is on disk, read again when it has changed."""
        folder = product_folder(name, self.config.products)
        mark = _mark(folder)
        while name not in self._products or self._products[name][0] != mark:
            try:
                self._products[name] = (mark, Product.load(folder))
            except AnomalystError:
                if _mark(folder) == mark:
                    raise
            mark = _mark(folder)  # another process may have replaced it meanwhile: then once more
        return self._products[name][1]

    def _passing_folder(self) -> "tempfile.TemporaryDirectory[str]":
        """A folder for as long as a task; where a start clears away what a kill left."""
        return tempfile.TemporaryDirectory(prefix=PART, dir=make_folder(self.config.home))

    def _saved(self, product: Product, description: str | None = None) -> dict[str, Any]:
        if description is not None:
            product.description = description
        product.save(self.config.products / product.name)
        self._products.pop(product.name, None)
        return self._told(product)

    @staticmethod
    def _told(product: Product) -> dict[str, Any]:
        return {"product": product.name, "notes": list(product.remarks)}


def _mark(folder: Path) -> tuple[int, int]:
    """What tells a product's state from another."""
    state = (folder / RECORD).stat()
    return state.st_mtime_ns, state.st_ino


def _dialogue(task: Ask) -> Dialogue:
    """The inspection that a question is about, and what was asked of it before."""
    heat = cv2.imread(str(task.heat), cv2.IMREAD_GRAYSCALE)
    if heat is None:
        raise AnomalystError("the map of this inspection is no longer kept; inspect again.")
    whole = heat.astype(np.float32) / 255
    shown = load_tensors(task.shown.read_bytes())
    shown["anomaly_map"] = torch.from_numpy(whole)[None, None]
    turns = [Turn(question, Answer.from_dict(answer)) for question, answer in task.turns]
    return Dialogue(Inspection.from_dict(task.record, whole, shown), turns)


def _renamed(note: str, names: dict[str, str]) -> str:
    for path, name in names.items():
        note = note.replace(path, name)
    return note
