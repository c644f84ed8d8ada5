"""Experiments with detectors of heads: configurations x seeds, each measured on several test sets.

    python -m experiments.detector [section …] --data DIR --out DIR [--seeds 5] [--steps 2000] [--jobs N] [--set S.N=V]

networks          heatmaps, acuSimNet tuned (each with its own augmentation and the other's), and as in the paper
ablation          the recommended recipe, less one part at a time
learning_curve    10, 22, 100 and 500 persons
augmentation      originals, + colour, + cheap light, + relit pictures, + all, with heatmaps
augmentation2     the same with acuSimNet tuned
distillation      a small student, with a teacher and without
focus             equal budgets of relit pictures: evenly, and where a model is weak (docs/results/augmentation.md)

DIR/train/NAME and DIR/test/NAME are data sets of different persons (names: experiments/detector_sections.py, which also
holds the rows); tests whose folders do not exist are left out. Such as

    python -m synthetic --out DIR/train/rig --identities 500 --size 256 --seed 6001
    python -m synthetic --out DIR/train/around --identities 500 --size 256 --seed 6101 --cameras around
    python -m controller --batch --engine relight --dataset DIR/train/rig --output DIR/train/relit_rig
    python -m synthetic --out DIR/test/wild --identities 40 --size 256 --seed 7001 --light wild

Finished runs are skipped, an interrupted one continues (experiments/detector_runs.py). Several such commands may share
one --out. Brackets hold 95 % intervals over test persons x seeds; the differences are to the first row, person by
person, with independent seeds, and all figures of a test are of the persons that are new to every row. Errors are over
points that are visible. Prints Markdown and writes OUT/<section>.md.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from acusim.errors import AcuSimError
from acusim.files import write_atomic
from acusim.markdown import table
from acusim.seed_statistics import difference_over_seeds, figures_over_seeds
from acusim.statistics import Figure, Figures
from experiments.detector_runs import Floats, Plan, baselines, run, run_all, shared_persons, stacked
from experiments.detector_sections import SECTIONS, Section
from experiments.sections import run_sections
from training.eval.metrics import RATE_BOUNDS, RATES, rates
from training.eval.summary import BY_NAME, figures_of

FIGURES = tuple(name for name in ("micro", "fpr", "fnr", "mean_mm", "within_5_mm", "occluded_mean_mm") if name in RATES)
"""Columns; figures that are not measured yet are left out."""
COMPARED = ("micro", "mean_mm")
"""Figures whose difference to the first row is given."""


def figure_text(figure: Figure, name: str, signed: bool = False) -> str:
    """A figure with its interval in its unit; a dash where there is none."""
    definition = BY_NAME[name]
    return figure.text(definition.digits, definition.factor, sign="+" if signed else "")


def _cells(figures: Figures, names: Sequence[str], signed: bool = False) -> list[str]:
    return [figure_text(figures[list(RATES).index(name)], name, signed) for name in names]


def cells(sums: Floats) -> list[str]:
    """The figures of sums [R, P, T]."""
    return _cells(figures_over_seeds(sums, rates, RATE_BOUNDS), FIGURES)


def difference_cells(sums: Floats, reference: Floats) -> list[str]:
    """The compared figures of sums [R, P, T] less those of the reference."""
    return _cells(difference_over_seeds(sums, reference, rates), COMPARED, signed=True)


def heading(reference: str) -> list[str]:
    """Titles of a table's columns."""
    titles = [f"{BY_NAME[name].title}, {BY_NAME[name].unit}" for name in FIGURES]
    return ["", *titles, *(f"{BY_NAME[name].title} − {reference}" for name in COMPARED)]


def section_text(plan: Plan, section: Section, seeds: int) -> str:
    """The tables of a section, one for each test, in Markdown; trains what is missing."""
    reference = section.rows[0]
    results = {row.name: [run(plan, row, seed) for seed in range(seeds)] for row in section.rows}
    trivial = baselines(plan, reference)
    parts = [f"## {section.title}\n\n{seeds} seeds, {plan.steps} steps each; {' '.join(plan.settings)}\n"]
    for title in plan.tests:
        persons = shared_persons((*trivial.values(), *(one for runs in results.values() for one in runs)), title)
        sums = {name: stacked(runs, title, persons) for name, runs in results.items()}
        base = sums[reference.name]
        rows: list[list[str]] = []
        for name, entry in trivial.items():
            values = stacked([entry], title, persons)
            own = figures_of(name, dict(zip(FIGURES, cells(values), strict=True)))
            apart = figures_of(name, dict(zip(COMPARED, difference_cells(values, base), strict=True)))
            rows.append(
                [f"*{name}*", *(own.get(key, "–") for key in FIGURES), *(apart.get(key, "–") for key in COMPARED)]
            )
        for name, values in sums.items():
            apart = [""] * len(COMPARED) if name == reference.name else difference_cells(values, base)
            rows.append([name, *cells(values), *apart])
        parts.append(f"### {title}: {len(persons)} persons\n\n{table(heading(reference.name), rows)}")
    return "\n".join(parts)


def main() -> None:
    """Runs the sections."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="folder with train/NAME and test/NAME")
    add("--out", type=Path, required=True, metavar="DIR", help="folder of runs and tables")
    add("--seeds", type=int, default=5, help="training runs of each row (default 5)")
    add("--steps", type=int, default=2000, help="optimiser steps of each run, at least (default 2000)")
    add("--set", action="append", default=[], metavar="S.N=V", help="a setting of all rows, such as data.size=128")
    add("--device", default="auto")
    add("--workers", type=int, default=2, help="processes that decode pictures (default 2)")
    add("--jobs", type=int, default=1, help="trainings at the same time; a GPU has room for several (default 1)")
    add("--no-weights", action="store_true", help="remove the weights of finished runs: tests added later need them")

    def run_section(name: str, options: argparse.Namespace) -> None:
        plan = Plan(
            *(options.data, options.out, options.steps, tuple(options.set), options.device, options.workers),
            keep_checkpoints=not options.no_weights,
        )
        try:
            names = options.sections or list(SECTIONS)
            if options.jobs > 1 and name == names[0]:
                rows = [row for section in names for row in SECTIONS[section].rows]
                run_all(plan, rows, options.seeds, options.jobs)
            text = section_text(plan, SECTIONS[name], options.seeds)
        except AcuSimError as error:
            raise SystemExit(f"error: {error}") from None
        write_atomic(plan.out / f"{name}.md", text.encode())
        print(text)

    run_sections(parser, {name: lambda options, name=name: run_section(name, options) for name in SECTIONS})


if __name__ == "__main__":
    main()
