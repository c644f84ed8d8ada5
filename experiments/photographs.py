"""A model's points on photographs, beside MediaPipe's face mesh where an acupoint is at one of its marks.

    python -m experiments.photographs RUN [--photo FILE ...] [--out DIR]

RUN is a trained model of the head: a folder, or head. Without --photo it takes the astronaut of scikit-image (Eileen
Collins, NASA, public domain), the only face of useful size among the packages that this project installs. Needs
mediapipe and scikit-image.

Where WHO's standard acupuncture point locations (2008) put a point beside its mark rather than on it, the offset is
given in cun; 1 cun of the face is taken as 0.32 of the distance between the eyes (20 mm of 63 mm). "apart" is the
distance of the two positions in % of the distance between the eyes, "at the mark" without and "at the point" with that
offset. MediaPipe's own error, some 2-3 %, is in every number.

    OUT/photographs.md      the table
    OUT/<photograph>.jpg    dots: the model's points; rings: where the mesh puts them
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acusim import acupoints
from acusim.errors import ConfigError
from acusim.markdown import table
from acusim.pictures import encode
from acusim.results import write_result
from training.data.photographs import read_photograph
from training.inference.drawing import draw_points
from training.inference.model import PredictedPoints
from training.inference.result_files import enlargement

CUN = 0.32
"""Of the distance between the eyes."""
EYES = ((33, 133), (263, 362))
"""Outer and inner corner of the person's right and left eye in the mesh."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An acupoint, and the mark of the mesh that it is at."""

    code: str
    """As in the names of acupoints."""
    where: str
    right: tuple[int, ...]
    """Indices of the mesh, whose mean is the mark, on the person's right."""
    left: tuple[int, ...] = ()
    """The same on the left; empty for a point in the middle."""
    out_cun: float = 0.0
    """The point is so far from the mark, away from the middle of the face."""
    up_cun: float = 0.0
    """And so far above it."""


PAIRS = (
    Pair("BL1", "inner corner of the eye, 0.1 cun above", (133,), (362,), up_cun=0.1),
    Pair("GB1", "0.5 cun beside the outer corner of the eye", (33,), (263,), out_cun=0.5),
    Pair("ST4", "0.4 cun beside the corner of the mouth", (61,), (291,), out_cun=0.4),
    Pair("DU25", "tip of the nose", (4,)),
    Pair("BL2", "inner end of the brow", (107, 55), (336, 285)),
    Pair("SJ23", "outer end of the brow", (70, 46), (300, 276)),
)
"""Point locations by WHO; marks by MediaPipe's canonical mesh."""


class Row(NamedTuple):
    """One acupoint of one photograph; lengths in % of the distance between the eyes."""

    name: str
    where: str
    visible: bool
    """Whether the model takes it for visible."""
    at_mark: float
    at_point: float


def expected_px(mesh_px: NDArray[np.float64]) -> dict[str, tuple[Pair, NDArray[np.float64], NDArray[np.float64]]]:
    """Where a mesh puts acupoints.

    Args:
        mesh_px: [M, 2] at least the 468 marks of MediaPipe's face mesh, in pixels.

    Returns:
        By name: the pair, the mark [2], and the mark moved by the pair's offset [2].
    """
    eyes = np.array([mesh_px[list(corners)].mean(0) for corners in EYES])
    across = eyes[1] - eyes[0]  # from the person's right to the left
    up = np.array([across[1], -across[0]])
    out: dict[str, tuple[Pair, NDArray[np.float64], NDArray[np.float64]]] = {}
    for pair in PAIRS:
        sides = {"right": (pair.right, -1.0), "left": (pair.left, 1.0)} if pair.left else {"mid": (pair.right, 0.0)}
        for side, (indices, sign) in sides.items():
            [name] = [p.name for p in acupoints.ACUPOINTS if p.name.split("_")[0] == pair.code and p.side == side]
            mark = mesh_px[list(indices)].mean(0)
            out[name] = pair, mark, mark + CUN * (sign * pair.out_cun * across + pair.up_cun * up)
    return out


