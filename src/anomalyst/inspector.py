"""The front door: teach a product from good pictures, inspect others, ask about what was found."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from anomalyst.backbones import detector_weights, load_encoder
from anomalyst.calibration.conformal import (
    ALONE_SCORES,
    PROCEDURAL_SCORES,
    Calibration,
    procedural_calibration,
)
from anomalyst.calibration.tolerance import Tolerance
from anomalyst.detection.detector import Detector, Memory
from anomalyst.detection.pair_decoder import load_decoder
from anomalyst.errors import AnomalystError, PictureError, RecordingError
from anomalyst.hardware.processor import device_of, precision_of
from anomalyst.inspection.areas import first_size
from anomalyst.inspection.config import InspectorConfig
from anomalyst.inspection.file_reading import AS_USUAL, FileReading
from anomalyst.inspection.learning import accept, learn, with_areas, withdraw
from anomalyst.inspection.lineup import Lineup
from anomalyst.inspection.mosaic import PICTURES
from anomalyst.inspection.odd_pictures import fitted_again, left_rows
from anomalyst.inspection.panoptic import Panoptic, panoptic
from anomalyst.inspection.parts import (
    fused,
    joint_calibration,
    refuse_other_part,
    senses_of,
    taken_at,
    ways_taught,
    whole_parts,
)
from anomalyst.inspection.pipeline import Pipeline
from anomalyst.inspection.preprocessing import Prepared, Stopwatch
from anomalyst.inspection.resemblance import Resemblance, resembling
from anomalyst.inspection.seen import Seen, open_for
from anomalyst.inspection.signals import judge_signal, learn_signals
from anomalyst.inspection.tolerance import measured_tolerance
from anomalyst.io.areas import Areas
from anomalyst.io.deep_pictures import PictureReading
from anomalyst.product import UNNAMED, Product
from anomalyst.product_index import refuse_other_senses
from anomalyst.runtime.engines import checked_engine, refuse_unfit_engine
from anomalyst.senses.sense import Sense, SignalSense
from anomalyst.teaching.known_defects.defects import KnownDefects
from anomalyst.types import Answer, Dialogue, Inspection
from anomalyst.vlm.text_aligned import text_aligned
from anomalyst.vlm.text_tower import words_of

if TYPE_CHECKING:
    from anomalyst.vlm.generation import Speaker


class Inspector:
    """Teach, inspect, ask. One instance holds one encoder and any number of products."""

    def __init__(
        self,
        detector: Detector,
        config: InspectorConfig,
        procedural: Calibration | None,
        procedural_alone: Calibration | None = None,
    ):
        self.pipeline = Pipeline(detector, config, procedural, procedural_alone)
        self.detector, self.config, self.procedural = detector, config, procedural
        self.name = detector.encoder.name
        self.fingerprint = self.pipeline.fingerprint

    @classmethod
    def load(cls, encoder: str = "embedded", config: InspectorConfig | None = None) -> "Inspector":
        """An inspector on an encoder: `embedded`, `run:DIR` or `hf:NAME_OR_DIR`. Works offline."""
        config = config or InspectorConfig()
        checked_engine(config.engine)
        weights = detector_weights(encoder)
        decoder = load_decoder(weights) if weights is not None else None
        device = device_of(config.device)
        refuse_unfit_engine(
            config.engine, config.device, config.precision, words=config.words is not None
        )
        dtype = precision_of(config.precision, device)
        words = config.words
        text = text_aligned(words.tower, words.name, words.states, encoder) if words else None
        detector = Detector(
            load_encoder(encoder, dtype), decoder, config.detector, dtype, device, text
        )
        if weights is None:
            return cls(detector, config, None)
        beside, alone = (
            procedural_calibration(weights.with_name(path.name))
            for path in (PROCEDURAL_SCORES, ALONE_SCORES)
        )
        return cls(detector, config, beside, alone)

    def teach(  # noqa: PLR0913 - each is one independent wish
        self,
        name: str,
        good: Sequence[Path],
        *,
        bad: KnownDefects | None = None,
        product: Product | None = None,
        sense: Sense | None = None,
        reading: PictureReading | None = None,
        areas: Areas | None = None,
        pose: Literal["auto", "fixed", "free"] = "auto",
        calibrated: bool = True,
        once: bool = True,
        adapted: bool | None | Literal["kept"] = None,
        on_picture: Callable[[Path], None] = lambda _: None,
        on_step: Callable[[], None] = lambda: None,
    ) -> Product:
        """A product learnt from good pictures (added to those of `product`); not saved yet.

        A picture that cannot be read, or is there already (`once`), is left out and named in the
        product's notes; those that look odd beside the others are in `Product.odd`. `adapted`: fit
        the decoder to the product, if that helps (fine_tuning.py): None, where it costs no score
        that calibrates; True, from four pictures on; False, never; "kept", as `product` is.
        `bad`: a few known defects, which replace those of `product`; they set its threshold, and
        more where that clearly helps (teaching/known_defects/).
        `sense`: what the files are, where they are no photographs (senses/sense.py); that of
        `product` where it was taught before. `reading`: how photographs of more than 8 bits are
        read (io/deep_pictures.py); by default as their files say, or as bright as the good ones
        are. `areas`: what counts, drawn on the first good picture
        (io/areas.py); those of `product` where none are given.
        Raises AnomalystError if there is no picture at all, PictureError if the only one is bad.
        """
        sense = product.sense if product is not None and product.sense is not None else sense
        if isinstance(sense, SignalSense):
            if bad is not None:
                raise AnomalystError(f"--bad: known defects are for photographs, not {sense.kind}.")
            return learn_signals(
                name, good, sense, product=product, on_file=on_picture, on_step=on_step
            )
        return learn(
            self.pipeline,
            name,
            good,
            bad=bad,
            product=product,
            sense=sense,
            reading=reading,
            areas=areas,
            pose=pose,
            calibrated=calibrated,
            once=once,
            adapted=adapted,
            on_picture=on_picture,
            on_step=on_step,
        )

    def teach_part(
        self,
        name: str,
        good: Sequence[Mapping[str, Path]],
        reading: FileReading = AS_USUAL,
        *,
        product: Product | None = None,
        pose: Literal["auto", "fixed", "free"] = "auto",
        on_file: Callable[[Path], None] = lambda _: None,
        on_step: Callable[[], None] = lambda: None,
    ) -> Product:
        """A product of one or several senses, each learnt from its files of the same good parts.

        `good`: of each part sense (image, depth, thermal, audio, series) -> file; `paired` makes
        them by the files' names. `reading`: how those but photographs are read. The first sense
        leads: the others are its companions. A part of which one file cannot be read is left out.
        Raises AnomalystError for parts that lack a sense.
        """
        before = {} if product is None else senses_of(product)
        kinds = list(before or good[0])
        for part in good:
            refuse_other_senses(f"product {name!r}", kinds, list(part))
        if pose != "auto" and not set(PICTURES) & set(kinds):
            raise AnomalystError(f"--pose {pose}: {' and '.join(kinds)} has no pose; leave it out.")
        senses = reading.senses(kinds, ways_taught(product))
        parts, left_out = whole_parts(good, senses) if len(kinds) > 1 else (good, [])
        taught = {
            sense: self.teach(
                name, [part[sense] for part in parts], product=before.get(sense),
                sense=senses.get(sense), pose=pose, on_picture=on_file, on_step=on_step,
                reading=reading.pictures(before.get("image")) if sense == "image" else None,
                once=len(kinds) == 1,
            )
            for sense in kinds
        }  # fmt: skip
        lead, *others = taught
        for sense in others:
            taught[sense].odd = ()  # places of one picture: a part is decided on by the first sense
        taught[lead].companions = {sense: taught[sense] for sense in others}
        taught[lead].joint = joint_calibration(taught)
        taught[lead].notes = (*left_out, *taught[lead].notes)
        return taught[lead]

    def without(
        self,
        product: Product,
        images: Sequence[Path],
        *,
        adapted: bool | None = None,
        on_picture: Callable[[Path], None] = lambda _: None,
        on_step: Callable[[], None] = lambda: None,
    ) -> Product:
        """The product learnt anew without some of its good pictures; not saved yet.

        Of several senses the parts go whole. `adapted` as for `teach`. Raises AnomalystError as
        `left_rows` does.
        """
        gone = left_rows(product, images)
        left = [
            {sense: one.references[row] for sense, one in senses_of(product).items()}
            for row in range(product.num_references)
            if row not in gone
        ]
        if product.companions:
            forgot = {s: replace(one, references=[]) for s, one in senses_of(product).items()}
            lead, *others = forgot
            forgot[lead].companions = {sense: forgot[sense] for sense in others}
            return self.teach_part(
                product.name, left, product=forgot[lead], on_file=on_picture, on_step=on_step
            )
        learnt = self.teach(
            product.name,
            [part[product.sense_kind] for part in left],
            product=replace(product, references=[]),
            pose=product.pose,
            adapted=fitted_again(product) if adapted is None else adapted,
            on_picture=on_picture,
            on_step=on_step,
        )
        if product.tolerance is not None:
            learnt.tolerance = self.tolerance(learnt)
        return learnt

    def inspect_part(
        self, files: Mapping[str, Path], product: Product, *, false_alarm_rate: float = 0.05
    ) -> Inspection:
        """One part by all senses it was taught with (`files`: sense -> file), and one verdict.

        Of a product of one sense, what `inspect` gives.

        Raises PictureError for a file that cannot be used or was taken at another time, and
        AnomalystError where a sense is missing.
        """
        taught = senses_of(product)
        refuse_other_senses(f"product {product.name!r}", list(taught), list(files))
        if len(taught) == 1:
            [file] = files.values()
            return self.inspect(file, product, false_alarm_rate=false_alarm_rate)
        found = {
            sense: self._shown(files[sense], one, false_alarm_rate) for sense, one in taught.items()
        }
        when = {sense: one.taken for sense, one in found.items()}
        if "image" in files:
            when["image"] = taken_at(files["image"])
        refuse_other_part(files, when)
        return fused(found, product.joint, false_alarm_rate)

    def accept(
        self,
        product: Product,
        image: Path,
        boxes: Sequence[tuple[int, int, int, int]],
        *,
        name: str,
        folder: Path,
    ) -> Product:
        """The product after a person called places of a picture normal; not saved yet.

        The places, and what looked ordinary around them, become part of its bank; its good
        pictures calibrate it anew. `boxes` (x0, y0, x1, y1) in pixels of the picture. `name` tells
        the correction from others, for `withdraw`; `folder` takes the picture until `save`.
        """
        if product.signal is not None or product.companions:
            kinds = " and ".join(senses_of(product))
            raise AnomalystError(
                f"product {product.name!r} is judged by {kinds}: places called fine are learnt of "
                "one picture alone; teach this part as a further good one instead."
            )
        return accept(self.pipeline, product, image, boxes, name=name, folder=folder)

    def withdraw(self, product: Product, name: str) -> Product:
        """The product without the correction `name`: as if it had never been; not saved yet."""
        return withdraw(self.pipeline, product, name)

    def with_areas(
        self,
        product: Product,
        areas: Areas | None,
        *,
        on_picture: Callable[[Path], None] = lambda _: None,
    ) -> Product:
        """The product with other areas that count, calibrated anew from its good pictures.

        Not saved yet. `areas` are drawn on the first good picture (io/areas.py); None: all of it
        counts. Raises AnomalystError for a product judged by anything but photographs, or with
        known defects, and for areas of another picture's size.
        """
        size_hw = first_size(product)
        if areas and areas.size_hw != size_hw:
            raise AnomalystError(
                f"the areas are of a picture of {areas.size_hw[1]}x{areas.size_hw[0]} pixels; the "
                f"first good picture of {product.name!r} has {size_hw[1]}x{size_hw[0]}."
            )
        return with_areas(self.pipeline, product, areas, on_picture)

    def resembling(
        self, image: Path, product: Product, box: tuple[int, int, int, int]
    ) -> Resemblance:
        """The place of a good picture that a box (x0, y0, x1, y1) of a picture resembles most.

        Raises AnomalystError for a product that keeps no record of what it is compared with, or
        that was taught with several senses.
        """
        if product.companions:
            raise AnomalystError(
                f"product {product.name!r} was taught with several senses; places of one picture "
                "are compared."
            )
        return resembling(self.pipeline, image, product, box)

    def tolerance(self, product: Product) -> Tolerance | None:
        """How far its good pictures may differ and stay good, tried on some of them.

        None where none of these is called normal as it is, and for senses but photographs.
        """
        return measured_tolerance(self.pipeline, product)

    def lineup(self, products: Sequence[Product]) -> Lineup:
        """Products among which each picture is given to the one that it shows, or to none.

        Raises AnomalystError where none of them is of photographs and of this encoder.
        """
        return Lineup(self.pipeline, products)

    def untaught(self) -> Product:
        """A product of which no good picture is known: each picture is judged by itself (0-shot).

        Raises AnomalystError for an encoder without a pair decoder, unless words judge.
        """
        if self.detector.decoder is None and self.detector.text is None:
            raise AnomalystError(
                f"{self.name}: judging without a good picture needs the embedded encoder, or a "
                "text tower (--text-tower)."
            )
        return Product(
            name=UNNAMED,
            encoder=self.name,
            fingerprint=self.fingerprint,
            frame=None,
            pose="fixed",
            references=[],
            features=[],
            calibration=Calibration(scores=(), method="leave-one-out"),
            notes=(self.pipeline.without_pictures,),
            quality=self.pipeline.quality,
        )

    def named(self, category: str) -> "Inspector":
        """The same for products called so, where words have a share in judging; else itself."""
        words = self.config.words
        if words is None:
            return self
        called = replace(words, name=words_of(category))
        return Inspector.load(self.name, replace(self.config, words=called))

    def inspect(
        self, image: Path, product: Product, *, false_alarm_rate: float = 0.05
    ) -> Inspection:
        """One picture against a product. Raises PictureError if the picture cannot be used.

        A product taught with another sense takes its files; `view` is then what can be shown.
        """
        if product.signal is not None:
            return judge_signal(image, product, false_alarm_rate)
        return self._seen(image, product, false_alarm_rate)[1]

    def _seen(self, image: Path, product: Product, rate: float) -> tuple[Seen, Inspection]:
        stopwatch = Stopwatch()
        with stopwatch("open"):
            seen = open_for(product, image)
        found = self.pipeline.run(image, seen.picture, product, rate, stopwatch)
        return seen, seen.completed(found)

    def _shown(self, file: Path, product: Product, rate: float) -> Inspection:
        """As `inspect`; a photograph, too, is its view, and is read once."""
        if product.signal is not None:
            return judge_signal(file, product, rate)
        seen, found = self._seen(file, product, rate)
        return replace(found, view=seen.picture)

    def panoptic(self, picture: np.ndarray, found: Inspection) -> Panoptic:
        """Each pixel of an inspected picture (H, W, 3): background, product, part or region."""
        with self.pipeline.threads():
            return panoptic(picture, found, self.pipeline.segmenter)

    def ask(
        self, question: str, dialogue: Dialogue, say: Callable[[str], None] = lambda _: None
    ) -> Answer:
        """A question about an inspection, answered in words that agree with its verdict and map.

        `Dialogue(inspection)` begins one; question and answer are added to its turns. `say` hears
        each sentence as soon as it is checked. Raises AnomalystError for an empty question, one of
        more than 500 characters, or a language model that cannot be read.
        """
        speaker = self.speaker
        with self.pipeline.threads():
            return speaker.ask(question, dialogue, say)

    @cached_property
    def speaker(self) -> "Speaker":
        """The language model, read when the first question is asked."""
        from anomalyst.vlm.generation import Speaker
        from anomalyst.vlm.huggingface.loading import check_vision

        speaker = Speaker.load(self.config.language)
        check_vision(speaker.model, self.name)
        return speaker

    def speak_with(self, language: Path) -> None:
        """Answer with another language model from now on; it is read at the next question."""
        self.config = replace(self.config, language=language)
        self.__dict__.pop("speaker", None)

    def inspect_many(
        self, images: Sequence[Path], product: Product, *, false_alarm_rate: float = 0.05
    ) -> Iterator[Inspection | PictureError]:
        """Many pictures, in order, one result at a time; a bad one yields its error."""
        if product.signal is not None:
            yield from self._signals(images, product, false_alarm_rate)
            return
        with ThreadPoolExecutor(1) as reader:
            ahead: Future[Seen] | None = None
            for index, image in enumerate(images):
                stopwatch = Stopwatch()
                opening = ahead or reader.submit(open_for, product, image)
                following = images[index + 1] if index + 1 < len(images) else None
                # One reader: the next file waits until this one is open.
                ahead = reader.submit(open_for, product, following) if following else None
                try:
                    with stopwatch("open"):
                        seen = opening.result()
                    rate = false_alarm_rate
                    found = self.pipeline.run(image, seen.picture, product, rate, stopwatch)
                except PictureError as error:  # of opening, or: none of what counts is on it
                    yield error
                else:
                    yield seen.completed(found)

    def _signals(
        self, files: Sequence[Path], product: Product, rate: float
    ) -> Iterator[Inspection | PictureError]:
        for file in files:
            try:
                yield judge_signal(file, product, rate)
            except RecordingError as error:
                yield error

    def inspect_together(
        self, images: Sequence[Path], product: Product, *, false_alarm_rate: float = 0.05
    ) -> list[Inspection | PictureError]:
        """Several pictures at once: encoded as one batch, which is faster; results in order.

        Each result is what `inspect` gives; a picture that cannot be used gives its error.
        """
        if product.signal is not None:
            return list(self._signals(images, product, false_alarm_rate))
        opened = [self._prepared(image, product) for image in images]
        together = [one[1] for one in opened if isinstance(one, tuple)]
        self.pipeline.encode(together, product)
        return [
            one
            if isinstance(one, PictureError)
            else self._finished(*one, product, false_alarm_rate)
            for one in opened
        ]

    def _finished(
        self, seen: Seen, one: Prepared, product: Product, rate: float
    ) -> Inspection | PictureError:
        try:
            return seen.completed(self.pipeline.finish(one, product, rate))
        except PictureError as error:  # none of what counts is on it
            return error

    def memories(self, product: Product) -> list[Memory]:
        """What queries are compared with, per tile; computed once a product.

        Raises AnomalystError for a product taught with other weights.
        """
        return self.pipeline.memories(product)

    def _prepared(self, image: Path, product: Product) -> tuple[Seen, Prepared] | PictureError:
        stopwatch = Stopwatch()
        try:
            with stopwatch("open"):
                seen = open_for(product, image)
        except PictureError as error:
            return error
        return seen, self.pipeline.preprocess(image, seen.picture, product, stopwatch)
