"""What `anomalyst watch` is given -> the source of what it inspects."""

from pathlib import Path

from anomalyst.errors import AnomalystError
from anomalyst.io.pictures import PICTURE_SUFFIXES
from anomalyst.product_index import product_folder, product_senses
from anomalyst.senses.sense import SUFFIXES
from anomalyst.server.config import ServingConfig
from anomalyst.server.streaming.addresses import SCHEMES, without_password
from anomalyst.server.streaming.cameras import Camera, CameraRule
from anomalyst.server.streaming.feeds import is_camera
from anomalyst.server.streaming.growing import GrowingTable
from anomalyst.server.streaming.sources import Folder, Source
from anomalyst.server.streaming.topics import Topic
from anomalyst.server.streaming.windows import Cut, series_sense

WHOLE_TABLES = frozenset({".parquet", ".npy"})  # which cannot grow
TABLES = SUFFIXES["series"] - WHOLE_TABLES


def open_for(
    text: str,
    product: str,
    config: ServingConfig,
    *,
    window: float | None = None,
    stride: float | None = None,
    prompt: bool = False,
    camera: CameraRule | None = None,
) -> Source:
    """The folder, camera, growing table or topic that a product's files come from.

    `window` and `stride` in seconds, of tables and topics alone; `prompt`: its line has a deadline;
    `camera`: when one is blind. Raises AnomalystError.
    """
    folder = product_folder(product, config.products)
    [sense, *others] = product_senses(folder)
    if others:
        raise AnomalystError(
            f"product {product!r} was taught with {' and '.join((sense, *others))}; watch takes "
            "one sense. Teach one product for each."
        )
    path, is_topic = Path(text), text.partition("://")[0] in SCHEMES
    if not is_topic and ("://" in text or not _is_table(path, sense)):
        if window is not None or stride is not None:
            raise AnomalystError(
                f"{without_password(text)}: --window and --stride are for growing tables and "
                "topics; leave them out."
            )
        if is_camera(text):
            return Camera(text, camera)
        return Folder(path, SUFFIXES.get(sense, PICTURE_SUFFIXES), prompt=prompt)
    signal = series_sense(folder)
    if signal is None:
        raise AnomalystError(
            f"{without_password(text)} brings sensor values, and product {product!r} was taught "
            f"with {sense}; teach one with --series."
        )
    cut = Cut.of(folder, signal, window, stride)
    if is_topic:
        owner = f"{config.home.resolve()} {product}"
        return Topic(text, signal, cut, config.home / "incoming", owner)
    if path.suffix.lower() in WHOLE_TABLES:
        raise AnomalystError(
            f"{path}: a {path.suffix} file is written as a whole; watch the folder that such files "
            "come into, or inspect this one with `anomalyst inspect`."
        )
    return GrowingTable(path, signal, cut)


def _is_table(path: Path, sense: str) -> bool:
    """Whether a source is a table that grows, or should be one."""
    if path.is_dir():
        return False
    return path.suffix.lower() in TABLES or (sense == "series" and path.is_file())
