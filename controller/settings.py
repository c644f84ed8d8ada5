"""What a user asks a batch for, and whether OUT may be gone on with under these settings."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import acusim
from acusim.errors import ConfigError, LayoutError, OutputError
from controller.gate import GateSettings
from controller.ledger import DONE, LEDGER_FILE, STATE_FOLDER, Ledger
from controller.plan import Plan
from controller.traces import gone, holds_more, keep_state, made_here
from engines.base import WORKFLOW_FILE, Setup
from engines.options import OPTIONS, Device, Precision, Transport
from engines.recipe import Recipe
from engines.scenes import Scene, scenes_digest

_PLAIN = ("batch_size", "transport", "device", "precision", "gpus", "compile", "low_memory")
"""Of the engine's setup, as they are in the ledger."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user asks for."""

    dataset: Path
    output: Path
    recipe: Recipe
    scenes: Path | None = None
    """Folder of scene pictures; None takes the shipped ones."""
    variants: int = 1
    select: str | None = None
    limit: int | None = None
    seed: int = 0
    prompts: Path | None = None
    bald_codes: str = "auto"
    size: int | None = None
    workers: int = 1
    servers: tuple[str, ...] = ()
    """Addresses of ComfyUI servers; none takes the engine's default."""
    server_header_file: Path | None = None
    """Headers for a login in front of them; neither they nor where they lie is kept in OUT."""
    workflow: Path | None = None
    """A ComfyUI workflow of the user's own."""
    batch_size: int | None = None
    transport: Transport = "auto"
    models: Path | None = None
    """Folder of model files; None takes the published ones."""
    device: Device = "auto"
    precision: Precision = "auto"
    gpus: int = 1
    compile: bool = False
    low_memory: bool = False
    gate: GateSettings | None = None
    """Judge every picture before it is written; None writes whatever is sound."""
    repair: bool = False
    """Make again what is damaged, and finish whatever OUT was ever asked for; select and limit do not count."""

    @property
    def setup(self) -> Setup:
        """What the engine has to know of all this beside the recipe."""
        known: dict[str, Any] = {name: getattr(self, name) for name in type(self).__dataclass_fields__} | {
            "server": self.servers
        }
        kind = OPTIONS[self.recipe.engine]
        options = kind(**{name: known[name] for name in kind.model_fields if name in known})
        return Setup(self.dataset, self.output, options)

    def stored(self) -> dict[str, Any]:
        """What the ledger keeps, so that --repair and --reproduce need no further arguments."""
        return {
            "dataset": str(self.dataset.resolve()),
            "recipe": self.recipe.as_dict(),
            "scenes": str(self.scenes.resolve()) if self.scenes else None,
            "variants": self.variants,
            "select": self.select,
            "limit": self.limit,
            "seed": self.seed,
            "prompts": str(self.prompts.resolve()) if self.prompts else None,
            "bald_codes": self.bald_codes,
            "size": self.size,
            "servers": list(self.servers),
            "workflow": str(self.workflow.resolve()) if self.workflow else None,
            "models": str(self.models.resolve()) if self.models else None,
            "gate": self.gate.as_dict() if self.gate else None,
            **{name: getattr(self, name) for name in _PLAIN},
        }

    @classmethod
    def from_stored(cls, stored: dict[str, Any], output: Path, workers: int) -> "Settings":
        """The settings of the last run on ``output``.

        Raises:
            ConfigError: they cannot be read.
        """
        try:
            return cls._from_stored(stored, output, workers)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"the settings in the ledger of {str(output)!r} cannot be read: {error!r}") from None

    @classmethod
    def _from_stored(cls, stored: dict[str, Any], output: Path, workers: int) -> "Settings":
        paths = {name: Path(stored[name]) if stored[name] else None for name in ("scenes", "prompts")}
        names = ("variants", "select", "limit", "seed", "bald_codes", "size")
        rest: dict[str, Any] = {name: stored[name] for name in names}
        # Not in what earlier versions stored.
        rest |= {name: stored[name] for name in _PLAIN if name in stored}
        rest["gate"] = GateSettings.from_dict(stored["gate"]) if stored.get("gate") else None
        rest["servers"] = tuple(stored.get("servers", ()))
        rest["models"] = Path(stored["models"]) if stored.get("models") else None
        workflow = Path(stored["workflow"]) if stored.get("workflow") else None
        if workflow is not None and not workflow.is_file():
            workflow = output / WORKFLOW_FILE  # OUT keeps a copy
        recipe = Recipe.from_dict(stored["recipe"])
        return cls(
            dataset=Path(stored["dataset"]),
            output=output,
            recipe=recipe,
            workers=workers,
            workflow=workflow,
            **paths,
            **rest,
        )


