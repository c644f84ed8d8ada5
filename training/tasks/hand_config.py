"""Settings of the hand's task; the defaults are HRNet's of Xu et al. 2025, where the paper states them.

What it does not state, or not readably, is marked with "ours".
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from acusim.errors import ConfigError
from acusim.settings import Settings
from training.data import augmentation
from training.data.hand_augmentation import Augmentation
from training.data.hand_dataset import SIZE, SUBJECT, HandSettings, Missing
from training.eval.hand_metrics import MetricSettings, OksScale
from training.models.names import Decoding, EncoderName, HandModelName
from training.settings import MAX_SEED, BaseConfig, Normalisation, TrainConfig, check_shares
from training.tasks.hand_points import HandPoints, read_points
from training.tasks.head_config import HeatmapConfig

DEFAULT = "hand_hrnet"
STRIDE = 32
"""Factor by which the networks reduce the side of a picture."""


class HandModelConfig(Settings):
    """The network."""

    WHAT = "setting of [model]"

    name: HandModelName = "hrnet_w32"
    """hrnet_w32 and simple_baseline predict heatmaps, resnet50 and vgg16 coordinates; integral predicts the mean places
    of heatmaps, and whether each point is visible."""
    backbone: EncoderName = "light"
    """Integral: the encoder; light is the project's own for computers without a GPU."""
    decoder: int = Field(default=64, ge=8, le=1024)
    """Integral: channels of the decoder."""
    weights: str = ""
    """Initial weights: empty for random, "imagenet" for the published ones, or a safetensors file."""
    normalise: Normalisation = "imagenet"
    """Normalisation of pictures in 0..1: none, or ImageNet's mean and deviation (paper)."""
    bottleneck_dropout: float = Field(default=0.2, ge=0.0, le=0.99)
    """HRNet: within each bottleneck, after the second convolution."""
    branch_dropout: float = Field(default=0.1, ge=0.0, le=0.99)
    """HRNet: after the first basic block of each branch."""
    hand_type: bool = False
    """Whether a further head classifies the hand as left or right and as back or palm."""

    @model_validator(mode="after")
    def _encoder_of_integral(self) -> Self:
        for name in ("backbone", "decoder"):
            value = getattr(self, name)
            if self.name != "integral" and value != type(self).model_fields[name].default:
                raise ConfigError(f'{name} = {value!r} is for name = "integral"; {self.name} has layers of its own')
        return self


class HandLossConfig(Settings):
    """Target heatmaps and how points are decoded from them (networks with heatmaps only); weights of losses."""

    WHAT = "setting of [loss]"

    sigma_px: float = Field(default=6.0, ge=0.5, le=64.0)
    """Width of a point's Gaussian in pixels of the input. Ours; the published HRNet has 8 of the input's 256."""
    decoding: Decoding = "gaussian"
    """How a heatmap's peak is found. Ours; the highest pixel is ``argmax``. See training.models.heatmaps.decode."""
    hand_type: float = Field(default=0.001, ge=0.0, le=1000.0)
    """Weight of the hand type's cross-entropy beside the points' error, which begins at some 0.002 for heatmaps."""
    hidden: float = Field(default=0.0, ge=0.0, le=1.0)
    """Integral: factor on the losses of positions of points that are not visible, where a label file has them, as those
    of synthetic hands do: a palm then teaches where the points of its back are."""


class OnlineAugmentation(augmentation.Augmentation):
    """How far each picture of a batch is changed, anew in every epoch, beside the stored variants of [augment].

    A mirrored left hand is a right one: where the side is known, it is exchanged.
    """

    WHAT = "setting of [online]"


