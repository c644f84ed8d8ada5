"""What can be said on the command line, and which of it concerns which engine."""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import acusim
from acusim.command_line import Parser
from engines.options import Device, Precision, Transport
from engines.recipe import DIFFUSION, ENGINES, EngineName

SHIPPED_GATE = ""
"""--gate without a file."""
OK, ASIDE, NO_ENGINE, INTERRUPTED = 0, 2, 3, 130

_EPILOG = """\
exit codes:
  0    done
  1    usage or configuration is wrong, or the output folder cannot be written
  2    finished, but items were set aside (or --verify / --reproduce found a difference)
  3    the engine is not available (or --check found something missing)
  130  interrupted; run the same command again to go on

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
    what.add_argument("--batch", action="store_true", help="make everything that is not made yet")
    what.add_argument("--dry-run", action="store_true", help="show the plan and the evidence for it; write nothing")
    what.add_argument("--check", action="store_true", help="look whether the engine has all it needs; make nothing")
    what.add_argument("--status", action="store_true", help="what is done, planned and set aside in OUT")
    what.add_argument("--verify", action="store_true", help="compare every file in OUT with the hash in its ledger")
    what.add_argument("--repair", action="store_true", help="verify, rebuild a lost ledger, make again what fails")
    what.add_argument("--reproduce", type=Path, metavar="IMAGE", help="make one picture again and compare the bytes")

    data = parser.add_argument_group("data")
    data.add_argument("--dataset", type=Path, metavar="ROOT", help="AcuSim dataset root: ROOT/train/image/img_512/…")
    data.add_argument("--output", type=Path, metavar="OUT", help="new dataset root; nothing outside it is written")
    data.add_argument("--size", type=int, metavar="PX", help="which img_PX to read (default: 512, else the largest)")
    data.add_argument(
        "--select",
        metavar="CONDITIONS",
        help="such as 'gender=F,hair=HA,HC,frame=1-36'; keys: gender name size hair eye frame split (default: all)",
    )
    data.add_argument(
        "--limit", type=int, metavar="N", help="at most N samples, in the order of their names (default: all)"
    )
    data.add_argument("--scenes", type=Path, metavar="DIR", help="pictures that set the light (default: shipped ones)")

    how = parser.add_argument_group("how")
    how.add_argument("--engine", choices=ENGINES, help="who makes the pixels (default: the recipe's, else comfyui)")
    how.add_argument(
        "--recipe", type=Path, metavar="F.toml", help="settings that differ from the defaults (default: none)"
    )
    how.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="one setting, such as steps=28")
    how.add_argument("--variants", type=int, default=1, metavar="K", help="pictures per sample, in OUT/v01, OUT/v02 …")
    how.add_argument("--seed", type=int, default=0, metavar="S", help="changes every picture's seed")
    how.add_argument(
        "--prompts", type=Path, metavar="F.toml", help="own prompt sets, tried before the shipped four (default: none)"
    )
    how.add_argument(
        "--bald-codes",
        default="auto",
        metavar="A,B",
        help="hair codes that mean bald; auto tells it from the labels, none means none",
    )
    how.add_argument(
        "--gate",
        nargs="?",
        const=SHIPPED_GATE,
        metavar="F.toml",
        help="certify every picture before it is written; what fails is re-rolled, softened, relit, or set aside",
    )
    how.add_argument(
        "--workers", type=int, metavar="N", help="worker processes of engine relight (default: one for each core)"
    )
    how.add_argument("--json", action="store_true", help="print the result as JSON; everything else goes to stderr")
    how.add_argument("--quiet", action="store_true", help="no progress and no notes")

    comfyui = parser.add_argument_group("engine comfyui")
    comfyui.add_argument(
        "--server",
        action="append",
        default=[],
        metavar="URL",
        help="a running ComfyUI; name several to share the work (default: http://127.0.0.1:8188)",
    )
    comfyui.add_argument(
        "--server-header-file",
        type=Path,
        metavar="FILE",
        help="headers, or a token, for a login in front of the server, one a line (default: $ACUSIM_SERVER_HEADER)",
    )
    comfyui.add_argument(
        "--workflow",
        type=Path,
        metavar="F.json",
        help="own workflow in API format (default: workflows/api/WIRING.json)",
    )
    comfyui.add_argument(
        "--transport",
        choices=get_args(Transport),
        default="auto",
        help="shared: the server reads the dataset and writes below OUT itself; remote: upload and download",
    )

    both = parser.add_argument_group("engines comfyui and embedded")
    both.add_argument("--batch-size", type=int, metavar="N", help="most pictures made together (default: 4)")

    embedded = parser.add_argument_group("engine embedded")
    embedded.add_argument(
        "--models",
        type=Path,
        metavar="DIR",
        help="model files, laid out as ComfyUI's models folder (default: the published ones, fetched into a cache)",
    )
    embedded.add_argument("--device", choices=get_args(Device), default="auto", help="auto takes a GPU if there is one")
    embedded.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="auto",
        help="decides pixels; auto: bf16 on a GPU that has it, else fp16, and fp32 on a CPU",
    )
    embedded.add_argument(
        "--gpus",
        type=int,
        metavar="N",
        help="share the batch between N GPUs, or with --device cpu between N processes (default: 1)",
    )
    embedded.add_argument(
        "--compile", action="store_true", help="let torch compile the models: minutes at the start, faster after that"
    )
    embedded.add_argument("--low-memory", action="store_true", help="keep only the model at work on the GPU")
    return parser


_USED_BY: dict[str, tuple[EngineName, ...]] = {
    "workers": ("relight",),
    **dict.fromkeys(("server", "server_header_file", "workflow", "transport"), ("comfyui",)),
    "batch_size": DIFFUSION,
    **dict.fromkeys(("models", "device", "precision", "gpus", "compile", "low_memory"), ("embedded",)),
}
"""Options that not every engine reads."""
WHERE = (
    *("server", "server_header_file", "batch_size", "transport"),
    *("models", "device", "precision", "gpus", "compile", "low_memory"),
)
"""Where and how an engine works: what --repair may say otherwise than the run before it."""
HOW = (
    *("engine", "recipe", "set", "variants", "seed", "prompts", "bald_codes", "scenes", "select", "limit", "size"),
    *("workflow", "gate"),
)
"""What OUT was begun with."""


def given(options: argparse.Namespace, names: Iterable[str]) -> list[str]:
    """Which of some options differ from their defaults."""
    parser = build_parser()
    return [name for name in names if getattr(options, name) != parser.get_default(name)]


def flags(names: Iterable[str]) -> str:
    """Names of options as a user writes them."""
    return ", ".join("--" + name.replace("_", "-") for name in names)


def unused(options: argparse.Namespace, engine: EngineName) -> list[str]:
    """Options that were given although the engine does not read them."""
    return given(options, (name for name, engines in _USED_BY.items() if engine not in engines))
