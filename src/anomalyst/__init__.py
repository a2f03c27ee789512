"""Anomalyst: learns a product from one good picture, says what is wrong and where."""

from typing import TYPE_CHECKING, Any

from anomalyst.version import __version__

if TYPE_CHECKING:
    from anomalyst.inspector import Inspector
    from anomalyst.product import Product
    from anomalyst.types import Answer, Dialogue, Inspection, Region, Sample

__all__ = [
    "Answer", "Dialogue", "Inspection", "Inspector", "Product", "Region", "Sample", "__version__",
]  # fmt: skip

_HOMES = {
    "Inspector": "anomalyst.inspector",
    "Product": "anomalyst.product",
    "Inspection": "anomalyst.types",
    "Answer": "anomalyst.types",
    "Dialogue": "anomalyst.types",
    "Region": "anomalyst.types",
    "Sample": "anomalyst.types",
}


def __getattr__(name: str) -> Any:
    # The front door opens lazily: `import anomalyst` must not import torch.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'anomalyst' has no attribute {name!r}")