def check_places(dataset: Path, output: Path, repair: bool = False) -> None:
    """Refuses an output folder that would mix with the dataset, or with files of somebody else.

    Args:
        dataset: root of the data set.
        output: OUT.
        repair: OUT may be one whose ledger is gone.

    Raises:
        ConfigError: says which, and what to do.
        DamagedLedger: OUT was made by a batch, but its ledger is gone.
    """
    try:
        source, target = dataset.resolve(), output.resolve()
        exists, is_folder = output.exists(), output.is_dir()
        others = bool(is_folder) and holds_more(output)
    except LayoutError as error:
        raise ConfigError(f"--output: {error}") from None
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links
        raise ConfigError(f"--dataset or --output is not a usable path: {error}") from None
    if source == target or source in target.parents or target in source.parents:
        raise ConfigError(f"--output {str(output)!r} and --dataset {str(dataset)!r} lie in one another; part them")
    if exists and not is_folder:
        raise ConfigError(f"--output {str(output)!r} is not a folder")
    ledger = output / STATE_FOLDER / LEDGER_FILE
    if others and not (ledger.is_file() and ledger.stat().st_size):
        if not made_here(output):
            raise ConfigError(
                f"--output {str(output)!r} holds files but no ledger of this program; name a new or an empty folder"
            )
        if not repair:
            raise gone(output)


def state_folder(output: Path) -> Path:
    """The folder of ledger and lock, made if it is missing.

    Raises:
        OutputError: it cannot be made.
        ConfigError: it is a link.
    """
    state = output / STATE_FOLDER
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"output folder {str(output)!r} cannot be written: {error.strerror}") from None
    if state.is_symlink():
        raise ConfigError(f"{str(state)!r} is a symbolic link; it must be a folder of this OUT")
    return state


def identity_of(settings: Settings, plan: Plan, scenes: Iterable[Scene], engine: dict[str, str]) -> dict[str, Any]:
    """Everything that decides a pixel or a path; ``engine`` is what the engine adds to it."""
    return {
        **{f"recipe.{name}": value for name, value in settings.recipe.as_dict().items()},
        "program version": acusim.__version__,
        "seed": settings.seed,
        "scenes": scenes_digest(tuple(scenes)),
        "prompts": plan.prompts.digest,
        "several variants": settings.variants > 1,
        "gate": settings.gate.as_dict() if settings.gate else None,
        **engine,
    }


def refuse_other(
    begun: dict[str, Any], known: dict[str, bool], settings: Settings, plan: Plan, identity: dict[str, Any]
) -> None:
    """Refuses settings that are not those OUT was begun with.

    Args:
        begun: the identity of OUT.
        known: the bald codes of OUT. Others may join; for these, the verdict must be the same.
        settings: what is asked for.
        plan: its plan.
        identity: its identity.

    Raises:
        ConfigError: names what differs.
    """
    changes = [
        (name, begun.get(name), value)
        for name, value in identity.items()
        if _comparable(name, begun.get(name)) != _comparable(name, value)
    ]
    changes += [
        (f"bald codes, {entry.code}", known[entry.code], entry.bald)
        for entry in plan.evidence
        if known.get(entry.code, entry.bald) != entry.bald
    ]
    if changes:
        told = "; ".join(f"{name}: {_short(old)} -> {_short(new)}" for name, old, new in changes)
        raise ConfigError(
            f"{str(settings.output)!r} was begun with other settings ({told}); use those, or another --output"
        )


def known_identity(ledger: Ledger, identity: dict[str, Any]) -> dict[str, Any] | None:
    """What OUT was begun with, None where that does not count: nothing was made, so a setting may be corrected."""
    begun = ledger.get_meta("identity")
    return begun if begun == identity or ledger.counts()[DONE] else None


def check_identity(ledger: Ledger, settings: Settings, plan: Plan, identity: dict[str, Any]) -> None:
    """Makes sure that OUT was begun with these settings, then stores them.

    Raises:
        ConfigError: names what differs.
        OutputError: they cannot be stored.
    """
    begun, codes = known_identity(ledger, identity), ledger.get_meta("bald codes") or {}
    if begun is not None:
        refuse_other(begun, codes, settings, plan, identity)
    else:
        ledger.forget(ledger.states())
        codes = {}
    codes |= {entry.code: entry.bald for entry in plan.evidence}
    stored = {"identity": identity, "bald codes": codes, "settings": settings.stored()}
    for name, value in stored.items():
        ledger.set_meta(name, value)
    ledger.commit()
    keep_state(settings.output, stored)


def _comparable(name: str, value: Any) -> Any:
    """A part of the identity; a model's name is the same with either path separator."""
    return value.replace("\\", "/") if name.startswith("recipe.") and isinstance(value, str) else value


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
