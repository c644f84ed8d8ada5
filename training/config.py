"""Configuration files: TOML that holds only differences from a task's defaults.

A configuration is a sum of experiments, such as ``A1+B1``: names of files in ``training/configs`` or paths of TOML
files, applied from left to right to the defaults, which are the paper's acuSimNet, or those of the hand where a file
says ``task = "hand"``. Two files that set one setting to different values are refused: the name would say less than the
run did.
"""

from importlib import resources
from pathlib import Path
from typing import Any

from acusim.errors import ConfigError, shown
from acusim.folders import is_junk
from acusim.settings_file import read_settings
from training.settings import TASKS, BaseConfig, TaskName
from training.tasks.hand_config import HandConfig
from training.tasks.head_config import DEFAULT, HeadConfig

_CONFIGS: dict[TaskName, type[HeadConfig] | type[HandConfig]] = {"head": HeadConfig, "hand": HandConfig}


def experiments() -> tuple[str, ...]:
    """Names of the experiments that come with the project."""
    folder = resources.files("training").joinpath("configs")
    names = (entry.name for entry in folder.iterdir() if not is_junk(entry.name))
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def _path_of(part: str) -> Path:
    if part in experiments():
        return Path(str(resources.files("training").joinpath("configs", f"{part}.toml")))
    path = Path(part)
    if path.suffix != ".toml":
        raise ConfigError(
            f"--config: {part!r} is neither an experiment ({', '.join(experiments())}) nor a .toml file; "
            "several are joined by +, such as A1+B1"
        )
    return path


def _read(path: Path) -> dict[str, Any]:
    """The content of a TOML file; its task is checked, its sections are not."""

    def checked(document: dict[str, Any]) -> dict[str, Any]:
        if document.get("task", TASKS[0]) not in TASKS:
            raise ConfigError(f"task = {shown(document['task'])} is not one of {', '.join(TASKS)}")
        return document

    return read_settings(path, "configuration", checked)


def _sections(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: value for name, value in document.items() if name not in ("name", "note", "task")}


def load_config(text: str = DEFAULT) -> BaseConfig:
    """The configuration of a sum of experiments.

    Args:
        text: such as ``acusimnet``, ``A1+B1``, ``hand_hrnet`` or ``mine.toml+C1``.

    Returns:
        A HeadConfig, or a HandConfig where a file says ``task = "hand"``.

    Raises:
        ConfigError: an unknown experiment or setting, a value out of its range, or two files that contradict.
    """
    parts = [(part, _read(_path_of(part.strip()))) for part in text.split("+")]
    # A user's own file that names no task goes with either.
    named = (document.get("task", TASKS[0] if part.strip() in experiments() else None) for part, document in parts)
    tasks: list[TaskName] = sorted({task for task in named if task})
    if len(tasks) > 1:
        raise ConfigError(f"--config {text!r} mixes the tasks {' and '.join(tasks)}; name experiments of one")
    config: BaseConfig = _CONFIGS[tasks[0] if tasks else TASKS[0]](name=text)
    set_by: dict[tuple[str, str], str] = {}
    for part, document in parts:
        before, changes = config, _sections(document)
        try:
            config = config.with_sections(changes)
        except ConfigError as error:
            raise ConfigError(f"configuration {part!r}: {error}") from None
        for section, values in changes.items():
            for name in values:
                first = set_by.setdefault((section, name), part)
                was, now = (getattr(getattr(one, section), name) for one in (before, config))
                if first != part and was != now:
                    raise ConfigError(f"--config {text!r}: {first} and {part} both set {section}.{name}")
    return config


def read_config(path: Path) -> BaseConfig:
    """The configuration that a run wrote down.

    Raises:
        ConfigError: unreadable, or not a configuration.
    """
    document = _read(path)
    name = str(document.get("name", DEFAULT))
    try:
        return _CONFIGS[document.get("task", TASKS[0])](name=name).with_sections(_sections(document))
    except ConfigError as error:
        raise ConfigError(f"configuration {str(path)!r}: {error}") from None
