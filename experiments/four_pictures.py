"""Four pictures learnt by heart: which part of acuSimNet's recipe keeps it from learning positions?

    python -m experiments.four_pictures --data ROOT [--seeds 3] [--steps 200]

A network that cannot repeat four pictures cannot learn from thousands. Each row changes one setting of C1, or several,
and trains on the same four pictures; errors are those of visible points on these pictures, once with dropout and batch
statistics as in training, once as a user meets the network. Prints Markdown.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from acusim import rig
from acusim.caches import cache_path
from acusim.errors import AcuSimError
from acusim.markdown import table
from training.config import load_config
from training.data.records import HeadData, load
from training.hardware import Hardware
from training.loop import learning_rate
from training.models.head import Trainee
from training.tasks.base import as_input
from training.tasks.head_config import HeadConfig

FRAMES = (1, 5, 33, 40)
SIZE = 128
COMMON = ("model.backbone=light", "model.trunk=single", f"data.size={SIZE}", "train.lr=1e-3", "train.schedule=cosine")
ROWS: dict[str, tuple[str, ...]] = {
    "C1, as documented": (),
    "no dropout": ("model.dropout=0",),
    "no mask": ("loss.mask=none",),
    "no uncertainty weights": ("loss.uncertainty=none",),
    "no decay": ("loss.decay=false",),
    "no dropout, mask, uncertainty weights": ("model.dropout=0", "loss.mask=none", "loss.uncertainty=none"),
}


def trained_errors(config: HeadConfig, data: HeadData, rows: list[int], steps: int, seed: int) -> tuple[float, float]:
    """Mean error in mm of visible points after training, in training mode and in evaluation mode."""
    torch.manual_seed(seed)
    targets = data.targets.take(np.array(rows)).to_torch("cpu")
    pixels = np.empty((len(rows), SIZE, SIZE, 3), np.uint8)
    data.cache.read(np.array(rows), pixels)
    images = as_input(torch.from_numpy(pixels))
    trainee = Trainee(config)
    optimizer = torch.optim.AdamW(trainee.parameters(), config.train.lr, weight_decay=config.train.weight_decay)
    train = config.train.changed(epochs=1)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(train, step, steps)
        losses, _ = trainee(images, targets.xy, targets.visible, targets.trusted, torch.tensor(1.0), 1.0, 1.0)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    scale = torch.from_numpy(rig.mm_per_px(np.nan_to_num(data.targets.depth_mm[rows]), 1.0))
    out = []
    for training in (True, False):
        trainee.train(training)
        with torch.no_grad():
            error = (trainee.network(images).coordinates - targets.xy).norm(dim=-1) * scale
        out.append(float(error[targets.visible].mean()))
    return out[0], out[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.four_pictures", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--data", type=Path, required=True, metavar="ROOT", help="data set with depth maps")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="runs of each row (default: 3)")
    parser.add_argument("--steps", type=int, default=200, metavar="N", help="of each run (default: 200)")
    options = parser.parse_args(arguments)
    Hardware("cpu")
    try:
        data = load([options.data], size=SIZE, cache_dir=cache_path("images"), frames=FRAMES)
        person = data.records[0].person
        rows = [number for number, record in enumerate(data.records) if record.person == person]
        lines = []
        for name, settings in ROWS.items():
            config = load_config("C1").with_settings([*COMMON, *settings])
            assert isinstance(config, HeadConfig)
            found = np.array([trained_errors(config, data, rows, options.steps, seed) for seed in range(options.seeds)])
            cells = (f"{column.mean():.1f} ({column.min():.1f} … {column.max():.1f})" for column in found.T)
            lines.append([name, *cells])
    except AcuSimError as error:
        parser.error(str(error))
    head = ["", "as in training, mm", "as used, mm"]
    print(f"{len(rows)} pictures, {options.seeds} seeds, {options.steps} steps; mean (least … largest)\n")
    print(table(head, lines))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
