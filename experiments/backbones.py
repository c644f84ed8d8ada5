"""acuSimNet's Table 1: its backbones by parameters, operations, and training speed.

    python -m experiments.backbones [--backbones densenet201 vgg16 …] [--side 512] [--batch 16] [--device auto]

Parameters and operations are exact, counted without numbers at 512². Speed is that of whole training steps (forward,
losses, backward, AdamW) on random pictures at --side and --batch, the median of --rounds; on a CPU choose a small
side, and read the column as a comparison of the backbones at that size only. Accuracy, the table's remaining column,
needs trainings: ``python -m training train --set model.backbone=NAME``, then ``training compare``. Prints Markdown.
"""

import argparse
import statistics
import time

import torch

from acusim.markdown import table
from training.config import load_config
from training.hardware import Hardware
from training.inference.describe import describe, network_on_meta
from training.models.backbones import create
from training.models.head import Trainee
from training.models.names import BACKBONES, BackboneName
from training.tasks.head_config import HeadConfig

TITLES = ("backbone", "features", "parameters, M", "as the paper counts, M", "forward at 512², GFLOP")
POINTS = 174


def counted(name: BackboneName) -> list[str]:
    """A backbone's cells but for its speed."""
    network, side = network_on_meta(load_config().with_settings([f"model.backbone={name}"]))
    found = describe(network, (1, 3, side, side))
    with torch.device("meta"):
        width = create(name).feature_dim
    million = found["parameters"]["total"] / 1e6
    return [name, str(width), f"{million:.2f}", f"{found['paper_params_m']:.2f}", f"{found['flops'] / 1e9:.1f}"]


def steps_a_second(name: str, side: int, batch: int, rounds: int, device: torch.device) -> float:
    """Training steps each second, by the median time."""
    config = load_config().with_settings([f"model.backbone={name}"])
    assert isinstance(config, HeadConfig)
    torch.manual_seed(0)
    trainee = Trainee(config).to(device).train()
    optimizer = torch.optim.AdamW(trainee.parameters(), lr=config.train.lr)
    images = torch.rand(batch, 3, side, side, device=device)
    visible = torch.rand(batch, POINTS, device=device) < 0.24
    xy = torch.where(visible[..., None], torch.rand(batch, POINTS, 2, device=device), 0.0)
    times: list[float] = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        optimizer.zero_grad()
        losses, _ = trainee(images, xy, visible, torch.ones_like(visible), torch.ones((), device=device))
        losses.total.backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return 1 / statistics.median(times[1:])


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--backbones", nargs="+", choices=BACKBONES, default=list(BACKBONES), metavar="NAME", help="default: all")
    add("--side", type=int, default=512, help="side of the pictures of the timed steps (default 512)")
    add("--batch", type=int, default=16, help="pictures in a step (default 16)")
    add("--rounds", type=int, default=3, help="timed steps (default 3)")
    add("--device", default="auto")
    options = parser.parse_args()
    device = Hardware(options.device).device
    speed = f"steps/s at {options.side}², batch {options.batch}, {device}"
    rows: list[list[str]] = []
    for name in options.backbones:
        rate = steps_a_second(name, options.side, options.batch, options.rounds, device)
        rows.append([*counted(name), f"{rate:.3g}"])
        print(f"{name}: {rate:.3g} steps/s", flush=True)
    print(table((*TITLES, speed), rows))


if __name__ == "__main__":
    main()
