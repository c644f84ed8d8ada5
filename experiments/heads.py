r"""The seeds' experiments on synthetic heads, at a size that a small machine can do: data, runs, tables.

    python -m experiments.heads --out DIR [--parts ablations light recipes table2] [--seeds 2] [--epochs 25] [--jobs 2]

ablations   acuSimNet, its ablations and the acuSim baseline: same data, same steps, several seeds. Each changes one
            setting of BASE.
light       trained on original images, on relit ones, on both, in equally many steps; tested on unseen persons under
            the original light and under ``--light wild``, which is unseen too.
recipes     epochs to 90 % and 99 % of visibility: the paper's recipe and others.
table2      the rows of the paper's Table 2 by its own names; only if asked for.

``--data ROOT`` takes any data set in AcuSim's layout, in its kept views, such as AcuSim itself, instead of creating
heads; light is then left out, as it needs a second light. Nearer to the paper's scale, for a GPU (was not run):

    python -m experiments.heads --data ACUSIM --out DIR --parts table2 --size 512 --backbone densenet201 --trunk three \
        --epochs 150 --lr 5e-5

It runs the public commands, all of which resume. Models are those of the last epoch: nothing is chosen by results.
Intervals are from drawing test persons; the seeds of a configuration are averaged within each person. Prints Markdown
and writes it to DIR/tables.md.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from acusim.files import write_atomic
from acusim.markdown import table
from acusim.processes import one_thread_each
from acusim.rig import parse_frames
from acusim.statistics import Figure
from experiments.heads_configurations import ABLATIONS, BASE, LIGHTS, RECIPES, TABLE2
from training.data.records import HeadData, Targets, load
from training.data.split import SplitSettings, apply
from training.eval.baselines import BASELINES, COORDINATE_BASELINES, fit_baselines
from training.eval.predictions import Predictions
from training.eval.score import compare, score
from training.runs import read_persons

ROOT = Path(__file__).resolve().parents[1]
VIEWS = "1,3,5,7,9,11,31,33,35,37,40,43,109,112,141"
FIGURES = {
    "micro": ("visibility", 100, 2, "%"),
    "fpr": ("FPR", 100, 2, "%"),
    "fnr": ("FNR", 100, 2, "%"),
    "mean_mm": ("error", 1, 2, "mm"),
    "within_5_mm": ("within 5 mm", 100, 1, "%"),
}
"""Figures of the tables: title, factor, digits, unit."""


@dataclass(frozen=True)
class Plan:
    """Sizes of everything."""

    out: Path
    identities: int
    size: int
    epochs: int
    seeds: int
    backbone: str
    trunk: str
    lr: float
    workers: int
    jobs: int
    data: Path | None = None
    """Root of a data set in AcuSim's layout, in place of synthetic heads."""

    def root(self, name: str) -> Path:
        """The data set of a name: studio is the one that is trained on."""
        return self.data if self.data is not None and name == "studio" else self.out / name

    @property
    def frames(self) -> str:
        """Views that are trained and tested on."""
        return VIEWS if self.data is None else "kept"

    @property
    def settings(self) -> tuple[str, ...]:
        """What all runs have in common."""
        return (
            *(f"model.backbone={self.backbone}", f"model.trunk={self.trunk}"),
            *(f"data.size={self.size}", f"data.frames={self.frames}", "data.val=0.15", "data.test=0.3"),
            "train.keep=1",
        )

    def scaled_decay(self, epochs: int) -> tuple[str, ...]:
        """The paper's decay between epochs 25 and 125 of 150, in a run of other length."""
        return f"loss.decay_start={epochs / 6:g}", f"loss.decay_end={epochs / 1.2:g}"

    def short(self, epochs: int, seed: int) -> tuple[str, ...]:
        """The schedule of ablations and light: too few steps for the paper's learning rate."""
        return (
            *(f"train.epochs={epochs}", f"train.lr={self.lr:g}", "train.schedule=cosine", "train.warmup_epochs=1"),
            *(f"train.seed={seed}", *self.scaled_decay(epochs)),
        )


