"""Spaces that files of several senses and sentences share, each by its name on the command line."""

from anomalyst.errors import AnomalystError
from anomalyst.senses.space import Space


def open_space(spec: str) -> Space:
    """`drawn`: the shipped towers; `imagebind:DIR`; `clip:DIR`, of CLIP or SigLIP.

    Raises AnomalystError for another word or a folder that holds no such model.
    """
    kind, _, folder = spec.partition(":")
    if spec == "drawn":
        from anomalyst.backbones.spaces.drawn import DrawnSpace

        return DrawnSpace()
    if kind == "imagebind" and folder:
        from anomalyst.backbones.spaces.imagebind import ImageBindSpace

        return ImageBindSpace(folder)
    if kind == "clip" and folder:
        from anomalyst.backbones.spaces.clip import ClipSpace

        return ClipSpace(folder)
    raise AnomalystError(
        f"--encoder {spec}: is no space for a search; give `drawn` (the shipped towers), "
        "imagebind:DIR, or clip:DIR with the folder of a CLIP or SigLIP model."
    )
