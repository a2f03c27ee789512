"""Data sets -> how well the Inspector does: metrics, protocols, tables, curves."""
