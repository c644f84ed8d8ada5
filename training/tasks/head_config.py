"""Settings of the head's task; the defaults are the paper's acuSimNet."""

from typing import Literal, Self

from pydantic import Field, model_validator

from acusim.errors import ConfigError
from acusim.rig import parse_frames
from acusim.selection import parse_selection
from acusim.settings import Settings
from training.data.augmentation import Augmentation
from training.data.split import Pictures, SplitSettings
from training.models.names import EncoderName, Grouping, NetworkName, Trunk
from training.settings import MAX_SEED, BaseConfig, Normalisation, TrainConfig, check_shares

DEFAULT = "acusimnet"
VisibilityLoss = Literal["focal", "rmse"]
Mask = Literal["soft", "hard", "none"]
Uncertainty = Literal["paper", "zeros", "none"]
Reduction = Literal["sum", "mean"]
Occluded = Literal["zero", "triangulated"]


class ModelConfig(Settings):
    """The network."""

    WHAT = "setting of [model]"

    network: NetworkName = "branches"
    """branches: acuSimNet, coordinates from a feature vector; heatmaps: coordinates from a heatmap of each point."""
    backbone: EncoderName = "densenet201"
    """Network that turns a picture into features; light and tiny are the project's own for computers without a GPU."""
    decoder: int = Field(default=64, ge=8, le=1024)
    """Heatmaps: channels of the decoder."""
    weights: str = ""
    """Initial weights of the backbone: empty for random, "imagenet" for the published ones, or a safetensors file."""
    final_relu: bool = True
    """DenseNet's last ReLU, which the public code omits."""
    normalise: Normalisation = "none"
    """Normalisation of pictures in 0..1: none (paper), or ImageNet's mean and deviation."""
    grouping: Grouping = "meridians"
    """Ablation A: which acupoints share a branch."""
    trunk: Trunk = "three"
    """Layers of a branch before its heads: 1024/768/512 (public code, the paper's Table 1), or one of 512 (text)."""
    dropout: float = Field(default=1.0, ge=0.0, le=1.0)
    """Factor on the dropout of the trunk's layers; 0 for none."""
    final_scale: float = Field(default=1.0, ge=0.0, le=1.0)
    """Factor on the initial weights of visibility and coordinate heads; 0 starts them at their mean output."""
    start_xy: float = Field(default=0.0, ge=0.0, le=1.0)
    """Added to the initial coordinates, which are about 0; 0.5 starts at the picture's centre."""

    @model_validator(mode="after")
    def _relu_of_densenet(self) -> Self:
        if not self.final_relu and not self.backbone.startswith("densenet"):
            raise ConfigError(f"final_relu = False is for DenseNet; {self.backbone} has no ReLU to leave out")
        return self


class LossConfig(Settings):
    """What is minimised. Equations are the paper's."""

    WHAT = "setting of [loss]"

    visibility: VisibilityLoss = "focal"
    """Equation 4, or the root mean square error of the acuSim baseline."""
    alpha: float = Field(default=0.25, ge=0.0, le=1.0)
    """Focal loss: weight of visible points."""
    alpha_occluded: float | None = Field(default=None, ge=0.0, le=1.0, json_schema_extra={"default": "1 - alpha"})
    """Focal loss: weight of occluded points; 0.25 is the paper's equation as it is printed, with one alpha for both."""
    gamma: float = Field(default=2.0, ge=0.0, le=10.0)
    """Focal loss: exponent."""
    omega: float = Field(default=4.0, ge=0.01, le=100.0)
    """Soft wing loss: scale."""
    epsilon: float = Field(default=0.2, ge=0.001, le=10.0)
    """Soft wing loss: curvature."""
    theta: float = Field(default=0.5, ge=0.001, le=10.0)
    """Soft wing loss: error from which it is linear."""
    mask: Mask = "soft"
    """Ablation B: weights of coordinate and class losses by predicted visibility. soft: equation 2 (B0); hard: 1 from
    p = 0.5 on, else 0 (B1); none: 1 (B2)."""
    guided: bool = True
    """Ablation D: predicted visibility guides the other tasks (D0); false sets every mask to 1, whatever it is (D1)."""
    tau_low: float = Field(default=0.075, ge=0.0, le=0.5)
    """Soft mask: probability below which the weight is 0."""
    tau_high: float = Field(default=0.925, ge=0.5, le=1.0)
    """Soft mask: probability from which the weight is 1."""
    floor: float = Field(default=0.075, ge=0.0, le=1.0)
    """Soft mask: least weight between the two."""
    decay: bool = True
    """Equation 3: the weight of occluded points in the coordinate loss decays."""
    decay_start: float = Field(default=25.0, ge=0.0, le=100000.0)
    """Equation 3: a, in epochs."""
    decay_end: float = Field(default=125.0, ge=0.0, le=100000.0)
    """Equation 3: b, in epochs."""
    decay_floor: float = Field(default=0.03, ge=0.0, le=1.0)
    """Equation 3: w_min."""
    occluded: float = Field(default=1.0, ge=0.0, le=1.0)
    """Factor on the coordinate loss of occluded points, beside equation 3's."""
    uncertainty: Uncertainty = "paper"
    """Ablation C: initial log sigma 0, 1, -5 (C0), zeros (C1), or no such parameters (C2)."""
    reduction: Reduction = "sum"
    """Reduction over the batch; over the points of a picture it always is the sum."""

    @model_validator(mode="after")
    def _decay_in_order(self) -> Self:
        if self.decay and self.decay_end <= self.decay_start:
            raise ConfigError(f"decay_end = {self.decay_end} is not above decay_start = {self.decay_start}")
        return self


