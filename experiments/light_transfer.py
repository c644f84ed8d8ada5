"""What light transfer leaves of features that a diffusion model moved, and how much of its light arrives.

    python -m experiments.light_transfer --original A --augmented B --out DIR [--select CONDITIONS] [--limit N]

A is a data set, B its augmented images in which nothing moved (engine relight). Pretended diffusion: an image of B in
which something moved (evaluation/attacks.py), its skin repainted (bilateral filter and noise). The light of that is put
on the original, by Gaussians of several scales and by a guided filter of OpenCV, and for each

    light      mean error of the head's logarithm against B, of the original's: 0 all of the new light, 1 nothing of it
    ghosts     standard deviation, in %, of what the move changes below 8 pixels: what is seen of moved features
    accepted   images that the certificate accepts; trusted: acupoints, in all images
    px         displacement of the trusted acupoints, median and 95th percentile

Intervals (95 %) are over persons. Writes DIR/light_transfer.md and light_transfer.jpg.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from acusim.errors import AcuSimError
from acusim.float_images import Floats, from_levels, to_levels
from acusim.light_transfer import DARK, SCALE, transferred_light
from acusim.markdown import table
from acusim.options import add_options
from acusim.parallel import Work
from acusim.pictures import encode
from acusim.results import write_result
from acusim.seeds import generator_of
from acusim.statistics import cluster_sums, quantiles_by_groups, rate_of_sums, summarise
from evaluation.attacks import attacks
from evaluation.certificate import Judge
from evaluation.reference import Reference
from evaluation.settings import PairSettings
from evaluation.subjects import Subject, Task, load
from experiments.pairs import measured, run_on_pairs

MOVES = ("eyes", "mouth", "hairline", "shift", "turn", "stranger")
SIGMAS = (8, 12, 16, 24, 36)
"""Pixels at 512."""
GUIDED = (24, 0.1)
"""Radius and epsilon of the guided filter."""


def guided(image: Floats, original: Floats, mask: Floats) -> Floats:
    """Light transfer with a guided filter (He et al., 2013) in place of the Gaussian; the guide is the original."""
    log, guide = (np.log(picture + np.float32(DARK)) for picture in (image, original))
    solid = (mask >= 1).astype(np.float32)
    smooth = cv2.ximgproc.createGuidedFilter(np.ascontiguousarray(guide.mean(2)), *GUIDED)
    weight = np.maximum(np.asarray(smooth.filter(solid)), 1e-3)[..., None]
    light = np.asarray(smooth.filter((log - guide) * solid[..., None])) / weight
    return np.where(mask[..., None] > 0, np.clip(np.exp(guide + light) - DARK, 0, 1), image).astype(np.float32)


def _itself(image: Floats, original: Floats, mask: Floats) -> Floats:
    return image


METHODS: dict[str, Callable[[Floats, Floats, Floats], Floats]] = {
    "none: the image itself": _itself,
    **{
        f"Gaussian, {sigma} px{', as shipped' * (sigma == 512 * SCALE)}": partial(transferred_light, scale=sigma / 512)
        for sigma in SIGMAS
    },
    f"guided filter, {GUIDED[0]} px, {GUIDED[1]:g}": guided,
}


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one image by one method."""

    person: str
    method: str
    light: float
    ghosts: float
    accepted: bool
    visible: int
    displaced_px: tuple[float, ...]
    """Of the trusted acupoints."""


def repainted(pixels: NDArray[np.uint8], random: np.random.Generator) -> Floats:
    """Other skin: edges stay, fine texture goes, noise comes."""
    smooth = cv2.bilateralFilter(pixels, 9, 40, 9).astype(np.float32)
    return from_levels(np.clip(np.rint(smooth + random.normal(0, 4, smooth.shape)), 0, 255).astype(np.uint8))


def images(subject: Subject) -> Iterator[tuple[str, Floats, Floats]]:
    """Moves, with the pretended diffusion and what it would be had nothing moved."""
    random = generator_of(f"light transfer\n{subject.pair.id}")
    for attack in attacks(subject, random, ("alone",), moves=MOVES, base=subject.augmented):
        yield attack.move, repainted(attack.pixels, random), repainted(subject.augmented, random)


