"""Weights from files of several origins, and what is refused."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from acusim.errors import ConfigError
from tests.support import ROOT
from tests.training.models.seeded_weights import seeded_state
from training.models import published
from training.models.backbone_base import Backbone
from training.models.backbones import create
from training.models.names import BACKBONES
from training.models.pretrained import TIMM_CLASSIFIER, Loaded, load_weights, torchvision_name

State = dict[str, torch.Tensor]


def resnet() -> Backbone:
    with torch.device("meta"):
        return create("resnet18").to_empty(device="cpu")


@pytest.fixture(scope="module")
def state() -> State:
    """Weights of ResNet-18."""
    return seeded_state(create("resnet18").state_dict())


@pytest.fixture
def saved(tmp_path: Path, state: State) -> Callable[..., Path]:
    """Writes the weights, with other tensors instead of some; None leaves one out."""

    def save(**changed: torch.Tensor | None) -> Path:
        new = state | {name.replace("__", "."): value for name, value in changed.items()}
        path = tmp_path / "weights.safetensors"
        save_file({name: value for name, value in new.items() if value is not None}, path)
        return path

    return save


def test_a_file_with_torchvisions_names_is_loaded_whole(saved: Callable[..., Path], state: State):
    path = saved(fc__weight=torch.zeros(1000, 512), fc__bias=torch.zeros(1000))
    backbone = resnet()
    loaded = load_weights(backbone, path)
    assert all(torch.equal(value, state[name]) for name, value in backbone.state_dict().items())
    assert loaded.source == "weights.safetensors" and len(loaded.sha256) == 64 and loaded.sha256 in loaded.note


def test_counters_may_be_missing_and_half_precision_is_widened(saved: Callable[..., Path], state: State):
    path = saved(**{name: value.half() if value.is_floating_point() else None for name, value in state.items()})
    backbone = create("resnet18")
    load_weights(backbone, str(path))
    assert backbone.get_buffer("bn1.num_batches_tracked") == 0
    weight = backbone.get_parameter("conv1.weight")
    assert weight.dtype == torch.float32 and torch.equal(weight, state["conv1.weight"].half().float())


def test_what_does_not_fit_is_named_and_changes_nothing(saved: Callable[..., Path], state: State):
    cases: list[tuple[dict[str, Any], str]] = [
        ({"conv1__weight": None}, r"missing 1 \('conv1.weight'\)"),
        ({"conv9__weight": torch.zeros(1)}, r"unexpected 1 \('conv9.weight'\)"),
        (
            {"conv1__weight": torch.zeros(64, 1, 7, 7)},
            r"fit resnet18: of another shape or type 1 \('conv1.weight \[64, 1, 7, 7\] F32 for \[64, 3, 7, 7\]'\)",
        ),
        ({"bn1__bias": torch.zeros(64, dtype=torch.int8)}, "bn1.bias .* I8 for"),
        ({"bn1__bias": torch.full((64,), torch.nan)}, "not finite, in 'bn1.bias'"),
        ({name: None for name in state if "layer4" in name}, r"missing 25 \('layer4.*' and 21 more\)"),
    ]
    backbone = resnet()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    for changed, message in cases:
        with pytest.raises(ConfigError, match=message):
            load_weights(backbone, saved(**changed))
    assert all(
        value.numpy().tobytes() == before[name].numpy().tobytes() for name, value in backbone.state_dict().items()
    )


def test_pickled_and_broken_files_are_refused_unopened(tmp_path: Path):
    class Trap:
        def __reduce__(self):
            return exec, ("raise AssertionError('code was run')",)

    path = tmp_path / "resnet18.pth"
    for data, message in (
        (pickle.dumps({"conv1.weight": Trap()}), "pickled PyTorch file.*weights are safetensors files"),
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    ):
        path.write_bytes(data)
        with pytest.raises(ConfigError, match=message):
            load_weights(create("resnet18"), path)
    with pytest.raises(ConfigError, match="No such file"):
        load_weights(create("resnet18"), tmp_path / "nothing")


def test_timms_names_are_all_known():
    recorded = json.loads((ROOT / "tests/data/training/timm_names.json").read_text())
    for name in ("convnext_base", "vgg16_bn"):
        with torch.device("meta"):
            backbone = create(name)
        found = {torchvision_name(theirs): shape for theirs, shape in recorded[name].items()}
        assert len(found) == len(recorded[name])
        own = {key: int(np.prod(value.shape)) for key, value in backbone.state_dict().items()}
        sizes = {key: int(np.prod(shape)) for key, shape in found.items() if not key.startswith(TIMM_CLASSIFIER)}
        assert sizes == own


def test_names_of_published_densenet_files():
    for theirs, ours in (
        ("features.denseblock1.denselayer2.norm.1.weight", "features.denseblock1.denselayer2.norm1.weight"),
        ("features.denseblock4.denselayer32.conv.2.weight", "features.denseblock4.denselayer32.conv2.weight"),
        ("features.transition1.norm.weight", "features.transition1.norm.weight"),
        ("features.norm5.bias", "features.norm5.bias"),
    ):
        assert torchvision_name(theirs) == ours


def test_every_network_has_one_published_file():
    assert tuple(published.PUBLISHED) == (*BACKBONES, "hrnet_w32")
    for file in published.PUBLISHED.values():
        assert file.sha256 is None or (len(file.sha256) == 64 and int(file.sha256, 16))
        assert file.revision == "main" or (len(file.revision) == 40 and int(file.revision, 16))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, saved: Callable[..., Path]) -> dict[str, Any]:
    """A hub that has one file under every address; what it says can be changed."""
    says: dict[str, Any] = {"path": saved(), "size": 46_807_446, "error": None, "asked": []}

    def metadata(url: str) -> Any:
        if says["error"] is not None:
            raise says["error"]
        return type("Metadata", (), {"size": says["size"]})()

    def download(repo: str, name: str, revision: str) -> str:
        says["asked"].append((repo, name, revision))
        return str(says["path"])

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", metadata)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return says


def _pin(monkeypatch: pytest.MonkeyPatch, sha256: str | None) -> None:
    file = published.Published("timm/resnet18.tv_in1k", "0" * 40, sha256)
    monkeypatch.setitem(published.PUBLISHED, "resnet18", file)


def test_the_published_file_is_fetched_by_its_commit_and_checked(hub: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    digest = published.file_sha256(hub["path"])
    _pin(monkeypatch, digest)
    loaded = load_weights(resnet(), "imagenet")
    assert loaded == Loaded("imagenet", digest, f"timm/resnet18.tv_in1k, SHA-256 {digest} as pinned")
    assert hub["asked"] == [("timm/resnet18.tv_in1k", "model.safetensors", "0" * 40)]
    _pin(monkeypatch, "ab" * 32)
    with pytest.raises(ConfigError, match=f"has SHA-256 {digest}, not the one pinned, {'ab' * 32}: delete it"):
        load_weights(resnet(), "imagenet")


def test_without_a_pinned_hash_the_first_download_decides(
    hub: dict[str, Any], monkeypatch: pytest.MonkeyPatch, saved: Callable[..., Path]
):
    _pin(monkeypatch, None)
    first = load_weights(resnet(), "imagenet")
    assert f"no hash to compare with: {first.sha256} is trusted and stored" in first.note
    assert load_weights(resnet(), "imagenet").note.endswith("as at the first download")
    saved(conv1__weight=torch.zeros(64, 3, 7, 7))
    with pytest.raises(ConfigError, match=f"stored at the first download in .*, {first.sha256}"):
        load_weights(resnet(), "imagenet")


def test_a_hub_out_of_reach_or_with_a_huge_file_is_reported(hub: dict[str, Any]):
    hub["size"] = 10**9
    with pytest.raises(ConfigError, match="has 1000000000 bytes; at most .* were expected"):
        load_weights(resnet(), "imagenet")
    hub["error"] = OSError("no route to host")
    with pytest.raises(ConfigError, match="cannot fetch .*no route to host.* name the file instead of 'imagenet'"):
        load_weights(resnet(), "imagenet")
    assert hub["asked"] == []
