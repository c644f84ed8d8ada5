"""Random weights: the facts that ComfyUI and the node packs recognise models by, and equal bytes for equal seeds."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tools.random_weights import (
    FILES,
    FULL,
    SMALL,
    Tensor,
    checkpoint,
    ic_light,
    main,
    text_encoder,
    unet,
    vae,
    vision_encoder,
    write_weights,
)


def read(path: Path) -> tuple[dict[str, Any], bytes]:
    """Header and data of a safetensors file."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def test_the_ip_adapter_file_is_whole_and_depends_on_the_seed_alone(tmp_path: Path) -> None:
    arguments = ["--only", "ip_adapter", "--out"]
    assert main([*arguments, str(tmp_path / "a")]) == main([*arguments, str(tmp_path / "b")]) == 0
    assert main([*arguments, str(tmp_path / "c"), "--seed", "1"]) == 0
    name = FILES["ip_adapter"][0]
    first, second, other = ((tmp_path / folder / name).read_bytes() for folder in "abc")
    assert first == second != other
    header, data = read(tmp_path / "a" / name)
    del header["__metadata__"]
    ends = [0]
    for entry in header.values():
        start, end = entry["data_offsets"]
        assert start == ends[-1] and end - start == 2 * np.prod(entry["shape"])
        ends.append(end)
    assert ends[-1] == len(data)
    assert header["image_proj.proj.weight"]["shape"] == [4 * 768, 768]
    keys = [f"ip_adapter.{n}.{part}.weight" for n in range(1, 33, 2) for part in ("to_k_ip", "to_v_ip")]
    assert [key for key in header if key.startswith("ip_adapter.")] == keys
    assert not [path for path in (tmp_path / "a").rglob("*.part")]


def test_numbers_do_not_depend_on_the_order_of_tensors(tmp_path: Path) -> None:
    tensors = [Tensor("x", (4, 3), 0.5), Tensor("y", (2,), 0.0, 1.0), Tensor("z", (5, 5), 2.0)]
    write_weights(tmp_path / "1" / "w.safetensors", tensors, 7)
    write_weights(tmp_path / "2" / "w.safetensors", tensors[::-1], 7)
    found = []
    for folder in "12":
        header, data = read(tmp_path / folder / "w.safetensors")
        spans = {t.name: header[t.name]["data_offsets"] for t in tensors}
        found.append({name: np.frombuffer(data[a:b], "<f2").tolist() for name, (a, b) in spans.items()})
    assert found[0] == found[1]
    assert found[0]["y"] == [1.0, 1.0] and len(set(found[0]["z"])) > 20


@pytest.mark.parametrize(("sizes", "count"), [(SMALL, 682), (FULL, 686)])
def test_the_unet_is_recognised(sizes: Any, count: int) -> None:
    shapes = {tensor.name: tensor.shape for tensor in checkpoint(sizes)}
    root = "model.diffusion_model"
    assert shapes[f"{root}.input_blocks.0.0.weight"] == (320, 4, 3, 3)
    assert shapes[f"{root}.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"] == (320, 768)
    widths = [shapes[f"{root}.input_blocks.{block}.0.out_layers.3.weight"][0] // 320 for block in (2, 5, 8, 11)]
    assert tuple(widths) == sizes.multipliers
    assert len([name for name in shapes if name.startswith(root)]) == count


def parameters(tensors: Iterable[Tensor]) -> int:
    return sum(math.prod(tensor.shape) for tensor in tensors)


def test_full_models_have_their_published_numbers_of_parameters() -> None:
    assert parameters(unet(FULL)) == 859_520_964
    assert parameters(vae(FULL)) == 83_653_863
    assert parameters(text_encoder(FULL)) == 123_060_480
    assert parameters(vision_encoder(SMALL)) == 303_966_208
    assert parameters(vision_encoder(FULL)) == 632_076_800


@pytest.mark.parametrize("channels", [8, 12])
def test_ic_light_offsets_carry_diffusers_names(channels: int) -> None:
    tensors = {tensor.name: tensor for tensor in ic_light(FULL, channels)}
    assert tensors["conv_in.weight"].shape == (320, channels, 3, 3)
    assert tensors["up_blocks.3.attentions.2.transformer_blocks.0.attn2.to_v.weight"].shape == (320, 768)
    assert tensors["down_blocks.1.resnets.0.conv_shortcut.weight"].shape == (640, 320, 1, 1)
    assert tensors["mid_block.resnets.1.norm2.weight"].mean == 0
    assert len(tensors) == 686


def test_vision_encoder_is_reported_by_its_layers() -> None:
    for sizes, last in ((SMALL, 23), (FULL, 31)):
        shapes = {tensor.name: tensor.shape for tensor in vision_encoder(sizes)}
        layers = {int(name.split(".")[3]) for name in shapes if ".encoder.layers." in name}
        assert max(layers) == last
        assert shapes["vision_model.embeddings.position_embedding.weight"] == (257, sizes.vision_width)
        assert shapes["visual_projection.weight"][0] == sizes.vision_embedding
