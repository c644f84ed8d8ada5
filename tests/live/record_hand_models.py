"""Records what the published pose networks make of seeded weights and pictures, and what their decoding makes of maps.

    python -m tests.live.record_hand_models --source DIR --out tests/data/training

DIR is a git clone of github.com/leoxiaobin/deep-high-resolution-net.pytorch, whose code is called where it lies. On the
CPU, in float32. Needs PyYAML beside the project's own requirements, which bring it.

Written: ``hand_models.json``: the commit; by network (17 points, as published for COCO) ``parameters`` and ``keys``
(SHA-256 of the lines "name dtype shape"), ``heatmaps`` in evaluation mode and ``training_heatmaps``; ``decoded``: the
published decoding (with its quarter of a pixel) of the maps of tests.training.models.seeded_weights, in pixels.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
import yaml

from tests.training.models.seeded_weights import (
    HAND_PICTURES,
    keys_sha256,
    seeded_maps,
    seeded_pictures,
    seeded_state,
    summary,
)

CONFIGS = {
    "pose_hrnet": "experiments/coco/hrnet/w32_256x192_adam_lr1e-3.yaml",
    "pose_resnet": "experiments/coco/resnet/res50_256x192_d256x3_adam_lr1e-3.yaml",
}


class Settings(dict[str, Any]):
    """Settings by key and by attribute, as the published code reads them."""

    __getattr__ = dict.__getitem__


def _settings(value: Any) -> Any:
    return Settings({key: _settings(one) for key, one in value.items()}) if isinstance(value, dict) else value


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def network(source: Path, name: str) -> dict[str, Any]:
    """What is recorded of one network."""
    settings = _settings(yaml.safe_load((source / CONFIGS[name]).read_text()))
    settings["MODEL"]["EXTRA"].setdefault("DECONV_WITH_BIAS", False)  # the default of lib/config/models.py
    model = _module(source / "lib" / "models" / f"{name}.py").get_pose_net(settings, is_train=False)
    model.load_state_dict(seeded_state(model.state_dict()))
    pictures = seeded_pictures(HAND_PICTURES)
    with torch.no_grad():
        return {
            "parameters": sum(value.numel() for value in model.parameters()),
            "keys": keys_sha256(model.state_dict()),
            "heatmaps": summary(model.eval()(pictures)),
            "training_heatmaps": summary(model.train()(pictures)),
        }


def decoded(source: Path) -> list[Any]:
    """The published decoding, without the way back to a larger picture."""
    sys.modules["utils"] = ModuleType("utils")
    transforms = ModuleType("utils.transforms")
    transforms.__dict__["transform_preds"] = lambda coordinates, *_: coordinates
    sys.modules["utils.transforms"] = transforms
    inference = _module(source / "lib" / "core" / "inference.py")
    maps = seeded_maps().numpy()
    config = SimpleNamespace(TEST=SimpleNamespace(POST_PROCESS=True))
    return inference.get_final_preds(config, maps, [None] * len(maps), [None] * len(maps))[0].tolist()


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    line = ["git", "-C", str(options.source), "rev-parse", "HEAD"]
    out: dict[str, Any] = {"commit": subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()}
    out |= {name: network(options.source, name) for name in CONFIGS} | {"decoded": decoded(options.source)}
    (options.out / "hand_models.json").write_text(json.dumps(out) + "\n")


if __name__ == "__main__":
    main()
