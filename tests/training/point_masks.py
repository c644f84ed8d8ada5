"""Point masks as evaluation writes them for data sets that are not AcuSim's."""

from pathlib import Path

import numpy as np

from acusim.files import sha256
from acusim.point_mask import PointMask, dump_point_mask


def write_mask(root: Path, image: str, trusted: dict[str, bool], accept: bool = True, sha: str = "") -> None:
    """Writes the mask of a picture below root whose label lists these points; ``sha`` takes the place of its hash."""
    count = len(trusted)
    mask = PointMask(
        image,
        sha or sha256((root / image).read_bytes()),
        accept,
        "" if accept else "structure lost",
        5.0,
        np.ones(count, bool),
        np.zeros((count, 2)),
        np.ones(count),
        np.ones(count),
        np.array(list(trusted.values())),
        tuple(trusted),
    )
    path = root / "point_masks" / f"{image}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dump_point_mask(mask))
