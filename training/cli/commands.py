"""What the commands do; cli.py reads their arguments.

Which task a command is about, head or hand, is told by the configuration, the run or --kind; what it does for that task
is in head_commands.py and hands/commands.py.
"""

import argparse
import json
import os
from types import ModuleType

from acusim.errors import ConfigError, LabelError
from acusim.tolerances import Change, notes_of
from training.cli.console import Bars, aside, say, tell
from training.cli.main import OK
from training.config import load_config
from training.io.skipped import FILE, SetAside
from training.settings import TaskName


def _commands_of(task: TaskName) -> ModuleType:
    if task == "head":
        from training.cli import head as head_commands

        return head_commands
    from training.cli import hand as commands

    return commands


def train(options: argparse.Namespace) -> int:
    """``train``: see cli.py."""
    from training.cli.training_run import ensure_free
    from training.hardware import Hardware

    config = load_config(options.config).with_settings(options.set)
    hardware = Hardware(options.device)
    try:
        ensure_free(options.out, hardware)
        return _commands_of(config.TASK).train(config, options, hardware)
    finally:
        hardware.close()


def evaluate(options: argparse.Namespace) -> int:
    """``evaluate``: see cli.py."""
    from training.hardware import Hardware
    from training.runs import open_run

    device = Hardware(options.device).device
    run = open_run(options.run, options.checkpoint, device)
    if run.kind == "hand" and (options.coco or options.results):
        raise ConfigError("--coco and --results are for runs of heads; this one is of hands")
    return _commands_of(run.kind).evaluate(run, options, device)


def predict(options: argparse.Namespace) -> int:
    """``predict``: see cli.py."""
    from training.hardware import Hardware
    from training.runs import open_run

    if options.threshold is not None and not 0 < options.threshold < 1:
        raise ConfigError(f"--threshold {options.threshold:g} is not between 0 and 1")
    device = Hardware(options.device).device
    run = open_run(options.run, options.checkpoint, device)
    return _commands_of(run.kind).predict(run, options, device)


def export(options: argparse.Namespace) -> int:
    """``export``: see cli.py."""
    from training.runs import open_run

    run = open_run(options.run, options.checkpoint)
    differences = _commands_of(run.kind).export(run, options.onnx)
    told = ", ".join(f"{name} {value:.2g}" for name, value in differences.items())
    say(f"{options.onnx}: {options.onnx.stat().st_size / 1e6:.1f} MB; largest difference in onnxruntime: {told}")
    return OK


def serve(options: argparse.Namespace) -> int:
    """``serve``: see cli.py."""

    import torch

    from training.hardware import Hardware
    from training.web.guard import checked_name
    from training.web.quiet import silenced
    from training.web.recogniser import KINDS, Kind, Recogniser, open_recogniser, warm_up
    from training.web.server import listening_socket
    from training.web.server import serve as serve_page

    kinds: list[Kind] = [kind for kind in KINDS if getattr(options, kind)]
    if not kinds:
        raise ConfigError("no model to serve; name a run with --head RUN, or --hand, or both")
    if options.threads < 0:
        raise ConfigError(f"--threads {options.threads} is not at least 1")
    names = tuple(map(checked_name, options.name))
    sock = listening_socket(options.host, options.port, options.allow_remote)
    threads = options.threads or os.cpu_count() or 1
    torch.set_num_threads(threads)
    device = Hardware(options.device, keep=False).device
    with silenced():
        models: dict[Kind, Recogniser] = {
            kind: open_recogniser(kind, getattr(options, kind), device, threads) for kind in kinds
        }
        for model in models.values():
            warm_up(model)
    serve_page(models, sock, options.host, names)
    return OK


def describe(options: argparse.Namespace) -> int:
    """``describe``: see cli.py."""
    from training.inference.describe import as_text
    from training.inference.describe import describe as describe_network

    config = load_config(options.config).with_settings(options.set)
    network, size = _commands_of(config.TASK).network_on_meta(config)
    found = {"config": config.as_dict(), **describe_network(network, (1, 3, size, size), depth=2)}
    print(json.dumps(found, ensure_ascii=False) if options.json else as_text(found))
    return OK


def coco(options: argparse.Namespace) -> int:
    """``coco``: see cli.py."""
    commands = _commands_of(options.kind)
    if options.direction == "export":
        return commands.coco_export(options.data, options.out, Bars(options.quiet))
    from training.io.coco import read_document

    table = SetAside(options.out / FILE)
    data = read_document(options.document)
    changes: list[Change] = []
    try:
        written, problems = commands.coco_import(data, options.out, changes.append)
    except LabelError as error:
        raise LabelError(f"document {str(options.document)!r}: {error}") from None
    tell(notes_of(changes), [])
    say(f"{len(written)} labels in {options.out}")
    return aside(problems, table)
