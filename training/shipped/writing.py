"""Turns a run into a model to ship: smaller weights, and a card that says what it is."""

from dataclasses import dataclass
from pathlib import Path

from acusim.errors import ConfigError, OutputError
from acusim.files import sha256
from training import shipped
from training.runs import Run
from training.settings import TaskName
from training.shipped.files import packed, write_folder

NOTICE = """This is research software. It is not a medical device: its points can be wrong, also where it is confident,
and nothing that it returns is medical advice."""


@dataclass(frozen=True, slots=True)
class Shipped:
    """What was written."""

    folder: Path
    bytes: int
    """Of the weights' file."""
    sha256: str
    """Of the weights' file."""


def ship(run: Run, card: str, folder: Path | None = None, name: TaskName | None = None) -> Shipped:
    """Writes the network of a run as a model to ship; the same run and card give the same bytes.

    Args:
        run: an open run; its best checkpoint is meant, see open_run.
        card: Markdown on the data, the recipe, the figures and the limits of the model; the notice that it is not a
            medical device and the facts of the run are added.
        folder: where the files go; None for the model of that name in the package.
        name: of the model; None for the kind of the run.

    Raises:
        ConfigError: a model of the other kind, an empty card, a number that is not finite as fp16, or more than 8 MB.
        OutputError: the folder cannot be written.
    """
    name = name or run.kind
    if name != run.kind:
        raise ConfigError(f"the run {str(run.path)!r} is of the {run.kind}; it cannot be shipped as {name!r}")
    if not card.strip():
        raise ConfigError("the card is empty; state the data, the recipe, the figures and the limits of the model")
    folder = folder or shipped.shipped_folder(name)
    facts = {"epoch": run.epoch, "digest": run.digest, "source_sha256": run.sha256, "persons": run.persons}
    weights = packed(run.network.state_dict(), facts)
    points = run.points.as_json() if run.kind == "hand" else None
    template = run.template.to_bytes() if run.kind == "head" and run.template else None
    try:
        write_folder(folder, run.config.to_toml(), weights, _card(run, name, card, weights), points, template)
    except OSError as error:
        raise OutputError(f"{str(folder)!r} cannot be written: {error.strerror}; name another --out") from None
    return Shipped(folder, len(weights), sha256(weights))


def _card(run: Run, name: TaskName, text: str, weights: bytes) -> str:
    counts = ", ".join(
        f"{sum(part == other for other in run.persons.values())} {word}"
        for part, word in (("train", "for training"), ("val", "for validation"), ("test", "for tests"))
    )
    numbers = sum(parameter.numel() for parameter in run.network.parameters())
    facts = [
        ("configuration", f"`{run.config.name}`, the whole of it in `config.toml`"),
        ("parameters", f"{numbers:,}"),
        ("input", f"{run.config.data.size} x {run.config.data.size} pixels, RGB"),
        ("persons", counts),
        ("epoch", str(run.epoch)),
        ("weights", f"{len(weights):,} bytes, SHA-256 `{sha256(weights)}`"),
        ("checkpoint", f"SHA-256 `{run.sha256}`"),
    ]
    table = "\n".join(f"| {what} | {value} |" for what, value in facts)
    return f"# Acupoint model `{name}`\n\n{NOTICE}\n\n| | |\n|---|---|\n{table}\n\n{text.strip()}\n"