def transferred(task: Task, work: Work) -> list[Row] | str:
    """All moves and methods on one pair, or why there are none."""
    settings, judge = work.state
    try:
        subject = load(settings, task)
        reference = subject.reference()
        rows = (_rows(subject, reference, judge, *made) for made in images(subject))
        return [row for made in rows for row in made] if len(subject.points) else []
    except AcuSimError as error:
        return str(error)[:500]


def _rows(
    subject: Subject, reference: Reference, judge: Judge, move: str, moved: Floats, still: Floats
) -> Iterator[Row]:
    original, mask = from_levels(subject.original), subject.mask.astype(np.float32)
    inside = cv2.erode(subject.mask.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    wanted, before = (_log(from_levels(pixels)) for pixels in (subject.augmented, subject.original))
    for name, method in METHODS.items():
        found, unmoved = (method(image, original, mask) for image in (moved, still))
        apart = _log(found) - _log(unmoved)
        fine = apart - cv2.GaussianBlur(apart, (0, 0), 8)
        certificate = judge.compare(reference, to_levels(found))
        trusted = certificate.trusted[reference.rows]
        lengths = np.linalg.norm(certificate.displacement_px[reference.rows][trusted], axis=1)
        yield Row(
            person=subject.pair.id.person,
            method=name,
            light=float(np.abs(_log(unmoved) - wanted)[inside].mean() / np.abs(before - wanted)[inside].mean()),
            ghosts=100 * float(fine[inside].std()),
            accepted=certificate.valid,
            visible=len(trusted),
            displaced_px=tuple(lengths.tolist()),
        )


def _log(image: Floats) -> Floats:
    return np.log(image + np.float32(DARK)).mean(2)


def markdown(rows: Sequence[Row]) -> str:
    """The table."""
    persons, count = {row.person for row in rows}, sum(row.method == next(iter(METHODS)) for row in rows)
    head = ("light by", "light", "ghosts, %", "accepted, %", "trusted, %", "px, median", "px, p95")
    lines = [[name, *_figures([row for row in rows if row.method == name])] for name in METHODS]
    return f"{count} images with something moved, {len(persons)} persons; 95 % intervals.\n\n" + table(head, lines)


def _figures(rows: Sequence[Row]) -> list[str]:
    people = [row.person for row in rows]
    means = [summarise([getattr(row, name) for row in rows], people).mean for name in ("light", "ghosts")]
    rates = [
        rate_of_sums(cluster_sums(np.array(counts, np.float64), people))
        for counts in (
            [(row.accepted, 1) for row in rows],
            [(len(row.displaced_px), row.visible) for row in rows],
        )
    ]
    lengths = np.array([one for row in rows for one in row.displaced_px])
    owners = [row.person for row in rows for _ in row.displaced_px]
    return [
        *(figure.text(2) for figure in means),
        *(figure.text(1, 100) for figure in rates),
        *(figure.text(2) for figure in quantiles_by_groups(lengths, owners, [0.5, 0.95])),
    ]


def sheet(subject: Subject, tile: int = 240) -> NDArray[np.uint8]:
    """[H, W, 3] a line for each move: the original, the pretended diffusion, and what each method makes of both."""
    original, mask = from_levels(subject.original), subject.mask.astype(np.float32)
    lines: list[NDArray[np.uint8]] = []
    for move, moved, _ in images(subject):
        made = [(name, method(moved, original, mask)) for name, method in METHODS.items()]
        tiles: list[Any] = []
        for title, image in [("original", original), (f"{move}: pretended diffusion", moved), *made[1:]]:
            small = to_levels(np.asarray(cv2.resize(image, (tile, tile), interpolation=cv2.INTER_AREA), np.float32))
            cv2.putText(small, title, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 0), 1, cv2.LINE_AA)
            tiles.append(small)
        lines.append(np.concatenate(tiles, axis=1))
    return np.concatenate(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and writes table and picture; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, PairSettings)
    return run_on_pairs("light_transfer", parser.parse_args(arguments), _run)


def _run(settings: PairSettings) -> int:
    nothing = "nothing could be moved in any pair: each needs a label with visible acupoints"
    found, code = measured("light_transfer", settings, transferred, nothing)
    text = markdown([row for each in found.values() for row in each])
    write_result(settings.out / "light_transfer.md", text.encode())
    write_result(settings.out / "light_transfer.jpg", encode(sheet(load(settings, next(iter(found)))), ".jpg"))
    print(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
