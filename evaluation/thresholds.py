"""The numbers by which an image is certified: checked, readable from TOML, light to import."""

import json
from typing import ClassVar

from pydantic import Field

from acusim.files import sha256
from acusim.settings import Settings


class Thresholds(Settings):
    """Thresholds of the certificate; the defaults come from the calibration in docs/results/certificate.md.

    Lengths are pixels of an image 512 wide.
    """

    WHAT: ClassVar[str] = "threshold"

    tolerance_mm: float = Field(default=5.0, ge=0.1, le=100.0)
    """A label is trusted if no larger displacement of its acupoint is possible."""
    allowed_px: float = Field(default=1.0, ge=0.0, le=6.0)
    """Displacements up to this are no reason to reject an image."""
    found: float = Field(default=5.539, ge=0.0, le=1e4)
    """Log-likelihood ratio from which a point counts as moved, where the image kept its fine texture."""
    found_remade: float = Field(default=6.678, ge=0.0, le=1e4)
    """The same where the texture was regenerated, which gives more chances to be wrong."""
    faithful_texture: float = Field(default=0.7, ge=-1.0, le=1.0)
    """Agreement of fine texture from which an image counts as having kept it."""
    excluded: float = Field(default=8.0, ge=0.0, le=1e4)
    """Displacements whose log-likelihood is this much below the best one cannot have happened."""
    rests_medium: float = Field(default=-0.02, ge=-10.0, le=10.0)
    """A point is trusted only if lids and creases around it agree by this much that it rests."""
    rests_band: float = Field(default=0.03, ge=-10.0, le=10.0)
    """The same for structure of 5 to 40 pixels."""
    firm_band: float = Field(default=0.07, ge=-10.0, le=10.0)
    """Where it agrees by this much, it bounds the displacement without fine texture …"""
    firm_strength: float = Field(default=0.1, ge=0.0, le=1.0)
    """… unless that shows evidence of a displacement: of what rejects an image, more than this share."""
    most_against: float = Field(default=0.1, ge=-10.0, le=10.0)
    """A point is not trusted if structure of 5 to 40 pixels moved near it: evidence over that for rest."""
    least_kept: float = Field(default=0.4, ge=-10.0, le=10.0)
    """A point is trusted only if this share of the original's structure of 5 to 40 pixels is there around it …"""
    least_alike: float = Field(default=0.5, ge=-1.0, le=1.0)
    """… and correlates by this much with all that is there."""
    least_contrast: float = Field(default=0.92, ge=-10.0, le=10.0)
    """A point is trusted only if this share of the contrast of lids and creases is left around it and in the median."""
    most_moved: float = Field(default=0.2, ge=0.0, le=1.0)
    """An image is rejected if that is so at a larger share of its acupoints themselves."""
    most_doubt: float = Field(default=0.2, ge=0.0, le=100.0)
    """A point around which there is more evidence of a second copy is not trusted."""
    most_copy: float = Field(default=0.09, ge=0.0, le=100.0)
    """An image with more evidence of a second copy of the head is a blend of two."""
    least_structure: float = Field(default=0.095, ge=-1.0, le=1.0)
    """An image whose medium structure agrees less does not show the same head."""
    most_outline_px: float = Field(default=3.882, ge=0.0, le=24.0)
    """Beside a silhouette that moved farther acupoints are not trusted; 24 switches this test off."""
    global_gain: float = Field(default=0.1, ge=0.0, le=2.0)
    """The whole image was shifted if its coarse structure correlates better elsewhere by this much."""
    least_trusted: float = Field(default=0.0, ge=0.0, le=1.0)
    """Least share of the visible acupoints that must be trusted; 0 leaves it to the point mask."""
    black_level: float = Field(default=12.0, ge=0.0, le=255.0)
    """A head without any level above this is black."""
    flat_levels: float = Field(default=2.0, ge=0.0, le=255.0)
    """A head whose levels spread less (standard deviation) is flat."""

    @property
    def sha256(self) -> str:
        """Of all values, for the keys of what was measured with them."""
        return sha256(json.dumps(self.as_dict(), sort_keys=True).encode())
