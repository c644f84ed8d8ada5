"""How the face detector's box relates to AcuSim's frame: constants of training.inference.face_crop, and their error.

    python -m synthetic heads --out HEADS --identities 12 --size 256 --views kept
    python -m benchmarks.face_framing HEADS

The frame of each render is the square that the cropper should find: size and centre of the found square are compared
with it, for all views in which a face is found, and for those from the front. Needs mediapipe.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from acusim.layout import scan
from acusim.markdown import table
from training.inference.face_crop import head_square
from training.inference.faces import FaceFinder

FRONTAL = (1, 2, 36)
"""Frames within 10 degrees of the front."""


class Row(NamedTuple):
    """One render; lengths as shares of the frame's side."""

    frame: int
    box: float
    """Side of the detector's box."""
    side: float
    """Of the found square."""
    right: float
    """Centre of the found square from that of the frame."""
    down: float


def measure(root: Path, finder: FaceFinder) -> tuple[list[Row], int]:
    """The renders of a data set in which a face is found, and how many there are."""
    rows: list[Row] = []
    samples = scan(root).samples
    for sample in samples:
        pixels = sample.read_image()
        if faces := finder.find(pixels):
            size = pixels.shape[1]
            left, top, side = head_square(faces[0], size)
            centre = [(start + side / 2) / size - 0.5 for start in (left, top)]
            rows.append(Row(sample.id.frame, faces[0].side / size, side / size, centre[0], centre[1]))
    return rows, len(samples)


def cells(rows: Sequence[Row]) -> list[str]:
    """Mean and standard deviation of each number."""
    values = np.array([row[1:] for row in rows])
    return [f"{mean:.3f} ± {deviation:.3f}" for mean, deviation in zip(values.mean(0), values.std(0), strict=True)]


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heads", type=Path, help="data set of rendered heads")
    rows, count = measure(parser.parse_args().heads, FaceFinder())
    frontal = [row for row in rows if row.frame in FRONTAL]
    titles = ("views", "faces", "box / frame", "square / frame", "centre to the right", "centre downwards")
    print(table(titles, [("all", f"{len(rows)} of {count}", *cells(rows)), ("front", len(frontal), *cells(frontal))]))


if __name__ == "__main__":
    main()