class HeatmapConfig(Settings):
    """What a network with heatmaps minimises; see training.models.heatmap_loss."""

    WHAT = "setting of [heatmap]"

    coordinate: float = Field(default=35.0, ge=0.0, le=1e4)
    """Weight of the coordinates' error."""
    visibility: float = Field(default=4.0, ge=0.0, le=1e4)
    """Weight of visibility's cross-entropy."""
    heatmap: float = Field(default=0.9, ge=0.0, le=1e4)
    """Weight of the cross-entropy of the heatmaps' marginals."""
    sigma_px: float = Field(default=1.0, gt=0.0, le=64.0)
    """Standard deviation of a marginal's target, in pixels of the heatmap (four of the picture)."""
    teacher: float = Field(default=1.0, ge=0.0, le=1e4)
    """With ``train --teacher``: factor on what is learnt from the teacher, beside the labels."""


class DataConfig(Settings):
    """Which pictures are used, and how persons are divided."""

    WHAT = "setting of [data]"

    size: int = Field(default=512, ge=32, le=1024)
    """Side of the pictures in pixels."""
    frames: str = "kept"
    """kept (the 45 of the public loader), kept44 (these without frame 108, the number that the augmentation paper
    gives), all, or 1,2,5-9."""
    select: str = ""
    """Further conditions, as the controller's --select takes them."""
    train_pictures: Pictures = "all"
    """Pictures of the training persons to train on, where augmented ones are available."""
    val_pictures: Pictures = "originals"
    """Pictures of the validation persons."""
    test_pictures: Pictures = "all"
    """Pictures of the test persons that are set apart; evaluate chooses among them."""
    val: float = Field(default=0.1, ge=0.001, le=0.9)
    """Share of the persons that chooses the best epoch."""
    test: float = Field(default=0.2, ge=0.0, le=0.9)
    """Share of the persons that chooses nothing."""
    split_seed: int = Field(default=0, ge=0, le=MAX_SEED)
    """Seed of the division of persons."""
    persons: float = Field(default=1.0, gt=0.0, le=1e6)
    """Training persons that are used: a share up to 1, or a number from 2 on; validation and test stay as they are."""
    occluded: Occluded = "zero"
    """Positions of occluded points in training: zero as in AcuSim's labels, or triangulated: those of the person's head
    in 3D, from its labels in all views; points that it never shows come from a template of all persons."""
    bald_codes: str = "auto"
    """Hair codes that mean bald, as the controller's --bald-codes takes them."""

    @model_validator(mode="after")
    def _readable(self) -> Self:
        parse_frames(self.frames)
        parse_selection(self.select)
        check_shares(self.val, self.test)
        return self

    def split(self) -> SplitSettings:
        """How persons are divided."""
        return SplitSettings(
            train=1 - self.val - self.test,
            val=self.val,
            test=self.test,
            seed=self.split_seed,
            train_pictures=self.train_pictures,
            val_pictures=self.val_pictures,
            test_pictures=self.test_pictures,
        )


class HeadTrainConfig(TrainConfig):
    """How acuSimNet is trained."""

    best_by: Literal["micro", "macro", "joint", "error_px", "loss"] = "micro"  # pyright: ignore[reportIncompatibleVariableOverride]


class HeadConfig(BaseConfig):
    """A whole configuration of the head's task."""

    TASK = "head"

    name: str = DEFAULT
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    heatmap: HeatmapConfig = HeatmapConfig()
    data: DataConfig = DataConfig()
    train: HeadTrainConfig = HeadTrainConfig()  # pyright: ignore[reportIncompatibleVariableOverride]
    augment: Augmentation = Augmentation()

    @model_validator(mode="after")
    def _heatmaps(self) -> Self:
        if self.model.network == "heatmaps" and self.data.size % 32:
            raise ConfigError(f"data.size = {self.data.size} is not a multiple of 32, which heatmaps need")
        if self.model.network == "heatmaps" and self.data.occluded == "zero" and self.loss.occluded:
            raise ConfigError(
                'model.network = "heatmaps" would learn that occluded points are at (0, 0); set data.occluded = '
                '"triangulated", or loss.occluded = 0 to learn nothing of their positions'
            )
        return self
