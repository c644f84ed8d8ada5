"""How well depth that is fitted to labels is that of the head, beside the inflated silhouette.

    python -m experiments.depth_from_labels --out DIR [--persons 12] [--seed 7100] [--real LABELS] [--workers N]

Synthetic persons whose depth is known. Their heads are drawn from the same two mean heads that the fit starts from,
which flatters it; so each person is fitted from the mean head of the other gender, too, as if nobody like it had shaped
the prior. Images are JPEG, and the head is found in them as in a user's. Figures are over the views of FRAMES:

    normals    mean angle to the true normals, degrees
    depth      median distance to the true depth, mm; the silhouette's is shifted to fit the head best
    relit      mean difference of the relit image from that with the true depth, levels of 255, same scene and seed

LABELS: a folder of label files of AcuSim's M_Asher_N_HD, for left-out acupoints. He shaped the male mean head; the
female one never saw him. Intervals (95 %) are over persons. Writes DIR/depth_from_labels.md and .jpg.
"""

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from acusim import acupoints, rig
from acusim.errors import AcuSimError
from acusim.foreground import find_foreground
from acusim.labels import read_label
from acusim.markdown import table
from acusim.parallel import Died, Work, run
from acusim.pictures import FITTED, encode, encode_depth
from acusim.results import write_result
from acusim.sample_id import SampleId
from acusim.statistics import summarise
from engines.base import Request
from engines.recipe import Recipe
from engines.relight.engine import RelightEngine
from engines.relight.geometry import Surface, normals_from_depth, surface_of
from engines.scenes import load_scenes, pick_scene
from synthetic.fit.person_fit import PersonFit
from synthetic.fit.shape import LabelledView, fit_head
from synthetic.head import HAIR, PLAIN_SKIN, SHIRT, SKIN, Head, build_head
from synthetic.identity import identity
from synthetic.labelling import make_label
from synthetic.lights import studio_light
from synthetic.rays import camera_rays, origins
from synthetic.render import render

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

FRAMES = (1, 4, 7, 34, 31, 42, 109)
SIZE = 512
WAYS = ("labels of 45 views", "labels of 7 views", "labels of 1 view", "other gender's head, 45 views")
SILHOUETTE = "inflated silhouette"
PARTS: dict[str, tuple[int, ...]] = {
    "skin": (SKIN, PLAIN_SKIN),
    "the head's": (SKIN,),
    "ears, neck, shoulders": (PLAIN_SKIN,),
    "hair": (HAIR,),
    "clothes": (SHIRT,),
}
"""Materials of what figures are about. Most acupoints are on the head itself; few hold ears, neck and shoulders."""
_FOLDS = 5


@dataclass(frozen=True)
class Row:
    """One view and one way to its depth."""

    person: str
    way: str
    normals_deg: dict[str, float]
    """Part -> mean angle."""
    depth_mm: dict[str, float]
    """Part -> median distance."""
    relit: float
    """Levels, over the skin."""


@dataclass(frozen=True)
class Picture:
    """One view as a user has it, and the truth."""

    frame: int
    pixels: NDArray[np.uint8]
    mask: Mask
    true: Floats
    parts: dict[str, Mask]


@dataclass
class Figures:
    """What one person gave."""

    rows: list[Row] = field(default_factory=list)
    strip: NDArray[np.uint8] | None = None
    """[SIZE, 4 * SIZE, 3] a picture and the normals: true, fitted, of the silhouette."""


def picture_of(head: Head, seed: int, frame: int) -> Picture:
    """A JPEG of a view, the head found in it, and its true depth by parts."""
    camera = rig.camera(frame)
    view = render(head, studio_light(), camera, size=SIZE, quality="draft", seed=seed)
    out = io.BytesIO()
    Image.fromarray(view.rgb).save(out, "JPEG", quality=90)
    pixels = np.array(Image.open(out))
    rays = camera_rays(camera, SIZE)
    hit = head.scene.first_hit(origins(camera, len(rays)), rays)["primID"].reshape(SIZE, SIZE)
    material = np.where(hit >= 0, head.material[hit], 255)
    mask = find_foreground(pixels, None).mask
    inside = mask & (hit >= 0)
    parts = {name: np.isin(material, kinds) & inside for name, kinds in PARTS.items()}
    return Picture(frame, pixels, mask, view.depth_mm.astype(np.float32), parts)


