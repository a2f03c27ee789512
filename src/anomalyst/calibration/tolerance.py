"""How far good pictures of a product may differ in light, place, turn and focus and stay good."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """The largest tried changes under which good pictures were still called good."""

    darker: float  # share of the light taken away
    brighter: float  # share of the light added
    shift_px: float  # in pixels of the picture, any way
    turn_degrees: float  # either way
    blur_px: float  # sigma of a Gaussian blur, in pixels of the picture
    pictures: int  # good pictures that it was tried on

    @property
    def told(self) -> str:
        """In words: "light -25 to +20 %, shift +-12 px, turn +-3 degrees, blur 0.8 px"."""
        turn = "any turn" if self.turn_degrees >= 180 else f"turn +-{self.turn_degrees:g} degrees"
        light = f"-{self.darker:.0%} to +{self.brighter:.0%}".replace("%", " %")
        if self.darker == self.brighter:
            light = f"+-{100 * self.darker:.0f} %"
        return f"light {light}, shift +-{self.shift_px:.3g} px, {turn}, blur {self.blur_px:.2g} px"

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The tolerance of which `as_dict` gave the values."""
        return cls(**values)