def call(*words: object) -> None:
    """Runs one of the project's commands."""
    line = [sys.executable, *map(str, words)]
    print("$ python " + " ".join(line[1:]), file=sys.stderr, flush=True)
    done = subprocess.run(line, cwd=ROOT)
    if done.returncode:
        sys.exit(f"that ended with exit code {done.returncode}; the same command resumes")


def make_data(plan: Plan) -> None:
    """Heads in the original light and in wild light, and the former relit in two variants; none where data is given."""
    if plan.data is not None:
        return
    for name, light in (("studio", "studio"), ("wild", "wild")):
        # Twice as large as the network sees them: the area filter smooths edges.
        call("-m", "synthetic", "--out", plan.out / name, "--identities", plan.identities, "--views", VIEWS,
             "--size", 2 * plan.size, "--seed", 6, "--light", light, "--workers", plan.workers, "--quiet")  # fmt: skip
    call("controller/controller.py", "--batch", "--engine", "relight", "--dataset", plan.out / "studio", "--output",
         plan.out / "relit", "--variants", 2, "--workers", plan.workers, "--quiet")  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One training run."""

    name: str
    config: str
    roots: tuple[str, ...]
    settings: tuple[str, ...]


def train(plan: Plan, jobs: Sequence[Job]) -> list[Path]:
    """Runs trainings, several at once with one thread each; returns their folders."""

    def one(job: Job) -> Path:
        run = plan.out / "runs" / job.name
        sets = [word for setting in (*plan.settings, *job.settings) for word in ("--set", setting)]
        data = [word for root in job.roots for word in ("--data", plan.root(root))]
        call("-m", "training", "train", "--config", job.config, *data, "--out", run, "--cache", plan.out / "cache",
             "--workers", plan.workers, "--quiet", *sets)  # fmt: skip
        return run

    if plan.jobs == 1:
        return [one(job) for job in jobs]
    with one_thread_each(), ThreadPoolExecutor(plan.jobs) as pool:
        return list(pool.map(one, jobs))


def predictions(plan: Plan, run: Path, root: str) -> Predictions:
    """What the run's last epoch predicts for the test persons' pictures of a root."""
    report = plan.out / "reports" / run.name / root
    stored = report / "predictions.safetensors"
    if not stored.is_file():
        call("-m", "training", "evaluate", run, "--checkpoint", "last", "--data", plan.root(root), "--out", report,
             "--predictions", stored, "--cache", plan.out / "cache", "--workers", plan.workers, "--quiet")  # fmt: skip
    return Predictions.load(stored)


class Test:
    """The test persons' pictures of a root, and the baselines."""

    def __init__(self, plan: Plan, run: Path, root: str):
        self.root, self.size = root, plan.size
        data: HeadData = load(
            [plan.root(root)], size=plan.size, cache_dir=plan.out / "cache", frames=parse_frames(plan.frames)
        )
        persons = read_persons(run)
        everything = SplitSettings(train_pictures="all", val_pictures="all", test_pictures="all")
        parts = apply(data.records, persons, everything)
        index = parts.indices["test"]
        self.targets: Targets = data.targets.take(index)
        self.persons = [data.records[number].person for number in index]
        baselines = fit_baselines(data.targets.take(parts.indices["train"]))
        self.baselines = baselines.predict(self.targets.frame)

    def repeated(self, times: int) -> tuple[Targets, list[str]]:
        """Targets and persons for the predictions of several seeds, one after the other."""
        index = np.tile(np.arange(len(self.targets)), times)
        return self.targets.take(index), [self.persons[number] for number in index]

    def row(self, results: Sequence[Predictions]) -> dict[str, Figure]:
        """Figures of the models of several seeds."""
        targets, persons = self.repeated(len(results))
        return score(joined(results), targets, persons, self.size)["figures"]

    def difference(self, results: Sequence[Predictions], other: Sequence[Predictions]) -> dict[str, Figure]:
        """Figures of the first models less those of the others, person by person."""
        targets, persons = self.repeated(len(results))
        return compare(joined(results), joined(other), targets, persons, self.size)


