"""How often 95 % intervals hold the truth, in simulated studies of few persons.

    python -m experiments.interval_coverage [one | two | quantiles …] [--persons 12] [--seeds 5] [--studies 4000]

one         figures over persons and paired differences (acusim.statistics), beside the percentile bootstrap
two         figures over persons x training runs (acusim.seed_statistics); and how often two sets of seeds of one
            configuration "differ", that is how often the interval of their difference excludes 0
quantiles   medians and 95th percentiles over persons; of 400 studies at most, which are slow

Each row is one shape of data: how persons, training runs and their numbers of pictures vary. Prints Markdown.
"""

import argparse
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acusim.intervals import ANY, POSITIVE, RATE, Bounds
from acusim.markdown import table
from acusim.seed_statistics import difference_over_seeds, figures_over_seeds
from acusim.statistics import difference_of_quantiles, difference_of_sums, figures_of_sums, quantiles_by_groups
from experiments.sections import run_sections

Floats = NDArray[np.float64]
_SEED = 20260101
_DRAWS = 1000
_MOST_QUANTILE_STUDIES = 400
_VALUES = 100
"""Values of a person in studies of quantiles."""


class Study(NamedTuple):
    """Many simulated studies of one shape."""

    name: str
    sums: Floats
    """[P, N, 2] or [R, P, N, 2] of N studies."""
    truth: float
    bounds: Bounds = ANY
    other: Floats | None = None
    """Sums of a second model of the same persons; the truth then is that of the difference."""


def ratio(sums: Floats) -> Floats:
    """[..., 2] to [...]."""
    return sums[..., 0] / sums[..., 1]


def _sums(values: ArrayLike, pictures: Floats) -> Floats:
    return np.stack(np.broadcast_arrays(np.asarray(values, np.float64) * pictures, pictures), axis=-1)


def studies_of_persons(persons: int, count: int, seed: int = _SEED) -> Iterator[Study]:
    """Studies of one model, or of two models and the same persons."""
    random = np.random.default_rng(seed)
    shape = (persons, count)
    alike, many = np.ones(shape), np.ceil(20 * np.exp(random.normal(0, 0.7, shape)))
    normal = random.normal(4, 1, shape)
    yield Study("normal", _sums(normal, alike), 4)
    yield Study("normal, unequal pictures", _sums(normal, many), 4)
    for sigma in (0.4, 0.7, 1.0):
        skewed, mean = np.exp(random.normal(0, sigma, shape)), float(np.exp(sigma**2 / 2))
        yield Study(f"log-normal {sigma}", _sums(skewed, alike), mean, POSITIVE)
        yield Study(f"log-normal {sigma}, unequal pictures", _sums(skewed, many), mean, POSITIVE)
    for mean, spread in ((0.985, 100), (0.985, 40), (0.05, 30), (0.5, 5)):
        rates = random.beta(mean * spread, (1 - mean) * spread, shape)
        pictures = 50.0 * many
        right = random.binomial(pictures.astype(int), rates).astype(np.float64)
        yield Study(f"rate {mean}, beta {spread}, unequal pictures", np.stack([right, pictures], axis=-1), mean, RATE)
    for sigma in (0.3, 0.5, 0.8):
        own = np.exp(random.normal(0, sigma, shape))
        first, second = (own * np.exp(random.normal(shift, 0.2, shape)) for shift in (0, 0.2))
        truth = np.exp(sigma**2 / 2 + 0.02) * (1 - np.exp(0.2))
        for name, pictures in (("", alike), (", unequal pictures", many)):
            sides = _sums(first, pictures), _sums(second, pictures)
            yield Study(f"difference, log-normal {sigma}{name}", sides[0], float(truth), other=sides[1])
    for name, mean in (("0.985", 0.985), ("0.9", 0.9)):
        logit = np.log(mean / (1 - mean)) + random.normal(0, 0.5, shape)
        sides = [_sums(1 / (1 + np.exp(-logit - random.normal(0, 0.2, shape))), many) for _ in range(2)]
        yield Study(f"difference of equal rates {name}, unequal pictures", sides[0], 0.0, other=sides[1])


def studies_of_seeds(
    persons: int, seeds: int, count: int, seed: int = _SEED
) -> Iterator[tuple[Study, NDArray[np.float64]]]:
    """Studies over persons x training runs, and a second set of runs of the same configuration for each."""
    random = np.random.default_rng(seed)
    for of_person, of_seed, of_both, skewed, unequal in (
        (1.0, 0.3, 0.3, False, False),
        (1.0, 0.3, 0.3, False, True),
        (1.0, 0.0, 0.3, False, False),
        (1.0, 1.0, 0.3, False, False),
        (0.1, 0.3, 0.3, False, False),
        (1.0, 0.1, 1.0, False, False),
        (0.4, 0.1, 0.2, True, False),
        (0.4, 0.3, 0.2, True, True),
        (0.7, 0.2, 0.3, True, False),
    ):
        own = random.normal(0, of_person, (1, persons, count))
        pictures = np.exp(random.normal(0, 0.7, (1, persons, count))) if unequal else np.ones((1, persons, count))
        sides = []
        for _ in range(2):
            runs = random.normal(0, of_seed, (seeds, 1, count)) + random.normal(0, of_both, (seeds, persons, count))
            sides.append(_sums(np.exp(own + runs) if skewed else own + runs, pictures))
        total = of_person**2 + of_seed**2 + of_both**2
        kind = "log-normal" if skewed else "normal"
        name = f"{kind}: persons {of_person}, seeds {of_seed}, both {of_both}{', unequal pictures' * unequal}"
        truth = float(np.exp(total / 2)) if skewed else 0.0
        yield Study(name, sides[0], truth, POSITIVE if skewed else ANY), sides[1]


