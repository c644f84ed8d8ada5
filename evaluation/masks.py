"""From a certificate to the file that lists which labels are certainly still true."""

from typing import Any

import numpy as np

from acusim.acupoints import NAMES
from acusim.keypoints import Keypoints
from acusim.labels import Label
from acusim.point_mask import PointMask, dump_point_mask
from evaluation.certificate import Certificate


def record_of(certificate: Certificate) -> dict[str, Any]:
    """A certificate as JSON: the summary, and one row for each visible point."""
    rows = np.flatnonzero(certificate.visible)
    return {
        **certificate.summary(),
        "points": [
            [
                int(row),
                *(_rounded(float(value)) for value in certificate.displacement_px[row]),
                _rounded(float(certificate.excluded_px[row])),
                _rounded(float(certificate.excluded_mm[row])),
                int(certificate.trusted[row]),
            ]
            for row in rows
        ],
    }


def _rounded(value: float) -> float | None:
    return round(value, 3) if np.isfinite(value) else None


def mask_bytes(
    record: dict[str, Any], label: Label | Keypoints, image: str, image_sha256: str, tolerance_mm: float
) -> bytes:
    """The point mask of an image; a listed point outside the image is not trusted.

    Args:
        record: from ``record_of``.
        label: of the original.
        image: its path, relative to its data set root.
        image_sha256: of its file.
        tolerance_mm: by which points were trusted.
    """
    names, listed = (label.names, label.visible) if isinstance(label, Keypoints) else (NAMES, label.listed)
    count = len(names)
    displacement, pixels, millimetres = np.full((count, 2), np.nan), np.full(count, np.inf), np.full(count, np.inf)
    trusted = np.zeros(count, bool)
    for row, dx, dy, px, mm, ok in record["points"]:
        displacement[row] = [np.nan if value is None else value for value in (dx, dy)]
        pixels[row], millimetres[row] = (np.inf if value is None else value for value in (px, mm))
        trusted[row] = bool(ok)
    return dump_point_mask(
        PointMask(
            image=image,
            image_sha256=image_sha256,
            accept=bool(record["accept"]),
            reason=str(record["reason"]),
            tolerance_mm=tolerance_mm,
            names=names,
            listed=listed,
            displacement_px=displacement,
            excluded_px=pixels,
            excluded_mm=millimetres,
            trusted=trusted,
        )
    )