def joined(results: Sequence[Predictions]) -> Predictions:
    """Predictions of several seeds as one."""
    return Predictions(
        np.concatenate([one.probability for one in results]), np.concatenate([one.xy for one in results])
    )


def figure_text(figure: Figure, name: str, signed: bool = False) -> str:
    """A figure with its interval."""
    _, factor, digits, _ = FIGURES[name]
    sign = "+" if signed else ""
    value, low, high = (factor * number for number in (figure.value, figure.low, figure.high))
    if np.isnan(value):
        return "–"
    return f"{value:{sign}.{digits}f} ({low:{sign}.{digits}f} … {high:{sign}.{digits}f})"


def heading() -> list[str]:
    """Titles of the figures' columns."""
    return [f"{title}, {unit}" for title, _, _, unit in FIGURES.values()]


def cells(figures: dict[str, Figure]) -> list[str]:
    """The figures' columns."""
    return [figure_text(figures[name], name) for name in FIGURES]


def baseline_rows(test: Test) -> list[list[str]]:
    """The baselines' rows; the first has no coordinates."""
    rows = [[f"*{name}*", *cells(test.row([test.baselines[name]]))] for name in BASELINES]
    place = [number for number, name in enumerate(FIGURES, 1) if name in ("mean_mm", "within_5_mm")]
    for row, name in zip(rows, BASELINES, strict=True):
        if name not in COORDINATE_BASELINES:
            for number in place:
                row[number] = "–"
    return rows


def ablation_jobs(plan: Plan, config: str) -> list[Job]:
    """A configuration's runs."""
    return [Job(f"{config}-{seed}", config, ("studio",), plan.short(plan.epochs, seed)) for seed in range(plan.seeds)]


def ablations(plan: Plan) -> str:
    """acuSimNet against its ablations and the baseline."""
    return configurations(plan, "Ablations", {config: config for config in ABLATIONS})


def table2(plan: Plan) -> str:
    """The rows of the paper's Table 2."""
    return configurations(plan, "Table 2 of the paper", TABLE2)


def configurations(plan: Plan, title: str, configs: dict[str, str]) -> str:
    """A table of configurations by their names; each is compared with the first."""
    runs = train(plan, [job for config in configs.values() for job in ablation_jobs(plan, config)])
    folders = {name: runs[k * plan.seeds : (k + 1) * plan.seeds] for k, name in enumerate(configs)}
    test = Test(plan, runs[0], "studio")
    return f"### {title}\n\n{counts(test, plan)}\n\n" + compared(plan, test, folders, "studio", next(iter(configs)))


def light(plan: Plan) -> str:
    """Trained on the original, on augmented images, on both."""
    jobs = ablation_jobs(plan, BASE)
    for name, (pictures, times) in list(LIGHTS.items())[1:]:
        for seed in range(plan.seeds):
            settings = (f"data.train_pictures={pictures}", f"data.val_pictures={pictures}")
            schedule = plan.short(max(1, round(plan.epochs / times)), seed)
            jobs.append(Job(f"{name}-{seed}", BASE, ("studio", "relit"), (*schedule, *settings)))
    runs = train(plan, jobs)
    folders = {name: runs[k * plan.seeds : (k + 1) * plan.seeds] for k, name in enumerate(LIGHTS)}
    parts = []
    for root, title in (("studio", "the original light"), ("wild", "wild light, which no training saw")):
        test = Test(plan, runs[0], root)
        rows = compared(plan, test, folders, root, "originals")
        parts.append(f"### Trained on originals, relit pictures, both: {title}\n\n{counts(test, plan)}\n\n{rows}")
    return "\n".join(parts)


