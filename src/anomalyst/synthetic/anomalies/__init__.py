"""Anomalies planted on good pictures: NSA-style patches, CutPaste, Perlin, Poisson."""
