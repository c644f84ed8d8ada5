"""HRNet-W32 with a heatmap head (Sun et al. 2019, https://arxiv.org/abs/1902.09212).

Parameters have the names of the published ``pose_hrnet`` (github.com/leoxiaobin/deep-high-resolution-net.pytorch).
Dropout is that of Xu et al. 2025; "after the second convolutional layer" is taken as after its normalisation and ReLU.
"""

from typing import cast

import torch
from torch import Tensor, nn

from training.models.backbone_base import pooled
from training.models.hand_base import HandModel, draw_small, heatmaps_of
from training.models.resnet import BasicBlock, Bottleneck

WIDTH = 32
"""Channels of the branch with the highest resolution; each further branch has twice as many."""
STEM = 64
BOTTLENECKS = 4
BLOCKS = 4
"""Basic blocks of each branch of each module."""
MODULES = {2: 1, 3: 4, 4: 3}
"""Stage, which has as many branches -> how many modules follow one another in it."""


class FirstBlock(BasicBlock):
    """The first basic block of a branch, with dropout after it."""

    def __init__(self, width: int, dropout: float):
        super().__init__(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[B, width, H, W] -> the same."""
        return self.dropout(super().forward(x))


def convolution(inputs: int, outputs: int, stride: int, relu: bool = True) -> nn.Sequential:
    """3x3 convolution, normalisation, and a ReLU if wanted."""
    parts = [nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*parts, *([nn.ReLU(inplace=True)] if relu else []))


def exchange(source: int, target: int) -> nn.Module:
    """From the resolution and width of one branch to those of another (0 is the finest)."""
    inputs, outputs = WIDTH << source, WIDTH << target
    if source == target:
        return nn.Identity()
    if source > target:
        parts = [nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        return nn.Sequential(*parts, nn.Upsample(scale_factor=2 ** (source - target), mode="nearest"))
    halvings = [convolution(inputs, inputs, 2) for _ in range(target - source - 1)]
    return nn.Sequential(*halvings, convolution(inputs, outputs, 2, relu=False))


class StageModule(nn.Module):
    """Branches side by side, after which every branch is the sum of all."""

    def __init__(self, branches: int, outputs: int, dropout: float):
        super().__init__()
        widths = [WIDTH << branch for branch in range(branches)]
        self.branches = nn.ModuleList(
            nn.Sequential(FirstBlock(width, dropout), *(BasicBlock(width, width) for _ in range(BLOCKS - 1)))
            for width in widths
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(exchange(source, target) for source in range(branches)) for target in range(outputs)
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        """One tensor for each branch -> one for each output, each half as large as the one before."""
        x = [branch(one) for branch, one in zip(self.branches, x, strict=True)]
        out: list[Tensor] = []
        for layers in self.fuse_layers:
            first, *rest = (layer(one) for layer, one in zip(cast(nn.ModuleList, layers), x, strict=True))
            out.append(self.relu(sum(rest, first)))
        return out


def stage(branches: int, dropout: float) -> nn.Sequential:
    """The modules of a stage; of the last stage's last one only the finest branch is wanted."""
    count = MODULES[branches]
    last = 1 if branches == max(MODULES) else branches
    outputs = [branches] * (count - 1) + [last]
    return nn.Sequential(*(StageModule(branches, wanted, dropout) for wanted in outputs))


class HRNet(HandModel):
    """Heatmaps by branches of four resolutions; the finest, a quarter of the picture, makes the heatmaps."""

    OUTPUT = "heatmaps"

    def __init__(self, points: int, bottleneck_dropout: float, branch_dropout: float):
        super().__init__()
        self.conv1 = nn.Conv2d(3, STEM, 3, 2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.conv2 = nn.Conv2d(STEM, STEM, 3, 2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(STEM)
        self.relu = nn.ReLU(inplace=True)
        wide = STEM * Bottleneck.expansion
        inputs = [STEM] + [wide] * (BOTTLENECKS - 1)
        self.layer1 = nn.Sequential(*(Bottleneck(width, STEM, dropout=bottleneck_dropout) for width in inputs))
        self.transition1 = nn.ModuleList(
            [convolution(wide, WIDTH, 1), nn.Sequential(convolution(wide, WIDTH << 1, 2))],
        )
        self.stage2 = stage(2, branch_dropout)
        self.transition2 = self._added_branch(2)
        self.stage3 = stage(3, branch_dropout)
        self.transition3 = self._added_branch(3)
        self.stage4 = stage(4, branch_dropout)
        self.final_layer = nn.Conv2d(WIDTH, points, 1)
        self.feature_dim = sum(WIDTH << branch for branch in range(max(MODULES)))
        draw_small(self)

    @staticmethod
    def _added_branch(branches: int) -> nn.ModuleList:
        """The branches there are stay; one of half the coarsest's size comes from that."""
        coarser = nn.Sequential(convolution(WIDTH << (branches - 1), WIDTH << branches, 2))
        return nn.ModuleList([*(nn.Identity() for _ in range(branches)), coarser])

    def points_and_features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, H, W] -> heatmaps [B, N, H, W], and the means of all branches before the last stage keeps one."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.layer1(self.relu(self.bn2(self.conv2(out))))
        branches = self.stage2([layer(out) for layer in self.transition1])
        branches = self.stage3([*branches, self.transition2[-1](branches[-1])])
        branches = [*branches, self.transition3[-1](branches[-1])]
        features = torch.cat([pooled(branch) for branch in branches], 1)
        return heatmaps_of(self.final_layer, self.stage4(branches)[0], x), features
