"""SimpleBaseline with ResNet-50 (Xiao et al. 2018, https://arxiv.org/abs/1804.06208): a backbone, three deconvolutions.

Parameters have the names of the published ``pose_resnet`` (github.com/leoxiaobin/deep-high-resolution-net.pytorch),
those of the backbone after ``backbone.``.
"""

from torch import Tensor, nn

from training.models import backbones
from training.models.backbone_base import pooled
from training.models.hand_base import HandModel, draw_small, heatmaps_of

FILTERS = (256, 256, 256)


class SimpleBaseline(HandModel):
    """Heatmaps from the last feature map, enlarged eight times by deconvolutions to a quarter of the picture."""

    OUTPUT = "heatmaps"

    def __init__(self, points: int):
        super().__init__()
        self.backbone = backbones.create("resnet50")
        layers: list[nn.Module] = []
        self.feature_dim = inputs = self.backbone.feature_dim
        for outputs in FILTERS:
            layers.append(nn.ConvTranspose2d(inputs, outputs, 4, 2, padding=1, bias=False))
            layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
            inputs = outputs
        self.deconv_layers = nn.Sequential(*layers)
        self.final_layer = nn.Conv2d(inputs, points, 1)
        draw_small(self.deconv_layers)
        draw_small(self.final_layer)

    def points_and_features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, H, W] -> heatmaps [B, N, H, W], and the mean of the backbone's last map."""
        last = self.backbone.features(x)
        return heatmaps_of(self.final_layer, self.deconv_layers(last), x), pooled(last)