def fitted(head: Head, frames: Sequence[int], gender: str, pictures: Sequence[Picture]) -> PersonFit:
    """The head fitted to the labels of some frames, its hair to some pictures."""
    views = [_view(head, frame) for frame in frames]
    return PersonFit.of(gender, views, [(rig.camera(one.frame), one.mask) for one in pictures if one.frame in frames])


def _view(head: Head, frame: int) -> LabelledView:
    return LabelledView(str(frame), make_label(head, frame), rig.camera(frame))


def person(seed: int, index: int) -> Figures:
    """All ways on one person."""
    cv2.setNumThreads(1)
    head = build_head(identity(seed, index), seed)
    pictures = [picture_of(head, seed, frame) for frame in FRAMES]
    own, other = head.who.gender, "FM"["MF".index(head.who.gender)]
    choices = ((rig.KEPT_FRAMES, own), (FRAMES, own), ((4,), own), (rig.KEPT_FRAMES, other))
    out = Figures()
    for way, (frames, gender) in zip(WAYS, choices, strict=True):
        fit = fitted(head, frames, gender, pictures)
        for picture in pictures:
            if len(frames) > 1 or picture.frame in frames:
                view = _view(head, picture.frame)
                depth = fit.depth_in(view, picture.pixels, picture.mask, fit.head_in(view.camera, SIZE))
                out.rows.append(_row(head, way, picture, encode_depth(depth, FITTED), out))
    out.rows += [_row(head, SILHOUETTE, picture, None, out) for picture in pictures]
    return out


def _row(head: Head, way: str, picture: Picture, depth: bytes | None, out: Figures) -> Row:
    surface = surface_of(picture.pixels, depth)
    normals = normals_from_depth(picture.true, picture.true > 0)
    cosine = (normals * surface.normals).sum(-1)
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    z = surface.depth_mm
    if depth is None:
        both = picture.mask & (picture.true > 0)
        z = z + np.median((picture.true - z)[both])
    parts = {name: part for name, part in picture.parts.items() if part.sum() > 300}
    if picture.frame == 4 and way in (WAYS[0], SILHOUETTE):
        panels = [picture.pixels, *([_coloured(normals)] if way == WAYS[0] else []), _coloured(surface.normals)]
        out.strip = np.hstack(panels if out.strip is None else [out.strip, panels[-1]])
    return Row(
        person=str(head.who.index),
        way=way,
        normals_deg={name: float(angle[part].mean()) for name, part in parts.items()},
        depth_mm={name: float(np.median(np.abs(z - picture.true)[part])) for name, part in parts.items()},
        relit=_relit_difference(head, picture, depth, surface),
    )


@cache
def _engine() -> RelightEngine:
    engine = RelightEngine(Recipe(engine="relight", background="black"))
    engine.open()
    return engine


def _relit_difference(head: Head, picture: Picture, depth: bytes | None, surface: Surface) -> float:
    """Levels between the image relit by a depth and by the true one, over skin that both find."""
    skin = picture.parts["skin"] & surface.mask
    # The true depth is marked as fitted, so that both have the mask and the rim that the picture shows.
    known = np.where(picture.mask, np.where(picture.true > 0, picture.true, picture.true.max()), 0)
    images: list[NDArray[np.int16]] = []
    for data in (depth, encode_depth(known.astype(np.uint16), FITTED)):
        [answer] = _engine().augment([_request(head, picture, data)])
        if isinstance(answer, AcuSimError):
            raise answer
        images.append(answer.pixels.astype(np.int16))
    return float(np.abs(images[0] - images[1])[skin].mean())


def _request(head: Head, picture: Picture, depth: bytes | None) -> Request:
    seed = 1000 * head.who.index + picture.frame
    return Request(
        sample=head.who.sample_id(picture.frame),
        source=Path("image.jpg"),
        pixels=picture.pixels,
        source_data=b"",
        source_sha256="",
        depth=None,
        depth_data=depth,
        scene=pick_scene(load_scenes()[0], seed),
        bald=True,  # hair keeps its colour, which depth alone decides nothing of
        prompt_set="",
        positive="",
        negative="",
        seed=seed,
    )


