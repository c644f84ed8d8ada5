"""VGG (Simonyan and Zisserman 2015, https://arxiv.org/abs/1409.1556), 16 and 19 layers, with and without batch norm."""

from torch import Tensor, nn

from training.models.backbone_base import Backbone
from training.models.names import BackboneName

WIDTHS = (64, 128, 256, 512, 512)
COUNTS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
"""Convolutions of each stage; a stage ends with a 2x2 maximum."""
POOLED = 7
"""Height and width of what the linear layers read, whatever the size of the picture."""
HIDDEN = 4096
DROPOUT = 0.5


class VGG(Backbone):
    """VGG with its two hidden linear layers, without the last one."""

    CLASSIFIER = "classifier.6."

    def __init__(self, name: BackboneName):
        super().__init__(name, HIDDEN)
        layers: list[nn.Module] = []
        channels = 3
        for width, count in zip(WIDTHS, COUNTS[name.removesuffix("_bn")], strict=True):
            for _ in range(count):
                layers.append(nn.Conv2d(channels, width, 3, padding=1))
                if name.endswith("_bn"):
                    layers.append(nn.BatchNorm2d(width))
                layers.append(nn.ReLU(inplace=True))
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(POOLED)
        self.classifier = nn.Sequential(
            nn.Linear(channels * POOLED**2, HIDDEN),
            nn.ReLU(inplace=True),
            nn.Dropout(DROPOUT),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(inplace=True),
            nn.Dropout(DROPOUT),
        )
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(part.bias)  # type: ignore[arg-type]
            elif isinstance(part, nn.Linear):
                nn.init.normal_(part.weight, std=0.01)
                nn.init.zeros_(part.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, 4096]."""
        return self.classifier(self.avgpool(self.features(x)).flatten(1))
