"""The command line: its options derive from the settings' models; what was given becomes settings."""

import argparse
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import acusim
from acusim.command_line import Parser, add_verbosity
from acusim.errors import ConfigError
from acusim.options import add_options, flag_of, given_options
from acusim.settings import Settings, extra_of
from controller.gate_settings import GateSettings
from controller.settings import DATA, HOW, BatchSettings
from engines.options import OPTIONS
from engines.recipe import ENGINES, EngineName, Recipe

SHIPPED_GATE = ""
"""--gate without a file."""
OK, SKIPPED, NO_ENGINE, INTERRUPTED = 0, 2, 3, 130
ACTIONS = {
    "batch": "create every image that is not in OUT yet",
    "dry_run": "show the plan and the evidence for it; write nothing",
    "check": "check that the engine has all it needs; create nothing",
    "status": "what is done, planned and skipped in OUT",
    "verify": "compare every file in OUT with the hash in its ledger",
    "repair": "verify, rebuild a lost ledger, regenerate what is damaged",
    "reproduce": "regenerate one image and compare the bytes",
    "merge": "copy into OUT what is done in another OUT of the same settings; may be given several times",
}
"""What the command can do, each a command of its own, with its help."""

_TAKING: dict[str, dict[str, Any]] = {
    "reproduce": {"type": Path, "metavar": "IMAGE"},
    "merge": {"type": Path, "metavar": "OUT2", "action": "append"},
}
"""How those that take something are added."""

_EPILOG = """\
exit codes:
  0    done
  1    usage or configuration is wrong, or the output folder cannot be written
  2    finished, but items were skipped (or --verify / --reproduce found a difference)
  3    the engine is not available (or --check found something missing)
  130  interrupted; run the same command again to resume

examples:
  %(prog)s --batch --dataset ACUSIM --output OUT --engine relight
  %(prog)s --batch --dataset ACUSIM --output OUT --engine relight --variants 3 \\
      --select 'gender=F,frame=1-36' --scenes MY_SCENES --set light_strength=0.6
  %(prog)s --check --dataset ACUSIM --output OUT --server http://127.0.0.1:8188
  %(prog)s --batch --dataset ACUSIM --output OUT --server http://127.0.0.1:8188
  %(prog)s --batch --dataset ACUSIM --output OUT --engine embedded --gpus 2
  %(prog)s --batch --dataset ACUSIM --output OUT --gate
  %(prog)s --status --output OUT
  %(prog)s --reproduce OUT/train/image/img_512/F_Brisen_F_HA_C_0141.png
"""