def _coloured(normals: Floats) -> NDArray[np.uint8]:
    return ((normals * np.array([1, 1, -1], np.float32) + 1) * 127.5).clip(0, 255).astype(np.uint8)


def real_lines(folder: Path) -> Iterator[tuple[str, ...]]:
    """Left-out acupoints of real labels: rows of fit, and distances to the published positions."""
    views = [
        LabelledView(path.stem, read_label(path), rig.camera(SampleId.parse(path.stem).frame))
        for path in sorted(folder.glob("*.json"))
    ]
    published = acupoints.positions_mm("asher")
    seen = np.array([view.label.listed for view in views]).any(0) & ~acupoints.INNER
    for name, gender, chosen in (
        ("female mean head, 144 views", "F", views),
        ("female mean head, 45 kept views", "F", [view for view in views if view.camera.frame in rig.KEPT_FRAMES]),
        ("male mean head, which this person shaped", "M", views),
    ):
        whole = fit_head(gender, chosen)
        apart, unfitted = [], []
        where = np.flatnonzero(seen)
        for fold in range(_FOLDS):
            out = where[fold::_FOLDS]
            head = fit_head(gender, chosen, without=tuple(int(index) for index in out))
            apart.append(np.linalg.norm(head.acupoints_mm[out] - published[out], axis=1))
            unfitted.append(np.linalg.norm(head.mean_acupoints_mm[out] - published[out], axis=1))
        left, before = np.concatenate(apart), np.concatenate(unfitted)
        yield (
            name,
            f"{whole.residual_px:.2f}",
            f"{np.median(left):.2f}, {np.percentile(left, 95):.2f}",
            f"{np.median(before):.2f}, {np.percentile(before, 95):.2f}",
        )


def report(rows: Sequence[Row]) -> str:
    """The table of all ways."""
    lines = []
    for way in (*WAYS, SILHOUETTE):
        own = [row for row in rows if row.way == way]
        cells = [way]
        for part in PARTS:
            some = [row for row in own if part in row.normals_deg]
            people = [row.person for row in some]
            for values in ([row.normals_deg[part] for row in some], [row.depth_mm[part] for row in some]):
                cells.append(summarise(values, people).mean.text(1) if some else "-")
        cells.append(summarise([row.relit for row in own], [row.person for row in own]).mean.text(1))
        lines.append(cells)
    header = ["depth from", *(f"{part}: {what}" for part in PARTS for what in ("normals °", "depth mm")), "relit"]
    return table(header, lines)


def main(argv: list[str] | None = None) -> int:
    """Runs the experiment; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--persons", type=int, default=12)
    parser.add_argument("--seed", type=int, default=7100)
    parser.add_argument("--real", type=Path, help="a folder of label files of M_Asher_N_HD")
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args(argv)
    rows: list[Row] = []
    strips: dict[int, NDArray[np.uint8]] = {}
    for done, (index, found) in enumerate(run(_task, [(args.seed, k) for k in range(args.persons)], args.workers)):
        if isinstance(found, Died):
            raise SystemExit(str(found))
        rows += found.rows
        if found.strip is not None:
            strips[index[1]] = found.strip
        print(f"{done + 1} of {args.persons} persons", file=sys.stderr)
    text = report(rows)
    if args.real:
        header = (
            "labels of M_Asher_N_HD fitted by",
            "residual px of 512",
            "left out, mm: median, p95",
            "mean head, mm",
        )
        text += "\n" + table(header, real_lines(args.real))
    write_result(args.out / "depth_from_labels.md", text.encode())
    sheet = np.vstack([strips[index][::2, ::2] for index in sorted(strips)[:4]])
    write_result(args.out / "depth_from_labels.jpg", encode(sheet, ".jpg"))
    print(text)
    return 0


def _task(task: tuple[int, int], work: Work) -> Figures:
    return person(*task)


if __name__ == "__main__":
    raise SystemExit(main())
