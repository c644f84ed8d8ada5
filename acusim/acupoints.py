"""The 174 acupoints of AcuSim and the nine meridians, in the network's order.

Positions and normals come from the AcuSim authors' 144-view table (CC BY 4.0, see NOTICE); names are spelt as
in the dataset's labels, mistakes included, because they must match byte for byte.
"""

import csv
import difflib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from acusim.errors import LabelError, shown

MERIDIANS = ("LI", "ST", "SI", "BL", "SJ", "GB", "EX", "RN", "DU")
"""Meridians in the order of acuSimNet's branches; the acupoints below are contiguous in this order."""

PointSet = Literal["asher", "male", "female"]
"""The three heads whose acupoints are known: the model Asher and the authors' two template figures."""


@dataclass(frozen=True, slots=True)
class Acupoint:
    """One row of the table."""

    index: int
    """0..173 over all meridians, the line of map.txt."""
    name: str
    """As spelt in the labels, for example ``LI17_天鼎_left``."""
    meridian: str
    """One of MERIDIANS."""
    local_index: int
    """Position within the meridian."""
    side: Literal["left", "right", "mid"]
    """The subject's side."""
    inner: bool
    """Inside the mouth or nose: never truly visible from outside."""
    note: str
    """Spelling mistakes and duplicates, for people."""


@cache
def _rows() -> list[dict[str, str]]:
    text = resources.files("acusim").joinpath("data/acupoints.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _acupoint(row: dict[str, str]) -> Acupoint:
    side = row["side"]
    assert side in ("left", "right", "mid"), side
    return Acupoint(
        int(row["index"]), row["name"], row["meridian"], int(row["local_index"]), side, row["inner"] == "1", row["note"]
    )


ACUPOINTS: tuple[Acupoint, ...] = tuple(_acupoint(row) for row in _rows())
NAMES: tuple[str, ...] = tuple(point.name for point in ACUPOINTS)
COUNT = len(ACUPOINTS)
MAP_TXT: bytes = "".join(f"{name}\n" for name in NAMES).encode()
"""The content of a dataset's map.txt: one name a line."""
INNER: NDArray[np.bool_] = np.array([point.inner for point in ACUPOINTS])
"""[174] True for points inside the mouth or nose."""

_INDEX = {name: index for index, name in enumerate(NAMES)}
# The ones whose area is covered by hair on every haired model and bare on every bald one.
SCALP: tuple[int, ...] = tuple(
    point.index
    for point in ACUPOINTS
    if point.name.split("_")[0]
    in {
        *(f"BL{k}" for k in range(3, 10)),
        *(f"GB{k}" for k in range(15, 20)),
        *(f"DU{k}" for k in range(17, 25)),
        "GB8",
        "GB9",
        "GB13",
        "EX-HN1",
    }
)
"""Indices of the acupoints on the scalp: hidden by hair, seen on a bald head."""


def index_of(name: str) -> int:
    """Index 0..173 of an acupoint.

    Raises:
        LabelError: the name is not one of the 174; the nearest spelling is offered.
    """
    try:
        return _INDEX[name]
    except KeyError:
        near = difflib.get_close_matches(name[:64], NAMES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise LabelError(f"acupoint {shown(name)} is not one of AcuSim's {COUNT} names{hint}") from None


def meridian_slice(meridian: str) -> slice:
    """The run of indices that belongs to one meridian.

    Raises:
        ValueError: the meridian is not one of MERIDIANS.
    """
    indices = [point.index for point in ACUPOINTS if point.meridian == meridian]
    if not indices:
        raise ValueError(f"meridian {meridian!r} is not one of {', '.join(MERIDIANS)}")
    return slice(indices[0], indices[-1] + 1)


def _columns(*names: str) -> NDArray[np.float64]:
    return np.array([[float(row[name]) for name in names] for row in _rows()])


def positions_mm(model: PointSet = "asher") -> NDArray[np.float64]:
    """[174, 3] positions in millimetres in the rig's frame: +x subject's left, -y face forward, +z up."""
    prefix = {"asher": "", "male": "male_", "female": "female_"}[model]
    return _columns(f"{prefix}x_mm", f"{prefix}y_mm", f"{prefix}z_mm")


def normals() -> NDArray[np.float64]:
    """[174, 3] unit surface normals on the head of Asher, pointing outwards."""
    return _columns("nx", "ny", "nz")
