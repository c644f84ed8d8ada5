"""How many acupoints that moved the certificate still trusts, and how many that did not: a table of attacks.

    python -m experiments.attacks --original A --augmented B --out DIR [--select CONDITIONS] [--limit N] [--workers N]

A is a data set, B its augmented images in which nothing moved (engine relight). Each move of evaluation/attacks.py
(eyes, mouth, ears, hairline, the head shifted, tilted, scaled, turned, covered, another person) is finished by every
carrier (alone, with the original's finest detail, cross-faded with the original, with one grain in both, cross-faded
and its contrast restored), and harmless edits stand beside them. For each cell: images accepted, and the acupoints
moved by more than the tolerance that are trusted in them; then, what single changes of the originals cost; last, what a
stricter or a looser trust would give. Persons are what the intervals are over; none of those given should have set a
threshold.

    DIR/attacks.md      the tables
    DIR/attacks.json    their figures
    DIR/attacks.jpg     one image under every attack
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from acusim.errors import AcuSimError
from acusim.markdown import table
from acusim.options import add_options
from acusim.parallel import Work
from acusim.pictures import encode
from acusim.results import write_result
from acusim.seeds import generator_of
from acusim.statistics import cluster_sums, rate_of_sums
from evaluation.attacks import CARRIERS, HARMLESS, MOVES, RESTORED, Attack, attacks, harmless
from evaluation.certificate import Judge
from evaluation.edits import Pixels, blurred, gamma, tinted
from evaluation.settings import PairSettings
from evaluation.subjects import Subject, Task, load
from evaluation.thresholds import Thresholds
from experiments.pairs import measured, run_on_pairs

CONTRASTS = (0.0, 0.7, 0.8, 0.85, 0.9, 0.92, 0.95)
"""What is tried as ``least_contrast``: trust and safety are one scale."""
EVERY = (*CARRIERS, *RESTORED)
CURVE = {
    "detail": ("detail 1", "detail 1.5", "detail 2"),
    "grain": ("grain 3", "grain 5"),
    "20-50 % original": ("20 % original", "30 % original", "50 % original"),
    "70-80 % original": ("70 % original", "80 % original"),
    "50 % restored": ("50 % restored",),
    "70-80 % restored": ("70 % restored", "80 % restored"),
}
"""Columns of the curve: how the images were finished."""


CHANGES: Mapping[str, Callable[[Pixels], Pixels]] = {
    "nothing": lambda pixels: pixels.copy(),
    **{f"light × {factor:g}": partial(tinted, factors=(factor,) * 3) for factor in (0.7, 0.5, 0.4, 0.3, 0.2)},
    **{f"gamma {exponent:g}": partial(gamma, exponent=exponent) for exponent in (1.6, 1.25, 0.8, 0.7, 0.6)},
    **{f"blur {sigma:g} px": partial(blurred, sigma=sigma) for sigma in (1.5, 1.75, 2, 2.5)},
}
"""Single changes of the original that move nothing; what may take contrast away."""
_CHANGED = "one change"


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one image."""

    person: str
    move: str
    carrier: str
    accepted: bool
    visible: int
    trusted: int
    far: int
    """Points that moved by more than the tolerance."""
    wrong: int
    """Of these, trusted in an accepted image."""
    curve: tuple[tuple[int, int], ...]
    """Trusted and wrong by each of CONTRASTS as ``least_contrast``."""


def attacked(task: Task, work: Work) -> list[Row] | str:
    """All attacks on one pair, or why there are none."""
    settings, judge = work.state
    try:
        subject = load(settings, task)
    except AcuSimError as error:
        return str(error)[:500]
    return [_judged(subject, attack, judge) for attack in _all(subject)] if len(subject.points) else []


def _all(subject: Subject) -> Iterator[Attack]:
    random = generator_of(f"attacks\n{subject.pair.id}")
    yield from harmless(subject, random)
    yield from attacks(subject, random, EVERY)
    still = np.zeros(len(subject.points))
    for name, change in CHANGES.items():
        yield Attack(_CHANGED, name, subject.original, change(subject.original), still)


def _judged(subject: Subject, attack: Attack, judge: Judge) -> Row:
    reference = subject.reference(attack.original)
    evidence = judge.measure(reference, attack.pixels)
    with np.errstate(invalid="ignore"):
        far = attack.moved_px[reference.rows] * reference.mm_per_px > judge.thresholds.tolerance_mm

    def counted(limits: Thresholds) -> tuple[bool, int, int]:
        """Whether the image is accepted, and its acupoints that are trusted then, and wrongly so."""
        certificate = Judge(limits).decide(reference, evidence)
        trusted = certificate.trusted[reference.rows]
        return certificate.valid, int(trusted.sum()), int((far & trusted).sum())

    accepted, trusted, wrong = counted(judge.thresholds)
    return Row(
        person=subject.pair.id.person,
        move=attack.move,
        carrier=attack.carrier,
        accepted=accepted,
        visible=len(far),
        trusted=trusted,
        far=int(far.sum()),
        wrong=wrong,
        curve=tuple(counted(judge.thresholds.changed(least_contrast=value))[1:] for value in CONTRASTS),
    )


def _share(rows: Sequence[Row], of: str, among: str | None = None) -> str:
    """A share in % with its interval over persons; of the images where ``among`` is None."""
    values = np.array([(float(getattr(row, of)), float(getattr(row, among)) if among else 1.0) for row in rows])
    if not values.size or not values[:, 1].any():
        return "–"
    return rate_of_sums(cluster_sums(values, [row.person for row in rows])).text(1, 100)


