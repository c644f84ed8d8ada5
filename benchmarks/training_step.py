"""A training step of acuSimNet's heads, given features, beside the loop over meridians that its public code is.

    python -m benchmarks.training_step [--batch 16] [--features 1920] [--rounds 30] [--device cpu] [--whole 0]

Ours: losses and tallies on whole batches, nothing waits for the device. Peer, in
the same run and process, the same mathematics in the manner of the public code (ZoeApokalypse/acuSimNet): a module for
each meridian, losses in a Python loop, accuracies of each meridian by ``.item()`` after every batch. Both include the
backward pass. The bare matrix products of a step are timed as well: no fp32 step is faster. ``--whole N`` also times N
whole steps of DenseNet201 at 512² with AdamW, ours and with the peer's heads.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.config import load_config
from training.hardware import Hardware
from training.models.branches import Branches
from training.models.grouping import make_groups
from training.models.head import tally
from training.models.losses import Criterion, binary_focal_loss, soft_mask, soft_wing_loss
from training.tasks.head_config import LossConfig

SIZES = make_groups("meridians").sizes


class Meridian(nn.Module):
    """One branch of the peer."""

    def __init__(self, features: int, points: int):
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs, dropout in ((features, 1024, 0.3), (1024, 768, 0.25), (768, 512, 0.2)):
            layers += [nn.Linear(inputs, outputs), nn.GELU(), nn.Dropout(dropout), nn.LayerNorm(outputs)]
        self.trunk = nn.Sequential(*layers)
        self.visibility = nn.Linear(512, points)
        self.coordinate = nn.Linear(512, 2 * points)
        self.classifier = nn.Linear(512, points * points)
        self.log_sigma = nn.Parameter(torch.tensor([0.0, 1.0, -5.0]))
        self.points = points

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, D] -> [B, N], [B, N, 2], [B, N, N]."""
        hidden = self.trunk(features)
        classes = self.classifier(hidden).view(-1, self.points, self.points)
        return self.visibility(hidden), self.coordinate(hidden).view(-1, self.points, 2), classes


class Peer(nn.Module):
    """Nine branches, one after the other."""

    def __init__(self, features: int):
        super().__init__()
        self.meridians = nn.ModuleList(Meridian(features, points) for points in SIZES)

    def forward(self, features: Tensor, xy: Tensor, visible: Tensor) -> tuple[Tensor, float]:
        """Loss, and the accuracies that the public code asks for after each batch."""
        total, start, outputs = torch.zeros((), device=features.device), 0, []
        for branch in self.meridians:
            here = slice(start, start + branch.points)  # type: ignore[operator]
            logits, coordinates, classes = branch(features)
            mask = soft_mask(logits.sigmoid().detach())
            fade = torch.where((xy[:, here].abs() < 1e-6).all(-1), 0.5, 1.0)
            names = torch.arange(branch.points, device=features.device).repeat(len(features))  # type: ignore[arg-type]
            entropy = F.cross_entropy(classes.flatten(0, 1), names, reduction="none").view_as(mask)
            sums = (
                binary_focal_loss(logits, visible[:, here]).sum(),
                (soft_wing_loss(coordinates - xy[:, here]).sum(-1) * mask * fade).sum(),
                (entropy * mask).sum(),
            )
            for sigma, loss in zip(branch.log_sigma, sums, strict=True):  # type: ignore[arg-type]
                total = total + loss / (2 * sigma.exp() ** 2) + sigma
            outputs.append((logits, coordinates, classes, here, names))
            start += branch.points  # type: ignore[assignment]
        seen = 0.0
        with torch.no_grad():
            for logits, coordinates, classes, here, names in outputs:
                seen += ((logits.sigmoid() > 0.5) == visible[:, here]).float().mean().item()
                seen += (classes.argmax(-1).flatten() == names).float().mean().item()
                seen += soft_wing_loss(coordinates - xy[:, here]).mean().item()
            seen += total.item()
        return total, seen


