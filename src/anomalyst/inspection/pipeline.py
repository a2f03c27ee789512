"""The front door: teach a product from good pictures, inspect others, ask about what was found."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
import torch

from anomalyst.backbones import detector_weights, fingerprint, load_encoder
from anomalyst.calibration.conformal import (
    ALONE_SCORES,
    PROCEDURAL_SCORES,
    REFERENCES_MOST,
    Calibration,
    procedural_calibration,
)
from anomalyst.calibration.verdict import Decision, decide, posed
from anomalyst.detection.defect_types import load_kinds, with_kinds
from anomalyst.detection.detector import Detector, DetectorConfig, Evidence, Memory
from anomalyst.detection.nearest_normal import nearest_place
from anomalyst.detection.pair_decoder import load_decoder
from anomalyst.detection.pose import (
    UPRIGHT,
    Laid,
    Pose,
    coarse,
    find_poses,
    laid,
    moved_box,
    pose_notes,
)
from anomalyst.detection.pose_correction import judge_laid
from anomalyst.detection.regions import regions_for, sentence
from anomalyst.errors import AnomalystError, PictureError
from anomalyst.hardware.processor import DeviceName, Engine, Precision, device_of, precision_of
from anomalyst.hardware.threads import RoomForThreads
from anomalyst.io.files import write_bytes
from anomalyst.io.geometry import Frame
from anomalyst.io.pictures import open_picture
from anomalyst.io.working_side import Side, Sizing, checked_side
from anomalyst.preprocessing import Seen, Stopwatch, encode
from anomalyst.product import UNNAMED, Accepted, Product
from anomalyst.runtime.compiled import Compiled, compiled, network_key
from anomalyst.runtime.engines import BUILT, built_engines, checked_engine
from anomalyst.teaching.duplicates import all_the_same, remarks
from anomalyst.teaching.feedback import covered, kept_mask, likest_picture
from anomalyst.teaching.known_defects.defects import KnownDefects, open_defects, teach_defects
from anomalyst.teaching.references import calibrate, circle_of, pose_of, study
from anomalyst.types import Answer, Dialogue, Inspection
from anomalyst.vlm.facts import MOST_NAMED
from anomalyst.vlm.visual_inputs import shown

if TYPE_CHECKING:
    from anomalyst.vlm.generation import Speaker

EMBEDDED_LANGUAGE = Path(__file__).parent / "weights" / "language"


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectorConfig:
    """How pictures are looked at."""

    side_px: Side | None = None  # working side of a square picture, or "auto"; None: encoder's own
    smallest_defect_px: float | None = None  # pixels of the pictures; decides the side by itself
    device: DeviceName = "auto"  # auto: a GPU if torch sees one
    engine: Engine = "auto"  # auto: one built for the product (`anomalyst export`), else torch
    precision: Precision = "auto"  # of the networks' sums; auto: as the processor is quickest
    max_references: int = REFERENCES_MOST  # most good pictures remembered; others calibrate
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    language: Path = EMBEDDED_LANGUAGE  # folder of the model that answers questions

    def __post_init__(self) -> None:
        checked_side(self.side_px, self.smallest_defect_px)

    @property
    def sized(self) -> bool:
        """Whether a size is asked for, and not left to the encoder or the product."""
        return self.side_px is not None or self.smallest_defect_px is not None


class Inspector:
    """Teach, inspect, ask. One instance holds one encoder and any number of products."""

    def __init__(
        self,
        detector: Detector,
        config: InspectorConfig,
        procedural: Calibration | None,
        procedural_alone: Calibration | None = None,
    ):
        self.detector, self.config = detector, config
        self.procedural, self.procedural_alone = procedural, procedural_alone
        # Kinds were learnt from what the shipped decoder compares; another one compares otherwise.
        self.kinds = load_kinds() if detector.encoder.name == "embedded" else None
        self.name = detector.encoder.name
        self.fingerprint = fingerprint(detector.encoder, detector.decoder)
        self.room = RoomForThreads()

    @classmethod
    def load(cls, encoder: str = "embedded", config: InspectorConfig | None = None) -> "Inspector":
        """An inspector on an encoder: `embedded`, `run:DIR` or `hf:NAME_OR_DIR`. Works offline."""
        config = config or InspectorConfig()
        checked_engine(config.engine)
        weights = detector_weights(encoder)
        decoder = load_decoder(weights) if weights is not None else None
        device = device_of(config.device)
        if config.engine in BUILT and config.device == "cuda":
            raise AnomalystError(
                f"--engine {config.engine} computes on the processor; take --device cpu, or "
                "--engine torch for the GPU."
            )
        if (config.engine, config.precision) == ("onnx", "bfloat16"):
            raise AnomalystError(
                "--engine onnx computes in float32 only; leave --precision out, or take "
                "--engine openvino."
            )
        dtype = precision_of(config.precision, device)
        detector = Detector(load_encoder(encoder, dtype), decoder, config.detector, dtype, device)
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
        pose: Literal["auto", "fixed", "free"] = "auto",
        calibrated: bool = True,
        adapted: bool | None | Literal["kept"] = None,
        on_picture: Callable[[Path], None] = lambda _: None,
        on_step: Callable[[], None] = lambda: None,
    ) -> Product:
        """A product learnt from good pictures (added to those of `product`); not saved yet.

        A picture that cannot be read is left out and named in the product's notes. `adapted`: fit
        the decoder to the product, if that helps (fine_tuning.py): None, where it costs no score
        that calibrates; True, from four pictures on; False, never; "kept", as `product` is.
        `bad`: a few known defects, which replace those of `product`; they set its threshold, and
        more where that clearly helps (known_defects.py).
        Raises AnomalystError if there is no picture at all, PictureError if the only one is bad.
        """
        paths = list(dict.fromkeys([*(product.references if product else ()), *good]))
        if not paths:
            raise AnomalystError(f"product {name!r}: at least one good picture is needed.")
        pictures, notes = self._opened(paths, on_picture)
        bad = bad or (product.bad if product else None)
        defects = open_defects(bad, pictures, on_picture) if bad else None
        accepted = product.accepted if product else ()
        kept = list(pictures)
        frame, why = self._frame_for(list(pictures.values()), product)
        studied = study(
            self.detector,
            frame,
            list(pictures.values()),
            pose=pose,
            most=self.config.max_references,
            adapted=(product.head if product else {}) if adapted == "kept" else adapted,
            accepted=[open_picture(one.image) for one in accepted],
            on_step=on_step,
        )
        sources = dict(product.sources) if product else {}
        named = [(sources.get(path, path.name), picture) for path, picture in pictures.items()]
        notes += remarks(named, studied.features[0].embedding)
        calibration, rule = Calibration(scores=(), method="leave-one-out"), None
        if bad is not None and defects is not None:
            bad, notes = bad.only(defects.pictures), [*notes, *defects.notes]
            looked = iter([*kept, *defects.pictures])
            rule, studied, calibration = teach_defects(
                self.detector, frame, studied, named, defects, bad, lambda: on_picture(next(looked))
            )
        elif calibrated and len(kept) > 1 and not all_the_same(list(pictures.values())):
            calibration = calibrate(self.detector, studied)
        return Product(
            name=name,
            encoder=self.name,
            fingerprint=self.fingerprint,
            frame=frame,
            pose="fixed" if studied.circle is None else "free",
            circle=studied.circle,
            references=kept,
            sources=sources,
            features=studied.shown,
            calibration=calibration,
            head={} if studied.decoder is None else dict(studied.decoder.head()),
            memories=studied.memories,
            chosen=studied.chosen,
            accepted=accepted,
            bad=bad,
            rule=rule,
            notes=tuple(notes),
            side_reason=why,
            description=product.description if product else "",
        )

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
        picture = open_picture(image)
        whole = self._inspected(image, picture, product, 0.05, Stopwatch()).map
        assert product.frame is not None  # a taught product has one
        good = [open_picture(path) for path in product.references]
        below = likest_picture(self.detector, product.frame, picture, good)
        if product.circle is not None:
            ours, theirs = (product.frame.cut(one).canvases[0] for one in (picture, below))
            lies = pose_of(self.detector, ours, circle_of(self.detector, theirs))
            below = laid(below, lies.inverse(below.shape))
        taken = covered(picture, kept_mask(whole, boxes), below)
        target = folder / f"{name}.png"
        write_bytes(target, cv2.imencode(".png", taken[..., ::-1])[1].tobytes())
        one = Accepted(name=name, image=target, boxes_xyxy=tuple(boxes))
        return self._relearnt(product, (*product.accepted, one))

    def withdraw(self, product: Product, name: str) -> Product:
        """The product without the correction `name`: as if it had never been; not saved yet."""
        left = tuple(one for one in product.accepted if one.name != name)
        if len(left) == len(product.accepted):
            raise AnomalystError(f"product {product.name!r} holds no correction {name!r}.")
        return self._relearnt(product, left)

    def _relearnt(self, product: Product, accepted: tuple[Accepted, ...]) -> Product:
        """The product with other corrections; its fitted head, if it has one, stays."""
        before = replace(product, accepted=accepted)
        after = self.teach(product.name, [], product=before, pose=product.pose, adapted="kept")
        return replace(after, notes=product.notes)

    def resembling(
        self, image: Path, product: Product, box: tuple[int, int, int, int]
    ) -> "Resemblance":
        """The place of a good picture that a box (x0, y0, x1, y1) of a picture resembles most.

        Raises AnomalystError for a product that keeps no record of what it is compared with.
        """
        frame = product.frame
        assert frame is not None  # a taught product has one
        views = frame.cut(open_picture(image))
        tile, on_canvas = views.on_canvas(box)
        (high, wide) = frame.canvas_hw
        canvas, pose = views.canvases[tile], UPRIGHT
        if product.circle is not None:
            pose = pose_of(self.detector, canvas, product.circle)
            canvas = laid(canvas, pose)
            on_canvas = moved_box(on_canvas, frame.canvas_hw, pose.inverse(frame.canvas_hw))
        shares = (
            on_canvas[0] / wide,
            on_canvas[1] / high,
            on_canvas[2] / wide,
            on_canvas[3] / high,
        )
        found = nearest_place(self.detector.encode([canvas]), product.features[tile], shares)
        good = [product.references[i] for i in product.chosen]
        good += [one.image for one in product.accepted]
        if found.view >= len(good):
            raise AnomalystError(
                f"product {product.name!r} does not say which pictures it is compared with; "
                "teach it again with --replace."
            )
        there = frame.cut(open_picture(good[found.view]))
        left, top, right, bottom = found.box
        place = (left * wide, top * high, right * wide, bottom * high)
        if product.circle is not None:
            lies = pose_of(self.detector, there.canvases[tile], product.circle)
            place = moved_box(place, frame.canvas_hw, lies)
        return Resemblance(good[found.view], there.from_canvas(tile, place), found.similarity)

    def untaught(self) -> Product:
        """A product of which no good picture is known: each picture is judged by itself (0-shot).

        Raises AnomalystError for an encoder without a pair decoder.
        """
        if self.detector.decoder is None:
            raise AnomalystError(
                f"{self.name}: judging without a good picture needs the embedded encoder."
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
        )

    def inspect(
        self, image: Path, product: Product, *, false_alarm_rate: float = 0.05
    ) -> Inspection:
        """One picture against a product. Raises PictureError if the picture cannot be used."""
        stopwatch = Stopwatch()
        with stopwatch("open"):
            picture = open_picture(image)
        return self._inspected(image, picture, product, false_alarm_rate, stopwatch)

    def ask(
        self, question: str, dialogue: Dialogue, say: Callable[[str], None] = lambda _: None
    ) -> Answer:
        """A question about an inspection, answered in words that agree with its verdict and map.

        `Dialogue(inspection)` begins one; question and answer are added to its turns. `say` hears
        each sentence as soon as it is checked. Raises AnomalystError for an empty question, one of
        more than 500 characters, or a language model that cannot be read.
        """
        speaker = self.speaker
        with self.room():
            return speaker.ask(question, dialogue, say)

    @cached_property
    def speaker(self) -> "Speaker":
        """The language model, read when the first question is asked."""
        from anomalyst.vlm.generation import Speaker

        return Speaker.load(self.config.language)

    def inspect_many(
        self, images: Sequence[Path], product: Product, *, false_alarm_rate: float = 0.05
    ) -> Iterator[Inspection | PictureError]:
        """Many pictures, in order, one result at a time; a bad one yields its error."""
        with ThreadPoolExecutor(1) as reader:
            ahead: Future[np.ndarray] | None = None
            for index, image in enumerate(images):
                stopwatch = Stopwatch()
                opening = ahead or reader.submit(open_picture, image)
                following = images[index + 1] if index + 1 < len(images) else None
                with stopwatch("open"):
                    try:
                        picture = opening.result()
                    except PictureError as error:
                        picture = None
                        problem = error
                ahead = reader.submit(open_picture, following) if following else None
                if picture is None:
                    yield problem
                else:
                    yield self._inspected(image, picture, product, false_alarm_rate, stopwatch)

    def inspect_together(
        self, images: Sequence[Path], product: Product, *, false_alarm_rate: float = 0.05
    ) -> list[Inspection | PictureError]:
        """Several pictures at once: encoded as one batch, which is faster; results in order.

        Each result is what `inspect` gives; a picture that cannot be used gives its error.
        """
        opened = [self._seen(image, product) for image in images]
        self._look([one for one in opened if isinstance(one, Seen)], product)
        return [
            self._judged(one, product, false_alarm_rate) if isinstance(one, Seen) else one
            for one in opened
        ]

    def _seen(self, image: Path, product: Product) -> "Seen | PictureError":
        stopwatch = Stopwatch()
        try:
            with stopwatch("open"):
                picture = open_picture(image)
        except PictureError as error:
            return error
        return Seen.of(image, picture, product.frame or self._frame(picture), stopwatch)

    def _inspected(
        self,
        image: Path,
        picture: np.ndarray,
        product: Product,
        rate: float,
        stopwatch: "Stopwatch",
    ) -> Inspection:
        frame = product.frame or self._frame(picture)
        one = Seen.of(image, picture, frame, stopwatch)
        self._look([one], product)
        return self._judged(one, product, rate)

    def _look(self, seen: "Sequence[Seen]", product: Product) -> None:
        """Give each picture its features, and on an engine its evidence, too."""
        ready = self._compiled(product)
        if ready is None:
            with self.room():
                encode(self.detector, seen)
            return
        for one in seen:
            with one.stopwatch("network"):
                one.evidence, one.features = ready.look(one.views.canvases, one.views.placements)

    def _compiled(self, product: Product) -> Compiled | None:
        """The product on the engine that is asked for; None: torch.

        `auto` takes networks that `anomalyst export` left with the product, if they are of this
        very state of it, and a GPU rather than these.
        """
        asked = self.config.engine
        if asked == "torch" or not product.references:
            return None
        ready: Compiled | None = product.compiled
        if ready is not None and asked in ("auto", ready.engine):
            return ready
        gpu = self.detector.device.type != "cpu"
        if asked == "auto" and (gpu or not built_engines(product.folder)):
            return None
        self.memories(product)
        key = network_key(self.detector, product)
        engines = [asked] if asked != "auto" else built_engines(product.folder, key)
        if not engines:
            return None
        low = self.config.precision == "bfloat16"
        product.compiled = compiled(self.detector, product, key, engines[0], bfloat16=low)
        return product.compiled

    def _judged(self, one: "Seen", product: Product, rate: float) -> Inspection:
        views, features, stopwatch = one.views, one.features, one.stopwatch
        assert features is not None  # `encode` came before
        with stopwatch("decode"), self.room():
            evidence, pose = self._evidence(one, product)
        with stopwatch("score"):
            whole = views.join([e.map for e in evidence])
            decision = self._decide(evidence, pose, product, rate)
            regions = regions_for(whole, decision.verdict)
            if self.kinds is not None:
                regions = with_kinds(self.kinds, regions, views, evidence)
            seen = shown(torch.from_numpy(whole), regions, one.size_hw, features, most=MOST_NAMED)
        return Inspection(
            image=one.image,
            size_hw=one.size_hw,
            map=whole,
            score=decision.score,
            p_value=decision.p_value,
            verdict=decision.verdict,
            confidence=decision.confidence,
            guaranteed=decision.guaranteed,
            regions=regions,
            answer=sentence(decision.verdict, regions, decision.p_value),
            seconds=stopwatch.seconds,
            notes=(*product.notes, *decision.notes),
            product="" if product.name == UNNAMED else product.name,
            num_good=product.num_references,
            told=product.description,
            colours=one.colours,
            shown=seen,
        )

    def _evidence(self, one: "Seen", product: Product) -> tuple[list[Evidence], Pose]:
        """What each tile shows, and how the product lies; laid straight where it lies turned."""
        views, features = one.views, one.features
        assert features is not None  # `_look` came before
        canvas, placement, poses = views.canvases[0], views.placements[0], [UPRIGHT]
        if product.circle is not None:
            # An engine hands over what words are shown, not what poses are found on.
            seen = features if one.evidence is None else self.detector.encode_coarse([canvas])
            poses = find_poses(coarse(seen), product.circle, self.detector.config.pose)
        if poses[0].upright:
            if one.evidence is not None:
                return one.evidence, poses[0]
            memories = self.memories(product) or [Memory()] * len(views.canvases)
            parts = zip(memories, views.placements, strict=True)
            return [
                self.detector.judge(features.rows([t]), memory, shown)
                for t, (memory, shown) in enumerate(parts)
            ], poses[0]

        def judge(canvas: np.ndarray, shown: Laid) -> Evidence:
            ready = self._compiled(product)
            if ready is not None:
                return ready.look([canvas], [shown])[0][0]
            return self.detector.judge(
                self.detector.encode([canvas]), self.memories(product)[0], shown
            )

        found, pose = judge_laid(canvas, placement, poses, judge)
        return [found], pose

    def _decide(
        self, evidence: Sequence[Evidence], pose: Pose, product: Product, rate: float
    ) -> Decision:
        if not 0 < rate < 1:
            raise AnomalystError(f"--false-alarm-rate {rate} is not between 0 and 1.")
        found = decide(
            evidence,
            rate,
            own=product.calibration,
            drawn=self.procedural if product.references else self.procedural_alone,
            product=product.name,
            num_good=product.num_references,
            rule=product.rule,
        )
        settings = self.detector.config.pose
        aligned = pose.likeness >= settings.least_likeness
        return posed(found, aligned, pose_notes(pose, settings))

    def memories(self, product: Product) -> list[Memory]:
        """What queries are compared with, per tile; computed once a product.

        Raises AnomalystError for a product taught with other weights.
        """
        if product.fingerprint != self.fingerprint:
            raise AnomalystError(
                f"product {product.name!r} was taught with other weights of {product.encoder!r}; "
                "teach it again with --replace."
            )
        if not product.memories:
            product.memories = [self.detector.remember(tile) for tile in product.features]
            for memory in product.memories:
                memory.shares = product.rule.shares if product.rule else ()
            if product.head and self.detector.decoder is not None:
                decoder = self.detector.decoder.with_head(product.head)
                for memory in product.memories:
                    memory.decoder = decoder
        return product.memories

    def _frame(self, picture: np.ndarray) -> Frame:
        return self._sizing().frame_for([picture])[0]

    def _sizing(self) -> Sizing:
        encoder, config = self.detector.encoder, self.config
        return Sizing(
            own_px=encoder.side_px,
            multiple_px=encoder.multiple_px,
            side_px=config.side_px,
            smallest_defect_px=config.smallest_defect_px,
        )

    def _frame_for(self, good: Sequence[np.ndarray], product: Product | None) -> tuple[Frame, str]:
        """How a product is looked at, and why; one that exists keeps its size unless told."""
        if (
            product is not None
            and product.frame is not None
            and product.fingerprint == self.fingerprint
            and not self.config.sized
        ):
            return product.frame, product.side_reason
        return self._sizing().frame_for(good)

    def _opened(
        self, paths: Sequence[Path], on_picture: Callable[[Path], None]
    ) -> tuple[dict[Path, np.ndarray], list[str]]:
        pictures: dict[Path, np.ndarray] = {}
        errors: list[PictureError] = []
        for path in paths:
            try:
                pictures[path] = open_picture(path)
            except PictureError as error:
                errors.append(error)
            on_picture(path)
        if not pictures:
            raise errors[0]
        return pictures, [f"left out when taught: {e}" for e in errors]


@dataclass(frozen=True, slots=True)
class Resemblance:
    """A place of a good picture."""

    image: Path
    box_xyxy: tuple[int, int, int, int]  # in its pixels
    similarity: float  # mean cosine similarity of the patches, [-1, 1]
