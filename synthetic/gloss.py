"""Specular reflection of skin: microfacets with Fresnel's law, and the small relief that breaks highlights up.

D is the GGX distribution of B. Walter et al., "Microfacet models for refraction through rough surfaces" (2007), with
Smith's height-correlated masking of E. Heitz (2014) and Schlick's approximation of Fresnel's law.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

SKIN_F0 = 0.04
"""Reflectance of moist or oily skin at normal incidence."""
_RELIEF_WAVES = 12
_RELIEF_MM = (0.7, 3.0)
"""Wavelengths of the skin's relief."""


@dataclass(frozen=True)
class Finish:
    """How glossy a person's skin is."""

    roughness: float
    """Root of GGX's alpha, 0..1: 0.3 wet, 0.6 dry."""
    relief: float
    """Slope of the skin's relief, root of the mean square."""


def fresnel(cosine: Floats, f0: float) -> Floats:
    """Share that is reflected at an angle, by Schlick: f0 + (1 - f0) (1 - cosine)^5."""
    return f0 + (1 - f0) * (1 - np.clip(cosine, 0, 1)) ** 5


def ggx(normal: Floats, to_view: Floats, to_light: Floats, alpha: float, f0: float) -> Floats:
    """[K] reflectance of unit vectors [K, 3]: D G F / (4 (n v) (n l)), in 1/sr; zero where either is below the horizon.

    Args:
        normal: of the surface.
        to_view: towards the camera.
        to_light: towards the light.
        alpha: roughness of GGX, the slope of the microfacets.
        f0: reflectance at normal incidence.
    """
    half = to_view + to_light
    half = half / (np.sqrt(np.einsum("kc,kc->k", half, half))[:, None] + 1e-9)
    nl, nv, nh = (np.einsum("kc,kc->k", normal, other) for other in (to_light, to_view, half))
    above = (nl > 0) & (nv > 0)
    nl, nv, nh = np.clip(nl, 1e-4, 1), np.clip(nv, 1e-4, 1), np.clip(nh, 0, 1)
    square = alpha * alpha
    distribution = square / (np.pi * (nh * nh * (square - 1) + 1) ** 2)
    masking = 0.5 / (nl * np.sqrt(nv * nv * (1 - square) + square) + nv * np.sqrt(nl * nl * (1 - square) + square))
    return np.where(above, distribution * masking * fresnel(np.einsum("kc,kc->k", half, to_view), f0), 0)


def rough_normals(
    normal: NDArray[np.float32], position_mm: NDArray[np.float32], slope: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """[K, 3] normals bent by the skin's relief, a sum of waves in space.

    Args:
        normal: [K, 3] unit.
        position_mm: [K, 3] of the points.
        slope: root of the mean square of the bend.
        rng: draws the waves; the same for all views of a person.
    """
    bent = normal.copy()
    for _ in range(_RELIEF_WAVES):
        direction = rng.standard_normal(3)
        direction /= np.linalg.norm(direction)
        wave = 2 * np.pi / rng.uniform(*_RELIEF_MM) * direction
        phase = position_mm @ wave.astype(np.float32) + np.float32(rng.uniform(0, 2 * np.pi))
        amplitude = slope * np.sqrt(2 * 3 / _RELIEF_WAVES)  # a third of a direction's square is along each axis
        bent += (np.cos(phase) * amplitude)[:, None].astype(np.float32) * direction.astype(np.float32)
    return bent / np.sqrt(np.einsum("kc,kc->k", bent, bent))[:, None]
