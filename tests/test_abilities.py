"""The ability matrix: what a blind method fails and a seeing one passes; the table in docs."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalyst.evaluation.studies.abilities import CHECKS, AbilityConfig, Found, Trial, try_method
from anomalyst.evaluation.studies.ability_table import as_markdown, study_abilities
from anomalyst.types import Answer, Inspection, Region, Sample, Turn
from conftest import ROOT

HW = 60, 60
CONFIG = AbilityConfig()


@pytest.fixture
def samples(tmp_path) -> list[Sample]:
    """A good picture, two sound and two defective ones: a spot at the upper left."""
    spot = np.zeros(HW, np.uint8)
    spot[5:15, 5:15] = 255
    found = []
    for number, (split, bad) in enumerate([("train", 0), *[("test", 0)] * 2, *[("test", 1)] * 2]):
        image, mask = tmp_path / f"{number}.png", tmp_path / f"{number}-mask.png"
        Image.fromarray(np.dstack([spot * bad] * 3)).save(image)
        Image.fromarray(spot).save(mask)
        label, kind = ("anomalous", "spot") if bad else ("normal", None)
        found.append(
            Sample(image=image, label=label, split=split, mask=mask if bad else None, defect=kind)
        )
    return found


class Seeing:
    """Marks bright places and speaks of them; everything it says is right."""

    name = fingerprint = "seeing"
    verdicts = ("normal", "anomalous")

    def teach(self, name, good, **_):
        return name, good

    def seen(self, image: Path) -> np.ndarray:
        return np.asarray(Image.open(image).convert("L"), dtype=np.float32) / 255

    def inspect_many(self, images, product, *, false_alarm_rate):
        del product, false_alarm_rate
        for image in images:
            map_ = self.seen(image)
            region = Region(box_xyxy=(5, 5, 15, 15), area_px=100, peak=1.0, centre_xy=(9.5, 9.5),
                            place="upper left")  # fmt: skip
            yield Inspection(
                image=image, size_hw=HW, map=map_, score=float(map_.max()), p_value=0.5,
                verdict=self.verdicts[int(map_.max() > 0)], regions=(region,), answer="",
                seconds={},
            )  # fmt: skip


class Talking(Seeing):
    """The same, and it answers."""

    words = ("Yes, there is.", "It is at the upper left.", "It is medium.")

    def ask(self, question, dialogue):
        text = self.words[len(dialogue.turns)]
        answer = Answer(text=text, raw=text, regions=dialogue.inspection.regions,
                        verdict="anomalous", confidence=1.0)  # fmt: skip
        dialogue.turns.append(Turn(question, answer))
        return answer


class Blind(Seeing):
    """Sees the same everywhere, and is never sure."""

    verdicts = ("unsure", "unsure")

    def seen(self, image):  # noqa: ARG002
        return np.zeros(HW, np.float32)


def able(method, samples) -> dict[str, bool]:
    return {name: one.able for name, one in try_method(method, [samples], CONFIG).items()}


def test_a_blind_method_can_nothing_and_a_talking_one_everything(samples):
    assert able(Blind(), samples) == dict.fromkeys(CHECKS, False)
    assert able(Talking(), samples) == dict.fromkeys(CHECKS, True)
    assert able(Seeing(), samples) == dict.fromkeys(CHECKS, True) | {"dialogue": False}


@pytest.mark.parametrize(
    "words",
    [
        ("No.", "It is at the upper left.", "It is medium."),
        ("Yes.", "It is at the lower left.", "It is medium."),
        ("Yes.", "It is at the upper left.", "I do not know."),
    ],
)
def test_a_wrong_turn_is_no_dialogue(samples, words):
    method = Talking()
    method.words = words
    assert able(method, samples)["dialogue"] is False


def test_a_judge_that_calls_everything_anomalous_does_not_judge(samples):
    method = Seeing()
    method.verdicts = ("anomalous", "anomalous")
    found = try_method(method, [samples], CONFIG)["judgement"]
    assert not found.able and found.shown == "0 of 2 sound and 2 of 2 defective right"


def test_a_peak_beside_the_defect_is_not_in_it(samples):
    test = [one for one in samples if one.split == "test"]
    seen = list(Seeing().inspect_many([one.image for one in test], None, false_alarm_rate=0.05))
    off = np.zeros(HW, np.float32)
    off[40, 40] = 1
    beside = [replace(one, map=off) for one in seen]
    found = CHECKS["localisation"](Seeing(), [Trial(test, seen, beside)], CONFIG)
    assert not found.able and found.shown == "0 of 2 peaks in the defect"


def cells_of(text: str) -> dict[str, list[str]]:
    """Method -> its cells, without the figures that may differ between machines."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {row[1]: [re.sub(r" \(.*", " tried", cell) for cell in row[2:]] for row in rows[2:]}


def test_what_was_not_tried_is_quoted():
    tried = {"ours": {name: Found(True, "shown") for name in CHECKS}}
    cells = cells_of(as_markdown(tried, CONFIG))
    assert cells["ours"] == ["yes tried"] * 5
    assert cells["PaDiM"] == [f"{word} [quoted]" for word in ("no", "yes", "yes", "no", "no")]
    assert cells["LLaVA"][0] == "not known" and cells["LLaVA"][4] == "yes [quoted]"
    assert len(cells) == 5 + 3 + 3 + 1 + 1


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_the_table_in_the_docs_is_what_a_fresh_run_finds(tmp_path):
    committed = (ROOT / "docs" / "abilities.md").read_text(encoding="utf-8")
    assert cells_of(study_abilities(tmp_path)) == cells_of(committed)
