"""Records what torchvision's models make of seeded weights and pictures, for tests/training/models/test_backbones.py.

    PYTHON -m tests.live.record_backbones --out tests/data/training

PYTHON is one that has torchvision (0.29.2 was used) beside the torch that fits it, timm (1.0.31), numpy and Pillow; the
project itself does without torchvision and timm. All on the CPU, in float32.

Written: ``backbones.json``: by model, ``parameters`` and ``keys`` (SHA-256 of the lines "name dtype shape" of its state
dict) without the 1000-class layer; for one or two of each family ``features`` and ``vector`` in evaluation mode, and
where there are batch norms ``training_features`` and ``running_mean`` of the last one after it. A DenseNet's features
are those before its last ReLU, as torchvision has them; ``vector_without_relu`` is their mean. ``timm_names.json``:
names and shapes in timm's state dicts, for the two families that it names in its own way.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from tests.training.models.seeded_weights import keys_sha256, seeded_pictures, seeded_state, summary

CLASSIFIER = {"resnet": "fc", "densenet": "classifier", "convnext": "classifier.2", "vgg": "classifier.6"}
"""Family -> the 1000-class layer."""
MODELS = ("resnet18", "resnet50", "resnet101", "resnet152", "densenet169", "densenet201", "convnext_base")
MODELS += ("convnext_large", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn")
RUN = {
    "resnet18": "layer4.1.bn2",
    "resnet50": "layer4.2.bn3",
    "densenet169": "features.norm5",
    "densenet201": "features.norm5",
    "convnext_base": None,
    "vgg16": None,
    "vgg16_bn": "features.41",
}
"""Models whose numbers are recorded -> the batch norm whose running mean is."""

TIMM = ("convnext_base", "vgg16_bn")


def classifier_of(name: str) -> str:
    """The name of the 1000-class layer."""
    return next(layer for family, layer in CLASSIFIER.items() if name.startswith(family))


def feature_map(name: str, model: Any, x: torch.Tensor) -> torch.Tensor:
    """torchvision's last feature map; a ResNet's is put together from its stages."""
    if not name.startswith("resnet"):
        return model.features(x)
    x = model.maxpool(model.relu(model.bn1(model.conv1(x))))
    return model.layer4(model.layer3(model.layer2(model.layer1(x))))


def record(name: str, build: Any) -> dict[str, Any]:
    """What is recorded of one model."""
    with torch.device("meta"):
        model = build(name, weights=None)
    model.set_submodule(classifier_of(name), torch.nn.Identity())
    out: dict[str, Any] = {
        "parameters": sum(value.numel() for value in model.parameters()),
        "keys": keys_sha256(model.state_dict()),
    }
    if name not in RUN:
        return out
    model.load_state_dict(seeded_state(model.state_dict()), assign=True)
    with torch.no_grad():
        out["features"] = summary(feature_map(name, model.eval(), seeded_pictures()))
        out["vector"] = summary(model(seeded_pictures()))
        if name.startswith("densenet"):
            out["vector_without_relu"] = summary(model.features(seeded_pictures()).mean((2, 3)))
        if RUN[name]:
            out["training_features"] = summary(feature_map(name, model.train(), seeded_pictures()))
            out["running_mean"] = summary(model.get_submodule(RUN[name]).running_mean)
    return out


def main() -> None:
    """Writes the file."""
    import timm
    import torchvision

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    models = {name: record(name, torchvision.models.get_model) for name in MODELS}
    versions = {"torchvision": torchvision.__version__, "torch": torch.__version__}
    (out / "backbones.json").write_text(json.dumps({"versions": versions, "models": models}, indent=1) + "\n")
    with torch.device("meta"):
        states = {name: timm.create_model(name).state_dict() for name in TIMM}
    names = {model: {name: list(value.shape) for name, value in state.items()} for model, state in states.items()}
    (out / "timm_names.json").write_text(json.dumps({"timm": timm.__version__, **names}) + "\n")


if __name__ == "__main__":
    main()