class HandDataConfig(Settings):
    """Which pictures are used, and how subjects are divided."""

    WHAT = "setting of [data]"

    size: int = Field(default=SIZE, ge=STRIDE, le=1024)
    """Side of the model's input in pixels, a multiple of 32."""
    points: str = ""
    """Mapping file of points and their labels; empty for training/tasks/hand_points.toml."""
    subject: str = SUBJECT
    """Regular expression that finds the subject in a picture's file name; see HandSettings."""
    missing: Missing = "leave out"
    """Pictures that lack a point: left out (paper), or kept; the position of a missing point has no loss, and it counts
    as not visible for networks that predict visibility."""
    val: float = Field(default=0.1, ge=0.001, le=0.9)
    """Share of the subjects that chooses the best epoch."""
    test: float = Field(default=0.2, ge=0.0, le=0.9)
    """Share of the subjects that chooses nothing."""
    split_seed: int = Field(default=0, ge=0, le=MAX_SEED)
    """Seed of the division of subjects."""
    persons: float = Field(default=1.0, gt=0.0, le=1e6)
    """Training subjects that are used: a share up to 1, or a number from 2 on; validation and test stay as they are."""

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if self.size % STRIDE:
            raise ConfigError(f"size = {self.size} is not a multiple of {STRIDE}")
        check_shares(self.val, self.test)
        self.settings()
        return self

    def settings(self) -> HandSettings:
        """How a folder is read and divided.

        Raises:
            ConfigError: it is not a regular expression, or has no group ``subject``.
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


class HandTrainConfig(TrainConfig):
    """How a hand network is trained."""

    epochs: int = Field(default=300, ge=1, le=100000)
    """Most times that every picture is seen."""
    batch_size: int = Field(default=32, ge=1, le=65536)
    """Pictures of one optimiser step, over all GPUs and accumulated parts."""
    lr: float = Field(default=5e-4, ge=1e-9, le=10.0)
    """Learning rate of AdamW. Ours: the paper's cannot be read."""
    weight_decay: float = Field(default=1e-4, ge=0.0, le=1.0)
    """Weight decay of AdamW. Ours."""
    best_by: Literal["loss", "error_px", "pck"] = "loss"  # pyright: ignore[reportIncompatibleVariableOverride]
    """Figure of the validation subjects that chooses the best epoch."""
    patience: int = Field(default=20, ge=0, le=100000)
    """Training ends after so many epochs in a row without a better one; 0 never ends it early."""
    patience_from: int = Field(default=200, ge=0, le=100000)
    """Epochs after which patience begins to count."""


class HandMetricsConfig(Settings):
    """Parameters of the metrics; see training.eval.hand_metrics."""

    WHAT = "setting of [metrics]"

    pck: float = Field(default=0.03, ge=0.0001, le=1.0)
    """Share of the square's side within which a point is correct."""
    precision_px: float = Field(default=2.0, ge=0.001, le=1000.0)
    """Pixels of the square within which a point is precise."""
    box_px: float = Field(default=20.0, ge=0.001, le=1000.0)
    """Side of the boxes whose overlap is the IoU. Ours."""
    k: float = Field(default=0.3, ge=0.001, le=10.0)
    """Of OKS, for every point."""
    oks_scale: OksScale = "points"
    """The object's area in OKS: of the box around the picture's visible points, or of the whole square. The paper does
    not say which."""


class HandConfig(BaseConfig):
    """A whole configuration of the hand's task."""

    TASK = "hand"

    name: str = DEFAULT
    model: HandModelConfig = HandModelConfig()
    loss: HandLossConfig = HandLossConfig()
    heatmap: HeatmapConfig = HeatmapConfig()
    data: HandDataConfig = HandDataConfig()
    train: HandTrainConfig = HandTrainConfig()  # pyright: ignore[reportIncompatibleVariableOverride]
    augment: Augmentation = Augmentation()
    online: OnlineAugmentation = OnlineAugmentation()
    metrics: HandMetricsConfig = HandMetricsConfig()

    def metric_settings(self) -> MetricSettings:
        """Parameters of the metrics on squares of this size."""
        metrics = self.metrics
        return MetricSettings(
            self.data.size, metrics.pck, metrics.precision_px, metrics.box_px, metrics.k, metrics.oks_scale
        )
