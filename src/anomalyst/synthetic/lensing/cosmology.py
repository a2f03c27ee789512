"""How heavy an Einstein area is: distances in a flat universe of matter and a constant."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from anomalyst.errors import AnomalystError

LIGHT_KM_S = 299_792.458
# c^2 / (4 G) in solar masses per megaparsec: a point lens of Einstein radius t (radians) weighs
# that x t^2 x D_lens D_source / D_between.
SOLAR_PER_MPC = LIGHT_KM_S**2 / (4 * 4.30091e-9)
ARCSECOND = np.pi / 180 / 3600


@dataclass(frozen=True, slots=True)
class Plane:
    """Redshifts of lens and source, Hubble's constant in km/s/Mpc, share of matter."""

    lens_redshift: float = 0.5
    source_redshift: float = 1.0
    hubble: float = 70.0
    matter: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.lens_redshift < self.source_redshift:
            raise AnomalystError(
                f"The lens is at redshift {self.lens_redshift}, the source at "
                f"{self.source_redshift}; the source must lie behind the lens."
            )

    def solar_masses(self, einstein_area: float) -> float:
        """Mass of a point lens of this Einstein area (square arcseconds)."""
        return einstein_area * _of_one(self)


@lru_cache(maxsize=16)
def _of_one(plane: Plane) -> float:
    """Solar masses of one square arcsecond."""
    lens, source = _comoving(plane, plane.lens_redshift), _comoving(plane, plane.source_redshift)
    # D_l D_s / D_ls of angular diameter distances; the (1 + z_source) cancel.
    reach = lens / (1 + plane.lens_redshift) * source / (source - lens)
    return float(SOLAR_PER_MPC * ARCSECOND**2 * reach)


def _comoving(plane: Plane, redshift: float) -> float:
    """Megaparsecs: c / H0 times the integral of 1 / E(z)."""
    z = np.linspace(0, redshift, 513)
    slowness = 1 / np.sqrt(plane.matter * (1 + z) ** 3 + 1 - plane.matter)
    return float(LIGHT_KM_S / plane.hubble * np.trapezoid(slowness, z))