def compare(found: PredictedPoints, mesh_px: NDArray[np.float64]) -> list[Row]:
    """The distances of a model's points to where the mesh puts them."""
    unit = np.diff([mesh_px[list(corners)].mean(0) for corners in EYES], axis=0)
    scale = 100 / float(np.hypot(*unit[0]))
    rows = []
    for name, (pair, *places) in expected_px(mesh_px).items():
        index = found.names.index(name)
        apart = [float(np.hypot(*(found.coords_px[index] - place))) * scale for place in places]
        rows.append(Row(name, pair.where, bool(found.visible[index]), *apart))
    return rows


def summary(rows: Sequence[Row]) -> str:
    """The Markdown table of a photograph, with median and largest of its last columns."""
    lines = [
        (row.name, row.where, "yes" if row.visible else "no", f"{row.at_mark:.1f}", f"{row.at_point:.1f}")
        for row in rows
    ]
    numbers = np.array([row[3:] for row in rows])
    for word, values in (("median", np.median(numbers, 0)), ("largest", numbers.max(0))):
        lines.append((f"**{word}**", "", "", f"{values[0]:.1f}", f"{values[1]:.1f}"))
    return table(("acupoint", "place", "visible", "apart, at the mark, %", "apart, at the point, %"), lines)


def drawn(pixels: NDArray[np.uint8], found: PredictedPoints, mesh_px: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The photograph with the model's points as dots and those of the mesh as rings."""
    places = expected_px(mesh_px)
    indices = [found.names.index(name) for name in places]
    true = [place for _, _, place in places.values()]
    xy = found.coords_px[indices]
    return draw_points(pixels, xy, indices, true_xy_px=true, names=True, scale=enlargement(pixels.shape))


def face_mesh(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """[468, 2] marks of the largest face in pixels.

    Raises:
        ConfigError: there is no face.
    """
    from mediapipe.python.solutions.face_mesh import FaceMesh  # type: ignore[import-untyped]

    with FaceMesh(static_image_mode=True, max_num_faces=1) as mesh:
        faces: Any = getattr(mesh.process(pixels), "multi_face_landmarks", None)
    if not faces:
        raise ConfigError("MediaPipe finds no face in the photograph; name another one")
    height, width = pixels.shape[:2]
    return np.array([(mark.x * width, mark.y * height) for mark in faces[0].landmark])


def photographs(paths: Sequence[Path]) -> dict[str, NDArray[np.uint8]]:
    """[H, W, 3] RGB by name: the files, or the astronaut where none is named."""
    if paths:
        return {path.stem: read_photograph(path.read_bytes(), path.name).pixels for path in paths}
    from skimage.data import astronaut

    return {"astronaut": astronaut()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures a model on photographs."""
    import training

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a model of the head")
    parser.add_argument("--photo", type=Path, action="append", default=[], metavar="FILE")
    parser.add_argument("--out", type=Path, default=Path("build/photographs"), metavar="DIR")
    parser.add_argument("--crop", choices=("auto", "face", "none"), default="auto")
    options = parser.parse_args(arguments)
    model = training.load_model(options.run, device="cpu", crop=options.crop)
    parts: list[str] = []
    for name, pixels in photographs(options.photo).items():
        found, mesh_px = model.predict(pixels), face_mesh(pixels)
        seen = found.framing.text if found.framing else "the whole picture"
        parts.append(
            f"{name}, {pixels.shape[1]} x {pixels.shape[0]}; seen: {seen}\n\n{summary(compare(found, mesh_px))}"
        )
        write_result(options.out / f"{name}.jpg", encode(drawn(pixels, found, mesh_px), ".jpg"))
    text = "\n".join(parts)
    write_result(options.out / "photographs.md", text.encode())
    print(text)


if __name__ == "__main__":
    main()
