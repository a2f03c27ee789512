"""Changes of one product are made one after another, by whichever process or server."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anomalyst.io.locks import Lock
from anomalyst.product_index import check_name
from anomalyst.server.errors import Busy

LOCKS = ".locks"  # in the products' folder
TURN_SECONDS = 2.0  # another's change is waited for; in the model process inspections wait, too


@contextmanager
def changing(name: str, products: Path) -> Iterator[None]:
    """Nobody else changes the product meanwhile: who does reads it, and writes it whole.

    Raises Busy while another does.
    """
    check_name(name)
    with Lock(products / LOCKS / f"{name}.lock").within(TURN_SECONDS) as ours:
        if not ours:
            raise Busy(f"product {name!r} is being changed by another; try again in a minute.")
        yield
