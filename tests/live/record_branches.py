"""Records what the public code's branches make of seeded weights and features: a golden of test_branches.py.

    python -m tests.live.record_branches --source DIR --out tests/data/training

DIR is a git clone, bare or not, of github.com/ZoeApokalypse/acuSimNet. Only its class MeridianLayer is called, taken
out of acuSimNet.py, whose imports need a GPU. On the CPU, in float32, in evaluation mode.

Written: ``branches.json``: the commit; of each meridian, in the public order, the number of its points and a summary of
``visibility``, ``coordinate`` and ``classifier`` for FEATURES.
"""

import argparse
import ast
import json
import subprocess
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.training.models.seeded_weights import seeded_tensor, summary

FEATURES = (3, 48)
"""Pictures and features; the public code has 1920, whose weights would take long to draw."""
SIZES = (10, 20, 12, 22, 18, 42, 31, 2, 17)
"""Points of the meridians in the public code."""
PUBLIC = {"trunk": "shared_fc", "visibility": "vis_head", "coordinate": "coord_head", "classifier": "cls_head"}
"""Our names of layers and the public ones."""
OUTPUTS = {"visibility": "vis", "coordinate": "coord", "classifier": "cls"}


def public_layer(source: Path) -> tuple[str, type[nn.Module]]:
    """The commit and the public code's class of a branch."""
    git = ["git", "-C", str(source)]
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    text = subprocess.run([*git, "show", "HEAD:acuSimNet.py"], capture_output=True, text=True, check=True).stdout
    [tree] = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef) and node.name == "MeridianLayer"]
    names: dict[str, Any] = {"nn": nn, "torch": torch}
    exec(compile(ast.Module([tree], []), "acuSimNet.py", "exec"), names)
    return commit, names["MeridianLayer"]


def features() -> Tensor:
    """[3, 48] seeded features."""
    return seeded_tensor("features", torch.zeros(FEATURES))


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    commit, layer = public_layer(options.source)
    rows = []
    for number, points in enumerate(SIZES):
        branch = layer(points, FEATURES[1]).eval()
        parameters = dict(branch.named_parameters())
        with torch.no_grad():
            for ours, public in PUBLIC.items():
                for name, parameter in parameters.items():
                    if name.startswith(f"{public}."):
                        own = f"{number}.{ours}.{name.removeprefix(f'{public}.')}"
                        parameter.copy_(seeded_tensor(own, parameter))
            output = branch(features())
        rows.append({"points": points, **{ours: summary(output[key]) for ours, key in OUTPUTS.items()}})
    (options.out / "branches.json").write_text(json.dumps({"commit": commit, "meridians": rows}) + "\n")


if __name__ == "__main__":
    main()
