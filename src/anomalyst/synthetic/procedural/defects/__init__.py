"""Defects of one instance: what wear, handling and accidents leave on it."""

from anomalyst.synthetic.procedural.defects.planting import DEFECTS, apply_defect

__all__ = ["DEFECTS", "apply_defect"]
