"""Weights from a file, or the published ones, into a backbone or another network.

Files are safetensors; pickled ones are refused, since loading one can run code. This converts a ``.pth`` of torchvision
(``weights_only`` keeps torch from running code)::

    python -c "import sys, torch, safetensors.torch as s; s.save_file({k: v.contiguous() for k, v in \
torch.load(sys.argv[1], weights_only=True).items()}, sys.argv[2])" resnet50-0676ba61.pth resnet50.safetensors

Names are torchvision's, or those of its published DenseNet files, or timm's. The 1000-class layer is ignored, and
``num_batches_tracked``, which older files lack, may be missing.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from acusim.errors import ConfigError, LayoutError, few, shown
from acusim.tensor_files import Tensor, read_header
from training.models import published
from training.models.backbone_base import Backbone

IMAGENET = "imagenet"
"""The source of the published weights."""
FLOATS = ("F64", "F32", "F16", "BF16")
NAMED = 4
"""Most tensors named in a message."""
COUNTER = "num_batches_tracked"
TIMM_CLASSIFIER = "head.fc."

_RENAMED: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"(denselayer\d+\.(?:norm|conv))\.(\d)\.", r"\1\2."),  # torchvision's published DenseNet files
    (r"^pre_logits\.fc1\.", "classifier.0."),  # the others are timm's
    (r"^pre_logits\.fc2\.", "classifier.3."),
    (r"^head\.norm\.", "classifier.0."),
    (r"^stem\.", "features.0."),
    (r"^stages\.(\d)\.downsample\.", lambda match: f"features.{2 * int(match[1])}."),
    (r"^stages\.(\d)\.blocks\.", lambda match: f"features.{2 * int(match[1]) + 1}."),
    (r"\.conv_dw\.", ".block.0."),
    (r"^(features\.\d\.\d+)\.norm\.", r"\1.block.2."),
    (r"\.mlp\.fc1\.", ".block.3."),
    (r"\.mlp\.fc2\.", ".block.5."),
    (r"\.gamma$", ".layer_scale"),
)
"""Other names for the same tensors -> torchvision's."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The weights that were loaded."""

    source: str
    """The file's name, or "imagenet"."""
    sha256: str
    """Of the file, hex."""
    note: str
    """Message for the user: its origin, and what its hash was compared with."""


def load_weights(backbone: Backbone, source: str | Path) -> Loaded:
    """Replaces all weights of a backbone; see ``load_into``."""
    return load_into(backbone, source, backbone.name, ignored=(backbone.CLASSIFIER, TIMM_CLASSIFIER))


def load_into(
    network: nn.Module, source: str | Path, name: str, *, ignored: tuple[str, ...], kept: tuple[str, ...] = ()
) -> Loaded:
    """Replaces the weights of a network.

    Args:
        network: on any device but "meta"; keeps its device and precision.
        source: a safetensors file, or "imagenet" for the published weights, which are fetched if need be.
        name: of the network, among those of ``published.PUBLISHED``.
        ignored: prefixes of tensors that the file may have and the network has not.
        kept: prefixes of the network's tensors that are not replaced.

    Raises:
        ConfigError: the file is not safetensors, does not fit the network, has numbers that are not finite, or is not
            available. The network is unchanged then.
    """
    if source == IMAGENET:
        own = sum(value.numel() * value.element_size() for value in network.state_dict().values())
        path, digest, note = published.fetch(name, own)
    else:
        path = Path(source)
        header_of(path)  # refuses another kind of file before reading all of it
        digest = published.file_sha256(path)
        note = f"{path.name}, SHA-256 {digest}"
    own = network.state_dict()
    names = _match(name, {key: value for key, value in own.items() if not key.startswith(kept)}, path, ignored)
    _load(network, path, names)
    return Loaded(IMAGENET if source == IMAGENET else path.name, digest, note)


def header_of(path: Path) -> dict[str, Tensor]:
    """Names, types and shapes in a safetensors file.

    Raises:
        ConfigError: it is not one; states what it is.
    """
    try:
        return read_header(path)
    except LayoutError as error:
        hint = "; weights are safetensors files (training/models/pretrained.py shows how to convert a .pth)"
        raise ConfigError(f"{error}{hint}") from None


def torchvision_name(name: str) -> str:
    """torchvision's name of a tensor that may have timm's, or that of a published DenseNet file."""
    for pattern, new in _RENAMED:
        name = re.sub(pattern, new, name)
    return name


def _load(network: nn.Module, path: Path, names: dict[str, str]) -> None:
    from safetensors import safe_open

    own = network.state_dict()
    with safe_open(path, framework="pt") as file:
        state = {ours: file.get_tensor(theirs).reshape(own[ours].shape) for ours, theirs in names.items()}
    broken = [name for name, value in state.items() if not value.isfinite().all()]
    if broken:
        raise ConfigError(f"{path.name!r} has numbers that are not finite, in {_some(broken)}: choose another file")
    network.load_state_dict(own | state)


def _match(name: str, own: Mapping[str, torch.Tensor], path: Path, ignored: tuple[str, ...]) -> dict[str, str]:
    """Our name -> the file's, for every tensor that is loaded."""
    found: dict[str, str] = {}
    unexpected: list[str] = []
    misfits: dict[str, str] = {}
    for theirs, tensor in header_of(path).items():
        ours = torchvision_name(theirs)
        if ours.startswith(ignored):
            continue
        if ours not in own or ours in found or ours in misfits:
            unexpected.append(theirs)
        elif not _fits(tensor, tuple(own[ours].shape), theirs != ours):
            misfits[ours] = f"{theirs} {list(tensor.shape)} {tensor.dtype} for {list(own[ours].shape)}"
        else:
            found[ours] = theirs
    missing = [key for key in own if key not in found | misfits and not key.endswith(COUNTER)]
    kinds = (("missing", missing), ("unexpected", unexpected), ("of another shape or type", list(misfits.values())))
    if what := [f"{kind} {len(names)} ({_some(names)})" for kind, names in kinds if names]:
        raise ConfigError(
            f"{path.name!r} does not fit {name}: {'; '.join(what)}. Choose a file of this network with "
            "torchvision's or timm's names, or another network"
        )
    return found


def _fits(tensor: Tensor, shape: tuple[int, ...], renamed: bool) -> bool:
    """Whether a tensor can be loaded; under another name it may be arranged differently, as timm's 1x1 layers are."""
    if not shape:
        return tensor.shape == () and tensor.dtype == "I64"
    same = math.prod(tensor.shape) == math.prod(shape) if renamed else tensor.shape == shape
    return same and tensor.dtype in FLOATS


def _some(names: list[str]) -> str:
    return few([shown(name) for name in names], NAMED)
