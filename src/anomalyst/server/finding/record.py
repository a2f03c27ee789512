"""The record's inspections as what may be found."""

from pathlib import Path

from anomalyst.errors import AnomalystError
from anomalyst.product_index import COMPANIONS, UnknownProduct, product_folder, read_record
from anomalyst.senses.sense import Sense, sense_of
from anomalyst.senses.space import SensedFile
from anomalyst.server.config import ServingConfig
from anomalyst.server.finding.items import Item, LeftOut
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import InspectionRow


def open_record(config: ServingConfig) -> Store:
    """The store of a workbench that is there already; who only reads makes none.

    Raises AnomalystError where there is none.
    """
    if config.database is None and not (config.home / "anomalyst.db").is_file():
        raise AnomalystError(
            f"--home {config.home}: holds no record of inspections; give the --home of a "
            "workbench (`anomalyst serve`), or folders with --among."
        )
    return Store.open(config)


def record_items(store: Store, wanted: Filter, products: Path, left_out: LeftOut) -> list[Item]:
    """Every sense of every inspection wanted that is done, the newest first."""
    known: dict[tuple[str, str], Sense | None] = {}
    found = []
    for row in store.every_inspection(wanted):
        for sense, name in senses_of(row):
            if name not in store.pictures:
                left_out.add(row.name, "its file is no longer kept.")
                continue
            try:
                if (row.product, sense) not in known:
                    known[row.product, sense] = reading_of(row.product, sense, products)
            except AnomalystError as error:
                left_out.add(row.name, error)
                continue
            reading = known[row.product, sense]
            file = SensedFile(sense=sense, path=store.pictures.path(name), reading=reading)
            found.append(
                Item(
                    file=file,
                    digest=name.partition(".")[0],
                    name=row.name,
                    inspection=row.id,
                    product=row.product,
                    verdict=row.verdict,
                    created_at=row.created_at,
                )
            )
    return found


def senses_of(row: InspectionRow) -> list[tuple[str, str]]:
    """The senses of an inspected part, the leading one first, each with its file's name."""
    lead = row.sense.partition("+")[0]
    return [(lead, row.picture), *(row.beside or {}).items()]


def reading_of(product: str, sense: str, products: Path) -> Sense | None:
    """How files of a sense are read, as the product was taught; None: as any is.

    Raises AnomalystError where that must be known and the product is gone.
    """
    if sense in ("image", "audio"):
        return None
    try:
        folder = product_folder(product, products)
    except UnknownProduct:
        if sense == "series":
            return None  # its own column of times may tell enough
        raise AnomalystError(
            f"product {product!r} is not in {products}, and only it tells the unit of {sense} "
            "files; give --products."
        ) from None
    companion = folder / COMPANIONS / sense
    values = read_record(companion if companion.is_dir() else folder).get("sense")
    return sense_of(values, f"{folder}: sense") if values else None
