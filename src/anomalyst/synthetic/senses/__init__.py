"""What six senses tell of one drawn part: picture, sentences, depth, heat, sound and vibration."""

from anomalyst.synthetic.senses.part import (
    SensedPart,
    SensedTruth,
    SensesConfig,
    make_sensed_part,
    sensed_product,
)

__all__ = ["SensedPart", "SensedTruth", "SensesConfig", "make_sensed_part", "sensed_product"]