def build_parser() -> argparse.ArgumentParser:
    """All arguments."""
    parser = Parser(
        "controller",
        description="Relights an AcuSim dataset without moving a single acupoint; OUT is a dataset of the same layout.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"acusim-augment {acusim.__version__}")
    what = parser.add_argument_group("what to do")
    for name, text in ACTIONS.items():
        what.add_argument(flags([name]), help=text, **_TAKING.get(name, {"action": "store_true"}))
    add_options(parser.add_argument_group("data"), BatchSettings, _fields(DATA), required=False)
    how = parser.add_argument_group("how")
    _add_recipe(how)
    add_options(how, BatchSettings, _fields(HOW))
    how.add_argument("--json", action="store_true", help="print the result as JSON; everything else goes to stderr")
    add_verbosity(how)
    for engines, names in _by_engines().items():
        title = f"engine{'s' if len(engines) > 1 else ''} {' and '.join(engines)}"
        add_options(parser.add_argument_group(title), OPTIONS[next(iter(engines))], names)
    return parser


def _add_recipe(how: "argparse._ActionsContainer") -> None:
    how.add_argument("--engine", choices=ENGINES, help="what computes the images (default: the recipe's, else comfyui)")
    how.add_argument(
        "--recipe", type=Path, metavar="F.toml", help="settings that differ from the defaults (default: none)"
    )
    how.add_argument("--set", action="append", metavar="NAME=VALUE", help="one setting, such as steps=28")
    add_options(how, Recipe, ["geometry"])
    how.add_argument(
        "--gate",
        nargs="?",
        const=SHIPPED_GATE,
        metavar="F.toml",
        help="certify every image before it is written; what fails is re-rolled, softened, relit, or skipped",
    )


def settings_of(options: argparse.Namespace) -> BatchSettings:
    """The settings that a command line asks for.

    Raises:
        ConfigError: a value is wrong, or --dataset is missing.
    """
    if options.repair and options.dataset is None:
        return _repaired(options)
    if options.dataset is None:
        raise ConfigError("--dataset is missing: the root of the AcuSim dataset to augment")
    recipe = Recipe.from_toml(options.recipe)
    if options.engine:
        recipe = Recipe.from_dict({"engine": options.engine}, recipe)
    recipe = Recipe.from_dict(_given(options, ["geometry"]), recipe.with_settings(options.set or []))
    gate = None if options.gate is None else GateSettings.from_toml(Path(options.gate) if options.gate else None)
    values = _given(options, (*_fields(DATA), *_fields(HOW)))
    with _naming_flags(BatchSettings, OPTIONS[recipe.engine]):
        chosen = OPTIONS[recipe.engine](**engine_options(options, recipe.engine))
        return BatchSettings(**values, recipe=recipe, gate=gate, repair=options.repair, engine_options=chosen)


def _repaired(options: argparse.Namespace) -> BatchSettings:
    """The stored settings of OUT, with the engine's options that are given now."""
    from controller.stored import repair_settings

    ignored = _given(options, ("engine", "recipe", "set", "geometry", "gate", *_fields(DATA), *_fields(HOW))).keys() - {
        "output"
    }
    if ignored:
        text = flags(sorted(ignored))
        raise ConfigError(f"--repair without --dataset takes the settings OUT was created with; leave out {text}")
    stored = repair_settings(options.output)
    given = engine_options(options, stored.recipe.engine)
    with _naming_flags(type(stored.engine_options)):
        return stored.changed(repair=True, engine_options=stored.engine_options.changed(**given))


@contextmanager
def _naming_flags(*models: type[Settings]) -> Iterator[None]:
    """Errors name an option as the user wrote it, instead of its field."""
    try:
        yield
    except ConfigError as error:
        name, _, rest = str(error).partition(" = ")
        for model in models:
            if rest and name in model.model_fields:
                raise ConfigError(f"{flag_of(model, name)} {rest}") from None
        raise


def engine_options(options: argparse.Namespace, engine: EngineName) -> dict[str, Any]:
    """The options of an engine that were given, by the user or else by what launched this process."""
    given = given_options(options, OPTIONS[engine])
    if options.launch and engine == "embedded":
        if options.launch.processes > 1:
            given.setdefault("gpus", options.launch.processes)
        if options.launch.cpu:
            given.setdefault("device", "cpu")
    return given


def unused(options: argparse.Namespace, engine: EngineName) -> list[str]:
    """Options that were given although the engine does not read them."""
    names = [name for group in _by_engines().values() for name in group]
    return [name for name in _given(options, names) if name not in OPTIONS[engine].model_fields]


def flags(names: Iterable[str]) -> str:
    """Names of options as a user writes them."""
    return ", ".join("--" + name.replace("_", "-") for name in names)


def _fields(group: str) -> list[str]:
    """The settings of a batch whose options are in one group of the help."""
    return [name for name, field in BatchSettings.model_fields.items() if extra_of(field, "group") == group]


def _by_engines() -> dict[tuple[str, ...], list[str]]:
    """Engines -> the options that these read and no other."""
    found: dict[tuple[str, ...], list[str]] = {}
    for kind in OPTIONS.values():
        for name, field in kind.model_fields.items():
            engines = tuple(engine for engine, other in OPTIONS.items() if name in other.model_fields)
            group = found.setdefault(engines, [])
            if not extra_of(field, "hidden") and name not in group:
                group.append(name)
    return {engines: names for engines, names in found.items() if names}


def _given(options: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}