def seconds(step: Callable[[], object], device: torch.device, rounds: int) -> float:
    """Median time of a step."""
    times = []
    for number in range(rounds + 3):
        started = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if number >= 3:
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def bare(features: int, batch: int, device: torch.device) -> Callable[[], object]:
    """The matrix products of a step's forward and backward pass, as few and as large as can be."""
    shapes = [
        (1, features, 9 * 1024),
        (9, 1024, 768),
        (9, 768, 512),
        (1, 512 * 9, sum(3 * n + n * n for n in SIZES) // 9),
    ]
    held = [
        (
            torch.randn(g, batch, i, device=device),
            torch.randn(g, i, o, device=device),
            torch.randn(g, batch, o, device=device),
        )
        for g, i, o in shapes
    ]

    def step() -> None:
        for x, weight, grad in held:
            torch.bmm(x, weight)
            torch.bmm(grad, weight.transpose(1, 2))
            torch.bmm(x.transpose(1, 2), grad)

    return step


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--batch", type=int, default=16)
    add("--features", type=int, default=1920)
    add("--rounds", type=int, default=30)
    add("--device", default="cpu")
    add("--whole", type=int, default=0, metavar="N", help="whole steps of DenseNet201 at 512² to time (default none)")
    options = parser.parse_args()
    device, batch = Hardware(options.device).device, options.batch
    torch.manual_seed(0)
    visible = torch.rand(batch, 174, device=device) < 0.24
    xy = torch.rand(batch, 174, 2, device=device) * visible[..., None]
    trusted, weight = torch.ones_like(visible), torch.tensor(0.5, device=device)
    features = torch.randn(batch, options.features, device=device, requires_grad=True)
    groups = make_groups("meridians")
    branches = Branches(groups, options.features).to(device)
    criterion, peer = Criterion(LossConfig(), groups).to(device), Peer(options.features).to(device)

    def ours() -> None:
        branches.zero_grad()
        criterion.zero_grad()
        output = branches(features)
        criterion(output, xy, visible, trusted, weight).total.backward()
        tally(output, xy, visible)

    def theirs() -> None:
        peer.zero_grad()
        peer(features, xy, visible)[0].backward()

    # In turn, so that a slow moment of the machine meets both.
    rounds = [(seconds(ours, device, options.rounds), seconds(theirs, device, options.rounds)) for _ in range(3)]
    mine, other = (min(pair[k] for pair in rounds) for k in range(2))
    floor = seconds(bare(options.features, batch, device), device, options.rounds)
    print(f"heads, losses, figures and backward at batch {batch}, {options.features} features, {device}")
    print(f"  ours {1000 * mine:.1f} ms, loop over meridians {1000 * other:.1f} ms: {other / mine:.2f} x")
    print(f"  bare matrix products {1000 * floor:.1f} ms: {floor / mine:.2f} of our step")
    if options.whole:
        _whole(options.whole, batch, device, xy, visible, trusted, weight)


def _whole(
    count: int, batch: int, device: torch.device, xy: Tensor, visible: Tensor, trusted: Tensor, weight: Tensor
) -> None:
    from training.models.backbones import create
    from training.models.head import Trainee

    images = torch.rand(batch, 3, 512, 512, device=device).to(memory_format=torch.channels_last)
    trainee = Trainee(load_config()).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    backbone = create("densenet201").to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    peer = Peer(1920).to(device)
    own = torch.optim.AdamW(trainee.parameters(), lr=5e-5, fused=True)
    other = torch.optim.AdamW([*backbone.parameters(), *peer.parameters()], lr=5e-5)

    def ours() -> None:
        own.zero_grad()
        losses, _ = trainee(images, xy, visible, trusted, weight)
        losses.total.backward()
        own.step()

    def theirs() -> None:
        other.zero_grad()
        peer(backbone(images), xy, visible)[0].backward()
        other.step()

    for name, step in (("ours", ours), ("loop over meridians", theirs)):
        took = seconds(step, device, count)
        print(f"whole step of DenseNet201 at 512², {name}: {took:.2f} s, {batch / took:.2f} images/s")


if __name__ == "__main__":
    main()