def compared(plan: Plan, test: Test, folders: dict[str, list[Path]], root: str, base: str) -> str:
    """Markdown: the baselines, then each model, with its difference to one of them."""
    predicted = {name: [predictions(plan, run, root) for run in runs] for name, runs in folders.items()}
    rows = [[*row, "", ""] for row in baseline_rows(test)]
    for name, models in predicted.items():
        against = test.difference(models, predicted[base])
        apart = [figure_text(against[key], key, True) if name != base else "" for key in ("micro", "mean_mm")]
        rows.append([name, *cells(test.row(models)), *apart])
    return table(["", *heading(), f"visibility − {base}", f"error − {base}"], rows)


def recipes(plan: Plan) -> str:
    """Epochs to accuracies on the validation persons."""
    from training.checkpoint import find, load_state
    from training.history import History

    rows = []
    jobs = [
        Job(
            f"recipe-{number}",
            "acusimnet",
            ("studio",),
            (f"train.epochs={epochs}", *plan.scaled_decay(epochs), *settings),
        )
        for number, (epochs, settings) in enumerate(RECIPES.values())
    ]
    for name, run in zip(RECIPES, train(plan, jobs), strict=True):
        history = History(load_state(find(run, "last"))["history"])
        best = max(history.rows, key=lambda row: row["micro"])
        nearest = min(history.rows, key=lambda row: row["error_px"])
        reached = [str(epoch or "never") for epoch in history.reached().values()]
        floor = f"{100 * best['floor_majority']:.2f}"
        seen = f"{100 * best['micro']:.2f} ({best['epoch']})"
        rows.append([name, str(len(history.rows)), *reached, seen, floor, f"{nearest['error_px']:.2f}"])
    head = [
        "recipe",
        "epochs",
        "to 90 %",
        "to 95 %",
        "to 99 %",
        "best, % (epoch)",
        "majority floor, %",
        "least error, px",
    ]
    return "### Recipes: epochs to micro visibility of the validation persons\n\n" + table(head, rows)


def counts(test: Test, plan: Plan) -> str:
    """What a table is over."""
    return (
        f"{len(test.targets)} test pictures of {len(set(test.persons))} persons, {plan.seeds} seeds each; "
        f"{plan.backbone} at {plan.size}², trunk {plan.trunk}, {plan.epochs} epochs of the originals or as many steps."
    )


USUAL = {"ablations": ablations, "light": light, "recipes": recipes}
"""What is run without --parts."""
PARTS = {**USUAL, "table2": table2}


def main() -> None:
    """Creates data, runs and tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="folder of everything")
    add("--data", type=Path, metavar="ROOT", help="data set in AcuSim's layout (default: synthetic heads, created)")
    add("--parts", nargs="+", choices=PARTS, help="which experiments (default all but table2; with --data, not light)")
    add("--identities", type=int, default=40, help="synthetic persons (default 40)")
    add("--size", type=int, default=64, help="side of the images in pixels (default 64)")
    add("--epochs", type=int, default=25, help="of ablations and light, in images of the original (default 25)")
    add("--seeds", type=int, default=2, help="runs of each configuration (default 2)")
    add("--backbone", default="resnet18", help="default resnet18")
    add("--trunk", default="single", help="three or single (default single)")
    add("--lr", type=float, default=1e-3, help="learning rate of ablations and light (default 1e-3)")
    add("--workers", type=int, default=2, help="processes that make data (default 2)")
    add("--jobs", type=int, default=1, help="trainings at once, with one thread each if there are several (default 1)")
    options = vars(parser.parse_args())
    asked, given = options.pop("parts"), options["data"] is not None
    chosen = asked or [name for name in USUAL if not given or name != "light"]
    if given and "light" in chosen:
        parser.error("light needs pictures in a second light: leave --data out, or leave light out of --parts")
    for name in ("out", "data"):  # commands run in the repository's folder
        options[name] = options[name] and options[name].resolve()
    plan = Plan(**options)
    plan.out.mkdir(parents=True, exist_ok=True)
    make_data(plan)
    text = "\n".join(PARTS[part](plan) for part in chosen)
    write_atomic(plan.out / "tables.md", text.encode())
    print(text)


if __name__ == "__main__":
    main()
