"""A score -> p-value and verdict: conformal calibration, and whether the stream has drifted."""