def markdown(rows: Sequence[Row], tolerance_mm: float) -> str:
    """The tables."""
    still = [row for row in rows if row.move == "nothing"]
    changed = [row for row in rows if row.move == _CHANGED]
    moved = [row for row in rows if row.move not in ("nothing", _CHANGED)]
    wrong, far = sum(row.wrong for row in moved), sum(row.far for row in moved)
    persons = len({row.person for row in rows})
    lines = [
        f"{len(still)} images in which nothing moved and {len(moved)} attacks, {persons} persons. Of {far} acupoints "
        f"that moved by more than {tolerance_mm:g} mm, {wrong} are trusted in an accepted image. Brackets hold 95 % "
        "intervals over persons.\n",
        "### Nothing moved\n",
        _unmoved("edit", still, HARMLESS),
        f"### Moved by more than {tolerance_mm:g} mm and trusted, of all that moved so far\n",
        table(
            ("finished", "images", "accepted, %", "wrong, %", *MOVES),
            (
                (carrier, len(chosen), _share(chosen, "accepted"), _share(chosen, "wrong", "far"), *_cells(chosen))
                for carrier in EVERY
                if (chosen := [row for row in moved if row.carrier == carrier])
            ),
        ),
    ]
    lines += ["### One change of the original\n", _unmoved("change", changed, CHANGES)]
    return "\n".join(
        [*lines, "### By `least_contrast`: acupoints trusted, and wrong of those moved\n", _curve(still, moved)]
    )


def _unmoved(head: str, rows: Sequence[Row], names: Iterable[str]) -> str:
    """Images in which nothing moved, by what was done to them."""
    return table(
        (head, "images", "accepted, %", "acupoints trusted, %"),
        (
            (name, len(chosen), _share(chosen, "accepted"), _share(chosen, "trusted", "visible"))
            for name in names
            if (chosen := [row for row in rows if row.carrier == name])
        ),
    )


def _curve(still: Sequence[Row], moved: Sequence[Row]) -> str:
    """What each value of ``least_contrast`` would give."""
    edits = [name for name in HARMLESS if any(row.carrier == name for row in still)]

    def cells(index: int) -> Iterator[str]:
        for name in edits:
            chosen = [row for row in still if row.carrier == name]
            yield f"{100 * sum(row.curve[index][0] for row in chosen) / max(1, sum(row.visible for row in chosen)):.0f}"
        for carriers in CURVE.values():
            chosen = [row for row in moved if row.carrier in carriers]
            yield f"{sum(row.curve[index][1] for row in chosen)} / {sum(row.far for row in chosen)}"

    head = ("`least_contrast`", *(f"{name}, %" for name in edits), *CURVE)
    return table(head, ((f"{value:g}", *cells(index)) for index, value in enumerate(CONTRASTS)))


def _cells(rows: Sequence[Row]) -> list[str]:
    """Wrong of far for each move."""
    out: list[str] = []
    for move in MOVES:
        chosen = [row for row in rows if row.move == move]
        out.append(f"{sum(row.wrong for row in chosen)} / {sum(row.far for row in chosen)}")
    return out


def sheet(subject: Subject, tile: int = 160) -> NDArray[np.uint8]:
    """One image under every attack and harmless edit, [H, W, 3]: harmless ones first, then a row for each move."""
    every = list(_all(subject))
    edits = [attack for attack in every if attack.move == "nothing"]
    lines = [edits, *([a for a in every if a.move == move] for move in MOVES)]
    width = max(len(line) for line in lines) * tile
    out: list[NDArray[np.uint8]] = []
    for line in filter(None, lines):
        strip = np.full((tile, width, 3), 255, np.uint8)
        for number, attack in enumerate(line):
            small = np.asarray(cv2.resize(attack.pixels, (tile, tile), interpolation=cv2.INTER_AREA), np.uint8)
            cv2.rectangle(small, (0, 0), (tile, 13), (255, 255, 255), -1)
            text = attack.carrier if attack.move == "nothing" else f"{attack.move}, {attack.carrier}"
            cv2.putText(small, text, (2, 10), cv2.FONT_HERSHEY_SIMPLEX, 0.3, (20, 20, 20), 1, cv2.LINE_AA)
            strip[:, number * tile : (number + 1) * tile] = small
        out.append(strip)
    return np.concatenate(out)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the attacks and writes the tables; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, PairSettings)
    parser.add_argument("--thresholds", type=Path, metavar="F.toml", help="other thresholds than the shipped ones")
    options = parser.parse_args(arguments)
    return run_on_pairs("attacks", options, _run, options.thresholds)


def _run(settings: PairSettings) -> int:
    nothing = "no pair could be attacked: each needs a label with visible acupoints"
    found, code = measured("attacks", settings, attacked, nothing)
    rows = [row for each in found.values() for row in each]
    text = markdown(rows, settings.thresholds.tolerance_mm)
    write_result(settings.out / "attacks.md", text.encode())
    write_result(settings.out / "attacks.json", json.dumps([dataclasses.asdict(row) for row in rows]).encode())
    write_result(settings.out / "attacks.jpg", encode(sheet(load(settings, next(iter(found)))), ".jpg"))
    print(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
