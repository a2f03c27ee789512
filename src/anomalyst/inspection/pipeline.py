"""One picture's way: preprocess, encode, match, score, decide, explain. Each step is one method."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from anomalyst.backbones import fingerprint
from anomalyst.backbones.efficientnet_lite import CHANNELS, LiteTrunk
from anomalyst.backbones.embedded import EmbeddedEncoder
from anomalyst.calibration.conformal import Calibration
from anomalyst.calibration.severity import severity_of
from anomalyst.calibration.verdict import REAL_SHIFT, Decision, decide, posed
from anomalyst.detection.classifiers.composition import Composition
from anomalyst.detection.classifiers.defect_types import load_kinds, with_kinds
from anomalyst.detection.detector import Detector, Memory
from anomalyst.detection.pose import UPRIGHT, Laid, Pose, coarse, find_poses, pose_notes
from anomalyst.detection.pose_correction import judge_laid
from anomalyst.detection.regions import regions_for, sentence
from anomalyst.detection.scoring import Evidence
from anomalyst.errors import AnomalystError, PictureError
from anomalyst.hardware.threads import RoomForThreads
from anomalyst.inspection.areas import (
    check_counted,
    counted_places,
    first_views,
    notes_of,
    on_laid,
    on_query,
)
from anomalyst.inspection.config import InspectorConfig
from anomalyst.inspection.fitness import fitness
from anomalyst.inspection.measured import measured
from anomalyst.inspection.preprocessing import Prepared, Stopwatch, encode
from anomalyst.inspection.quality import QUALITIES, QualityName
from anomalyst.inspection.refining import refined
from anomalyst.io.geometry import Frame, Views
from anomalyst.io.masks import packed
from anomalyst.io.working_side import Sizing
from anomalyst.product import UNNAMED, Product
from anomalyst.runtime.compiled import Compiled, compiled, network_key
from anomalyst.runtime.engines import built_engines
from anomalyst.segmentation.loading import load_segmenter
from anomalyst.segmentation.prompts import Segmenter
from anomalyst.types import Inspection, Region
from anomalyst.vlm.facts import MOST_NAMED
from anomalyst.vlm.visual_inputs import shown


class Pipeline:
    """What every inspection needs, loaded once: detector, calibrations, defect types, threads."""

    def __init__(
        self,
        detector: Detector,
        config: InspectorConfig,
        procedural: Calibration | None,
        procedural_alone: Calibration | None = None,
    ):
        self.detector, self.config = detector, config
        self.procedural, self.procedural_alone = procedural, procedural_alone
        # Defect types were learnt from what the shipped decoder compares; another one compares
        # otherwise.
        self.kinds = load_kinds() if detector.encoder.name == "embedded" else None
        # What it looks with is the shipped trunk, all of it.
        trunk = detector.encoder.trunk if isinstance(detector.encoder, EmbeddedEncoder) else None
        self.composition: Composition | None = None
        if isinstance(trunk, LiteTrunk) and trunk.channels == CHANNELS:
            self.composition = Composition(trunk)
        self.fingerprint = fingerprint(detector.encoder, detector.decoder, detector.text)
        self.threads = RoomForThreads()
        # Who judged is told with every inspection in which words have a share.
        words = detector.text.note if detector.text is not None else ""
        share = f"Beside the good pictures, {words} have a share in map and score."
        self.beside_pictures = (share,) if words else ()
        judged = f"it is judged by {words}"
        if detector.decoder is not None:
            judged = "it is compared with itself"
            judged += f", and {words} have a share in map and score" if words else ""
        self.without_pictures = f"No good picture is known: {judged}."

    @cached_property
    def segmenter(self) -> Segmenter:
        """What draws crisp masks, read when one is first wanted."""
        return load_segmenter(self.config.segmenter)

    def run(
        self,
        image: Path,
        picture: np.ndarray,
        product: Product,
        rate: float,
        stopwatch: Stopwatch,
    ) -> Inspection:
        """One opened picture, uint8 (H, W, 3), all the way."""
        one = self.preprocess(image, picture, product, stopwatch)
        self.encode([one], product)
        return self.finish(one, product, rate)

    def preprocess(
        self, image: Path, picture: np.ndarray, product: Product, stopwatch: Stopwatch
    ) -> Prepared:
        """The picture cut to the product's frame."""
        frame = product.frame or self._sizing().frame_for([picture])[0]
        one = Prepared.of(image, picture, frame, stopwatch)
        # What is measured needs an edge that is not blurred.
        one.picture = picture if self.config.refine or product.measuring else None
        if product.areas:
            with stopwatch("areas"):
                one.counted = on_query(one.views, product)
        return one

    def encode(self, seen: Sequence[Prepared], product: Product) -> None:
        """Give each picture its features, and on an engine its evidence, too."""
        ready = self.on_engine(product)
        if ready is None:
            with self.threads():
                encode(self.detector, seen)
            return
        for one in seen:
            with one.stopwatch("network"):
                one.evidence, one.features = ready.look(one.views.canvases, one.shown)

    def finish(self, one: Prepared, product: Product, rate: float) -> Inspection:
        """Match, score, decide, explain: an encoded picture -> what is said of it."""
        views, features, stopwatch = one.views, one.features, one.stopwatch
        assert features is not None  # `encode` came before
        with stopwatch("decode"), self.threads():
            evidence, pose = self.match(one, product)
        with stopwatch("score"):
            whole = views.join([e.map for e in evidence])
            counted = counted_places(one, pose, product)
            if counted is not None:
                check_counted(one, evidence)
                whole *= counted
            decision = self.decide(evidence, pose, product, rate)
            fit = fitness(one, product)
            regions = regions_for(whole, decision.verdict)
            if self.kinds is not None and product.sense is None:  # learnt from photographs
                regions = with_kinds(self.kinds, regions, views, evidence, product.kinds)
            regions, unread = self.with_parts(regions, views, product, pose)
        if one.picture is not None and regions:
            with stopwatch("refine"), self.threads():
                regions = refined(regions, one.picture, whole, self.segmenter, counted=counted)
        seen = shown(torch.from_numpy(whole), regions, one.size_hw, features, most=MOST_NAMED)
        contrasts = [one.contrast for one in evidence if one.contrast is not None]
        said, areas = sentence(decision.verdict, regions, decision.p_value), product.areas
        areas_notes = notes_of(one, counted, areas) if areas and counted is not None else ()
        found = Inspection(
            image=one.image,
            size_hw=one.size_hw,
            map=whole,
            score=decision.score,
            p_value=decision.p_value,
            verdict=decision.verdict,
            confidence=decision.confidence,
            guaranteed=decision.guaranteed,
            regions=regions,
            answer=said,
            seconds=stopwatch.seconds,
            notes=(*product.remarks, *decision.notes, *unread, *areas_notes),
            ignored=None if counted is None else packed(~counted),
            product="" if product.name == UNNAMED else product.name,
            num_good=product.num_references,
            told=product.description,
            colours=one.colours,
            quality=product.quality,
            shown=seen,
            severity=severity_of(
                decision.score,
                product.calibration,
                regions,
                one.size_hw,
                contrast=max(contrasts, default=None),
                drawn=self.procedural if product.references else self.procedural_alone,
                shift=REAL_SHIFT,
                usual=product.rule is None or product.rule.head is None,
            ),
        )
        found = fit.of(found)
        found = found if product.companions else measured(found, product.measuring)
        if areas is None or found.unfit is not None:
            return found
        return replace(found, answer=f"{found.answer} {areas.sentence}")

    def match(self, one: Prepared, product: Product) -> tuple[list[Evidence], Pose]:
        """What each tile shows, and how the product lies; laid straight where it lies turned."""
        views, features = one.views, one.features
        assert features is not None  # `encode` came before
        canvas, placement, poses = views.canvases[0], views.placements[0], [UPRIGHT]
        if product.circle is not None:
            # An engine hands over what words are shown, not what poses are found on.
            seen = features if one.evidence is None else self.detector.encode_coarse([canvas])
            poses = find_poses(coarse(seen), product.circle, self.detector.config.pose)
        if poses[0].upright:
            if one.evidence is not None:
                return one.evidence, poses[0]
            memories = self.memories(product) or [Memory()] * len(views.canvases)
            parts = zip(memories, one.shown, strict=True)
            return [
                self.detector.judge(features.rows([t]), memory, shown)
                for t, (memory, shown) in enumerate(parts)
            ], poses[0]

        def judge(canvas: np.ndarray, lies: Laid) -> Evidence:
            on = on_laid(canvas, lies, product)
            shown = lies if on is None else on.parts[0]
            ready = self.on_engine(product)
            if ready is not None:
                return ready.look([canvas], [shown])[0][0]
            return self.detector.judge(
                self.detector.encode([canvas]), self.memories(product)[0], shown
            )

        found, pose = judge_laid(canvas, placement, poses, judge)
        return [found], pose

    def with_parts(
        self, regions: tuple[Region, ...], views: Views, product: Product, pose: Pose
    ) -> tuple[tuple[Region, ...], tuple[str, ...]]:
        """The regions, with the parts that are missing or too many there; and what to note.

        A part that lies turned cannot be laid on a good picture's pixels, and is left as it is.
        """
        if self.composition is None or not (regions and product.references and pose.upright):
            return regions, ()
        if product.sense is not None:
            return regions, ()
        try:
            first = first_views(product)
        except PictureError as error:
            return regions, (f"Whether parts are missing is not told: {error}",)
        with self.threads():
            return self.composition.with_parts(regions, views, first), ()

    def decide(
        self, evidence: Sequence[Evidence], pose: Pose, product: Product, rate: float
    ) -> Decision:
        """Score, p-value and verdict of one picture's tiles. Raises AnomalystError for no rate."""
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

    def by_torch(self) -> "Pipeline":
        """The same by torch, regions as they are found: no engine is built for a few looks."""
        apart = copy.copy(self)
        apart.config = replace(self.config, engine="torch", refine=False)
        return apart

    def on_engine(self, product: Product) -> Compiled | None:
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

    def frame_for(self, good: Sequence[np.ndarray], product: Product | None) -> tuple[Frame, str]:
        """How a product is looked at, and why; one that exists keeps its size unless told."""
        if (
            product is not None
            and product.frame is not None
            and product.fingerprint == self.fingerprint
            and not self.config.sized
        ):
            return product.frame, product.side_reason
        frame, why = self._sizing().frame_for(good)
        if self.quality != "default":
            why = f"quality {self.quality}: {QUALITIES[self.quality].said}"
        return frame, why

    @property
    def quality(self) -> QualityName:
        """What is asked for; a product that was taught keeps its own."""
        return self.config.quality or "default"

    def _sizing(self) -> Sizing:
        encoder, config = self.detector.encoder, self.config
        return Sizing(
            own_px=encoder.side_px,
            multiple_px=encoder.multiple_px,
            side_px=config.side_px or QUALITIES[self.quality].side_px,
            smallest_defect_px=config.smallest_defect_px,
        )
