"""Drawn products taught by five senses through the front door: what each finds, and all together.

Each product is drawn anew (synthetic/senses/), its parts are written as files, taught with
`Inspector.teach_part` and judged with `Inspector.inspect_part`, as `anomalyst teach` and `inspect`
do. No constant was chosen on these products.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from anomalyst.config import to_mapping
from anomalyst.errors import AnomalystError
from anomalyst.inspection.config import InspectorConfig
from anomalyst.inspection.file_reading import FileReading
from anomalyst.inspector import Inspector
from anomalyst.io.files import write_text
from anomalyst.product import Product
from anomalyst.product_index import SENSES
from anomalyst.synthetic.procedural.families import HELD_OUT
from anomalyst.synthetic.senses.files import write_part
from anomalyst.synthetic.senses.part import SensedPart, SensesConfig, sensed_product
from anomalyst.types import Inspection

PRODUCT_SEED = 1 << 44
SETTINGS = "settings.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeveralSenses:
    """What is drawn and judged."""

    products: int = 200
    good: int = 20  # parts a product is taught with
    sound: int = 5  # sound parts to judge, of each product
    faulty: int = 7  # faulty ones; conditions take turns
    senses: tuple[str, ...] = SENSES
    size_px: int = 128  # side of pictures, depth and heat
    rate: float = 0.05  # of false alarms
    seed: int = 7

    def __post_init__(self) -> None:
        unknown = [one for one in self.senses if one not in SENSES]
        if unknown or len(self.senses) < 2:
            raise AnomalystError(
                f"senses: {', '.join(self.senses) or 'none'}; two or more of "
                f"{', '.join(SENSES)} are needed."
            )


def judge_products(
    config: SeveralSenses, out: Path, told: Callable[[int], None] = lambda _: None
) -> list[dict[str, Any]]:
    """A record of each product, kept in the folder: what was judged before is not judged again.

    Raises AnomalystError where the folder holds a measurement of other settings.
    """
    settings = json.dumps(to_mapping(config), indent=2) + "\n"
    before = out / SETTINGS
    if before.is_file() and _of_one_product(before.read_text()) != _of_one_product(settings):
        raise AnomalystError(f"{out}: holds a measurement with other settings; take another --out.")
    write_text(before, settings)
    # Pictures are drawn at that size; a larger side would only look at enlarged ones.
    inspector = Inspector.load(config=InspectorConfig(side_px=config.size_px))
    records = []
    for number in range(config.products):
        kept = out / "products" / f"{number:04d}.json"
        if not kept.is_file():
            write_text(kept, json.dumps(_judged(inspector, config, number)) + "\n")
        records.append(json.loads(kept.read_text(encoding="utf-8")))
        told(number)
    return records


def _of_one_product(settings: str) -> dict[str, Any]:
    """What the record of one product depends on: not how many there are."""
    values: dict[str, Any] = json.loads(settings)
    return {name: value for name, value in values.items() if name != "products"}


def _judged(inspector: Inspector, config: SeveralSenses, number: int) -> dict[str, Any]:
    """One product: drawn, written, taught, and its other parts judged."""
    world = SensesConfig(size_px=config.size_px)
    good, faulty = sensed_product(
        (PRODUCT_SEED, config.seed, number), world, good=config.good + config.sound,
        faulty=config.faulty,
    )  # fmt: skip
    judged = [*good[config.good :], *faulty]
    with TemporaryDirectory() as folder:
        taught = [write_part(Path(folder), f"g{i:02d}", p) for i, p in enumerate(good)]
        taught = taught[: config.good]
        product = _taught(inspector, taught, config)
        rows = []
        for i, part in enumerate(judged):
            files = write_part(Path(folder), f"n{i:02d}", part)
            found = inspector.inspect_part(
                {sense: files[sense] for sense in config.senses}, product,
                false_alarm_rate=config.rate,
            )  # fmt: skip
            rows.append(_row(part, found))
    family = good[0].truth.seen.family
    return {"product": number, "family": family, "held_out": family in HELD_OUT, "parts": rows}


def _taught(
    inspector: Inspector, parts: Sequence[Mapping[str, Path]], config: SeveralSenses
) -> Product:
    good = [{sense: part[sense] for sense in config.senses} for part in parts]
    heat = "C" if "thermal" in config.senses else None
    return inspector.teach_part("drawn", good, FileReading(thermal_unit=heat))


def _row(part: SensedPart, found: Inspection) -> dict[str, Any]:
    return {
        "condition": part.truth.condition,
        "kind": part.truth.kind,
        "together": {"score": found.score, "p": found.p_value, "verdict": found.verdict},
        "guaranteed": found.guaranteed,
        "senses": {
            one.sense: {"score": one.score, "p": one.p_value, "verdict": one.verdict}
            for one in found.senses
        },
        "seconds": sum(found.seconds.values()),
    }
