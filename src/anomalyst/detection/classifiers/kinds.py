"""What kinds of defects are told apart: words alone, read without torch."""

# Each kind and the world's own words for the defects that it covers.
_COVERED = {
    "scratch or crack": ("scratch", "crack", "cut", "fibre", "fracture"),
    "discolouration": ("stain", "discolouration", "smear", "wrong colour", "wrong texture"),
    "hole or break": (
        "hole", "chip", "broken off", "broken part", "edge fault", "missing part",
    ),
    "deformation": ("dent", "fold", "bend", "bent part"),
    "foreign part": (
        "foreign body", "particles", "extra part", "misplaced part", "swapped parts",
        "wrong size", "wrong print",
    ),
}  # fmt: skip
KINDS = tuple(_COVERED)
KIND_OF = {word: kind for kind, words in _COVERED.items() for word in words}
