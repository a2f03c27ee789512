"""Data sets -> how well the Inspector does: metrics, protocols, tables, curves.

`metrics` is pure and can be used alone; `plots` is not imported here because matplotlib is slow
to load.
"""

from anomalyst.evaluation.metrics import ImageMetrics, PixelMetrics, image_metrics, pixel_metrics

__all__ = ["ImageMetrics", "PixelMetrics", "image_metrics", "pixel_metrics"]
