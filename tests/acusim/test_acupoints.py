"""The table of 174 acupoints."""

import numpy as np
import pytest

from acusim import acupoints
from acusim.errors import LabelError


def test_table_has_nine_contiguous_meridians():
    counts = {"LI": 10, "ST": 20, "SI": 12, "BL": 22, "SJ": 18, "GB": 42, "EX": 31, "RN": 2, "DU": 17}
    assert len(acupoints.NAMES) == len(set(acupoints.NAMES)) == 174
    start = 0
    for meridian, count in counts.items():
        part = acupoints.ACUPOINTS[acupoints.meridian_slice(meridian)]
        assert [p.index for p in part] == list(range(start, start + count))
        assert [p.local_index for p in part] == list(range(count))
        start += count
    assert acupoints.NAMES[9] == "LI120_迎香_left"  # misspelt in the dataset, and so here
    assert acupoints.MAP_TXT.decode().splitlines() == list(acupoints.NAMES)
    assert {acupoints.NAMES[i] for i in np.flatnonzero(acupoints.INNER)} >= {"EX-HN10_聚泉", "DU28_龈交"}
    with pytest.raises(LabelError, match="LI120_迎香_left"):
        acupoints.index_of("LI20_迎香_left")


def test_sides_and_symmetry():
    """The subject's left is +x; each left point has its mirror image at the right."""
    xyz = acupoints.positions_mm()
    for point in acupoints.ACUPOINTS:
        if point.side == "left":
            twin = acupoints.index_of(point.name.removesuffix("left") + "right")
            assert xyz[point.index, 0] > 0 > xyz[twin, 0]
            assert np.allclose(xyz[point.index] * [-1, 1, 1], xyz[twin], atol=0.01)
