"""Files dropped on a page, and the parts they belong to."""

from collections.abc import Sequence
from pathlib import Path

from anomalyst.errors import AnomalystError
from anomalyst.inspection.parts import sorted_by_name, sorted_by_sense
from anomalyst.server.service import Service


def parts_of(
    service: Service, product: str, files: Sequence[str], kind: str | None = None
) -> list[dict[str, Path]]:
    """Dropped files as parts, sense -> file.

    By `kind`, if somebody said what they are; else by the senses of a known product; else by their
    names. Raises AnomalystError where a part lacks a sense, or a file may be of several.
    """
    paths = [Path(file) for file in files]
    known = service.senses(product) if product in service.product_names() else []
    kind = kind or (known[0] if len(known) == 1 else None)
    if kind is not None:
        return [{kind: path} for path in paths]
    try:
        return sorted_by_sense(paths, known) if known else sorted_by_name(paths)
    except AnomalystError as error:
        said = str(error)
        for folder in {str(path.parent) for path in paths}:  # where the page put them
            said = said.replace(f"{folder}/", "")
        raise AnomalystError(said) from None