def percentile_bootstrap(sums: Floats, other: Floats | None) -> tuple[Floats, Floats]:
    """Ends of the intervals that this project used to give; arguments as of Study."""
    random = np.random.default_rng(_SEED)
    drawn = random.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=_DRAWS).astype(float)
    sides = [ratio(np.einsum("dp,pns->dns", drawn, side)) for side in (sums, other) if side is not None]
    low, high = np.quantile(sides[0] - sides[1] if other is not None else sides[0], (0.025, 0.975), axis=0)
    return low, high


def coverage(low: Floats, high: Floats, truth: float) -> list[str]:
    """Columns: how often the interval holds the truth, is above it, is below it, in %; its median width."""
    above, below = low > truth, high < truth
    shares = [100 * float(np.mean(part)) for part in (~(above | below), above, below)]
    return [*(f"{share:.1f}" for share in shares), f"{float(np.median(high - low)):.3g}"]


def one_way(options: argparse.Namespace) -> None:
    """Prints the table of figures over persons."""
    rows = []
    for study in studies_of_persons(options.persons, options.studies):
        if study.other is None:
            got = figures_of_sums(study.sums, ratio, study.bounds)
        else:
            got = difference_of_sums(study.sums, study.other, ratio)
        bootstrap = coverage(*percentile_bootstrap(study.sums, study.other), study.truth)
        rows.append([study.name, *coverage(got.low, got.high, study.truth), bootstrap[0], bootstrap[-1]])
    print(f"### Figures over {options.persons} persons, {options.studies} studies\n")
    print(table(["data", *_HEAD, "percentile bootstrap: holds, %", "width"], rows))


def two_way(options: argparse.Namespace) -> None:
    """Prints the table of figures over persons x training runs."""
    rows = []
    for study, again in studies_of_seeds(options.persons, options.seeds, options.studies):
        got = figures_over_seeds(study.sums, ratio, study.bounds)
        apart = difference_over_seeds(study.sums, again, ratio)
        over_persons = difference_of_sums(study.sums.mean(0), again.mean(0), ratio)
        differ = [f"{100 * float(np.mean((one.low > 0) | (one.high < 0))):.1f}" for one in (apart, over_persons)]
        rows.append([study.name, *coverage(got.low, got.high, study.truth), *differ])
    print(f"### Figures over {options.persons} persons x {options.seeds} seeds, {options.studies} studies\n")
    print(table(["data", *_HEAD, '"differ" from other seeds, %', "if only persons counted, %"], rows))


def quantiles(options: argparse.Namespace) -> None:
    """Prints the table of quantiles."""
    random, rows = np.random.default_rng(_SEED), []
    count = min(options.studies, _MOST_QUANTILE_STUDIES)
    groups = np.repeat(np.arange(options.persons), _VALUES)
    for sigma in (0.2, 0.5):
        many = np.exp(random.normal(0, sigma, 2_000_000)) * random.gamma(2, 1, 2_000_000)
        truths = np.quantile(many, (0.5, 0.95))
        own = np.exp(random.normal(0, sigma, (count, options.persons)))[:, groups]
        values, others = (own * random.gamma(2, 1, own.shape) for _ in range(2))
        found = [quantiles_by_groups(row, groups, (0.5, 0.95)) for row in values]
        for k, name in enumerate(("median", "95th percentile")):
            low, high = (np.array([getattr(row[k], end) for row in found]) for end in ("low", "high"))
            rows.append([f"{name}, log-normal {sigma}", *coverage(low, high, truths[k])])
            names = [str(group) for group in groups]
            level = (0.5, 0.95)[k]
            apart = [difference_of_quantiles(a, names, b, names, level) for a, b in zip(values, others, strict=True)]
            low, high = (np.array([getattr(one, end) for one in apart]) for end in ("low", "high"))
            rows.append([f"difference of equal {name}s, log-normal {sigma}", *coverage(low, high, 0.0)])
    print(f"### Quantiles over {options.persons} persons of {_VALUES} values, {count} studies\n")
    print(table(["data", *_HEAD], rows))


_HEAD = ("holds the truth, %", "above it, %", "below it, %", "median width")


def main() -> None:
    """Runs the sections."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--persons", type=int, default=12, help="of a study (default 12)")
    add("--seeds", type=int, default=5, help="training runs of a configuration (default 5)")
    add("--studies", type=int, default=4000, help="simulated studies of each shape (default 4000)")
    run_sections(parser, {"one": one_way, "two": two_way, "quantiles": quantiles})


if __name__ == "__main__":
    main()
