"""Everything that decides a run of the hand's task; the defaults are HRNet's of Xu et al. 2025, where they tell them.

What they do not tell, or not readably, is marked with "ours".
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from acusim.errors import ConfigError
from acusim.settings import check_fields, choice, number
from training.config import Normalisation
from training.data.hand_augmentation import Augmentation
from training.data.hand_dataset import SIZE, SUBJECT, HandSettings, Missing
from training.eval.hand_metrics import MetricSettings
from training.models.hand_networks import HAND_MODELS, HandModelName
from training.models.heatmaps import DECODINGS, Decoding
from training.settings import BaseConfig, TrainConfig
from training.tasks.hand_points import HandPoints, read_points

DEFAULT = "hand_hrnet"
STRIDE = 32
"""What the networks make the side of a picture smaller by."""


@dataclass(frozen=True, kw_only=True)
class HandModelConfig:
    """The network."""

    name: HandModelName = choice("hrnet_w32", *HAND_MODELS)
    """hrnet_w32 and simple_baseline predict heatmaps, resnet50 and vgg16 coordinates."""
    weights: str = ""
    """Where it starts: empty for random, "imagenet" for the published weights, or a safetensors file."""
    normalise: Normalisation = choice("imagenet", *get_args(Normalisation))
    """What is done to pictures in 0..1: nothing, or ImageNet's mean and deviation (paper)."""
    bottleneck_dropout: float = number(0.2, 0.0, 0.99)
    """HRNet: within each bottleneck, after the second convolution."""
    branch_dropout: float = number(0.1, 0.0, 0.99)
    """HRNet: after the first basic block of each branch."""
    hand_type: bool = False
    """Whether it also tells the left from the right hand and the back from the palm, by a head of its own."""

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class HandLossConfig:
    """Heatmaps that are learned and how points are read from them, which coordinates do not need; weights."""

    sigma_px: float = number(6.0, 0.5, 64.0)
    """Width of a point's Gaussian in pixels of the input. Ours; the published HRNet has 8 of the input's 256."""
    decoding: Decoding = choice("gaussian", *DECODINGS)
    """How a heatmap's peak is found. Ours; the highest pixel is ``argmax``. See training.models.heatmaps.decode."""
    hand_type: float = number(0.001, 0.0, 1000.0)
    """Weight of the hand type's cross-entropy beside the points' error, which begins at some 0.002 for heatmaps."""

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class HandDataConfig:
    """Which pictures, and who is in which part."""

    size: int = number(SIZE, STRIDE, 1024)
    """Side of the model's input in pixels, a multiple of 32."""
    points: str = ""
    """Mapping file of points and their labels; empty for training/tasks/hand_points.toml."""
    subject: str = SUBJECT
    """Regular expression that tells the subject from a picture's file name; see HandSettings."""
    missing: Missing = choice("leave out", *get_args(Missing))
    """Pictures that lack a point: left out (paper), or kept; a point that is not there has no loss."""
    val: float = number(0.1, 0.001, 0.9)
    """Share of the subjects that chooses the best epoch."""
    test: float = number(0.2, 0.0, 0.9)
    """Share of the subjects that nothing is chosen by."""
    split_seed: int = number(0, 0, 2**31)
    """Draws who is in which part."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.size % STRIDE:
            raise ConfigError(f"size = {self.size} is not a multiple of {STRIDE}")
        if self.val + self.test > 0.95:
            raise ConfigError(f"val + test = {self.val + self.test:g} leave too little to train on")
        self.settings()

    def settings(self) -> HandSettings:
        """How a folder is read and divided.

        Raises:
            ConfigError: the regular expression is none, or has no group ``subject``.
        """
        return HandSettings(
            subject=self.subject,
            missing=self.missing,
            train=1 - self.val - self.test,
            val=self.val,
            test=self.test,
            seed=self.split_seed,
        )

    def mapping(self) -> HandPoints:
        """The points of the mapping file.

        Raises:
            ConfigError: the file is wrong.
        """
        return read_points(Path(self.points)) if self.points else read_points()


@dataclass(frozen=True, kw_only=True)
class HandTrainConfig(TrainConfig):
    """How it is trained."""

    epochs: int = number(300, 1, 100000)
    batch_size: int = number(32, 1, 65536)
    lr: float = number(5e-4, 1e-9, 10.0)
    """Ours: the paper's cannot be read."""
    weight_decay: float = number(1e-4, 0.0, 1.0)
    """Ours."""
    best_by: str = choice("loss", "loss", "error_px", "pck")
    patience: int = number(20, 0, 100000)
    patience_from: int = number(200, 0, 100000)


@dataclass(frozen=True, kw_only=True)
class HandMetricsConfig:
    """What the figures are measured with; see training.eval.hand_metrics."""

    pck: float = number(0.03, 0.0001, 1.0)
    """Share of the square's side within which a point is correct."""
    precision_px: float = number(2.0, 0.001, 1000.0)
    """Pixels of the square within which a point is precise."""
    box_px: float = number(20.0, 0.001, 1000.0)
    """Side of the boxes whose overlap is the IoU. Ours."""
    k: float = number(0.3, 0.001, 10.0)
    """Of OKS, for every point."""

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class HandConfig(BaseConfig):
    """A whole configuration of the hand's task."""

    TASK = "hand"

    name: str = DEFAULT
    model: HandModelConfig = field(default_factory=HandModelConfig)
    loss: HandLossConfig = field(default_factory=HandLossConfig)
    data: HandDataConfig = field(default_factory=HandDataConfig)
    train: HandTrainConfig = field(default_factory=HandTrainConfig)
    augment: Augmentation = field(default_factory=Augmentation)
    metrics: HandMetricsConfig = field(default_factory=HandMetricsConfig)

    def metric_settings(self) -> MetricSettings:
        """What figures of the squares are measured with."""
        metrics = self.metrics
        return MetricSettings(self.data.size, metrics.pck, metrics.precision_px, metrics.box_px, metrics.k)
