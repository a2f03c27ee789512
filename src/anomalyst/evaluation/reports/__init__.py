"""An evaluation as tables, curves, pages."""
