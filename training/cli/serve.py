"""``serve``: the web page."""

import argparse
import os
from pathlib import Path
from typing import Any

from pydantic import Field

from acusim.errors import ConfigError
from training.cli.console import OK, message
from training.cli.options import CropOptions, DeviceOptions, add_command, option
from training.settings import TASKS, Crop, TaskName
from training.shipped import available, model_path, shipped_folder

DESCRIPTION = """Serves a web page, and an HTTP interface behind it, that finds the acupoints of a picture. Only this
machine can reach it, and pictures are never written to a disk (docs/guide/web.md). Without --head and --hand it serves
the models that come with the package."""


class ServeOptions(CropOptions, DeviceOptions):
    """The command's options."""

    head: str | None = option(None, "RUN")
    """Model of the head: head, a run's folder, or the .onnx file of export."""
    hand: str | None = option(None, "RUN")
    """Model of the hand, likewise."""
    port: int = Field(default=8000, ge=0, le=65535)
    """TCP port; 0 takes any free one."""
    host: str = "127.0.0.1"
    """Name or address to listen on; other machines cannot reach the default."""
    allow_remote: bool = False
    """Needed with a --host that other machines can reach."""
    name: tuple[str, ...] = ()
    """Another host name that it answers to, at any port, such as a proxy's (repeatable)."""
    threads: int = option(0, "N", ge=0)
    """Threads of a model on the CPU; 0 takes one per CPU."""


def add_arguments(commands: "argparse._SubParsersAction[Any]") -> None:
    """Adds the command."""
    summary = "a web page that finds acupoints in pictures"
    parser = add_command(commands, "serve", ServeOptions, summary, description=DESCRIPTION)
    parser.set_defaults(func=run)


def served_paths(options: ServeOptions) -> dict[TaskName, Path]:
    """The models to serve; without any named, those that come with the package."""
    named: dict[TaskName, str] = {kind: model for kind in TASKS if (model := getattr(options, kind))}
    if named:
        return {kind: model_path(model) for kind, model in named.items()}
    installed = available()
    if not installed:
        raise ConfigError("no model comes with this installation; name a run with --head RUN, or --hand, or both")
    for kind in set(TASKS) - set(installed):
        message(f"the shipped model {kind!r} is not installed; serving {', '.join(installed)} alone")
    return {kind: shipped_folder(kind) for kind in installed}


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; returns its exit code."""
    import torch

    from training.hardware import Hardware
    from training.inference.loading import load_kind
    from training.inference.model import Model
    from training.inference.quiet import silenced
    from training.web.guard import checked_name
    from training.web.server import listening_socket, serve

    options = ServeOptions.of(arguments)
    paths = served_paths(options)
    names = tuple(map(checked_name, options.name))
    sock = listening_socket(options.host, options.port, options.allow_remote)
    threads = options.threads or os.cpu_count() or 1
    torch.set_num_threads(threads)
    device = Hardware(options.device, keep=False).device
    crops: dict[TaskName, Crop] = {"head": options.crop, "hand": "none"}
    with silenced():
        models: dict[TaskName, Model] = {
            kind: load_kind(kind, path, device, threads).with_crop(crops[kind]) for kind, path in paths.items()
        }
        for model in models.values():
            model.warm_up()
    serve(models, sock, options.host, names)
    return OK
