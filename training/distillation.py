"""Distillation: a student learns a trained network's answers beside the labels (Hinton et al. 2015,
https://arxiv.org/abs/1503.02531).

The teacher sees the very picture that the student sees, augmented, so what it answers is at the right place whatever
augmentation did. It also answers where labels are silent: how visible a point at an outline is, and where an occluded
one may be.
"""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from acusim.errors import ConfigError
from training.data.split import Part
from training.models.distillation import Taught
from training.models.heatmap_net import HeatmapNet
from training.runs import HeadRun, open_run

TEACHER = "teacher"
"""Entry of a run's identity: the SHA-256 of its teacher's weights."""


class Teacher:
    """A trained network with heatmaps, on a device, which does not change any more.

    Args:
        run: the run that trained it.
    """

    def __init__(self, run: HeadRun):
        assert isinstance(run.network, HeatmapNet)
        self.run = run
        self.network = run.network.requires_grad_(False)
        self.size = run.config.data.size

    @torch.no_grad()
    def answers(self, images: Tensor) -> Taught:
        """What it says of pictures [B, 3, S, S] in 0..1, which it sees in the size that it was trained with."""
        if images.shape[-1] != self.size:
            images = F.interpolate(images, size=(self.size, self.size), mode="bilinear", antialias=True)
        output = self.network(images, for_loss=True)
        assert output.marginals is not None
        return Taught(torch.sigmoid(output.visibility_logits), output.marginals)

    def knows(self, persons: dict[str, Part]) -> list[str]:
        """Those of a student's validation and test persons on whom the teacher was trained, in ascending order."""
        return sorted(
            name for name, part in persons.items() if part != "train" and self.run.persons.get(name) == "train"
        )


def open_teacher(path: Path, device: torch.device) -> Teacher:
    """The teacher in a run's folder, or in that of a shipped model.

    Raises:
        ConfigError: it is no run, or not one of the head with heatmaps.
    """
    run = open_run(path, device=device)
    if not isinstance(run, HeadRun) or not isinstance(run.network, HeatmapNet):
        what = f"a model of the {run.kind}, {run.config.name}"
        raise ConfigError(
            f"--teacher {str(path)!r} is {what}; a teacher is a model of the head with heatmaps, such as head"
        )
    return Teacher(run)
