"""Load Samples: which files, their padding and masks, and when they count as changed."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acusim import float_images, layout
from acusim.errors import AcuSimError, ConfigError, LayoutError, PictureError, SampleIdError
from acusim.files import sha256
from acusim.pictures import read_rgb
from comfy_nodes import NODE_CLASS_MAPPINGS, finding
from tests.support import add_sample

LOAD = NODE_CLASS_MAPPINGS["AcuSimLoadSamples"]
ANN = "train/image/img_40/F_Ann_N_HA_O_0001.png"
WHERE: dict[str, Any] = {
    "root": "input",
    "folder": "heads",
    "samples": "",
    "selection": "",
    "index": 0,
    "count": 4,
    "size": 0,
}


def test_padding_by_hand():
    picture = np.arange(6, dtype=np.float32).reshape(2, 3, 1)
    out = float_images.pad_picture(picture, 3, 5)[..., 0]
    assert out.tolist() == [[0, 1, 2, 2, 2], [3, 4, 5, 5, 5], [3, 4, 5, 5, 5]]
    assert float_images.pad_mask(np.ones((1, 2), np.float32), 2, 3).tolist() == [[1, 1, 0], [0, 0, 0]]
    assert [float_images.padded(side) for side in (1, 15, 16, 17, 512, 513)] == [16, 16, 16, 32, 512, 528]


def test_a_batch_is_padded_and_nothing_else(dataset: Path, node: Callable[..., Any]):
    images, mask, batch, count = node("AcuSimLoadSamples", **WHERE)
    assert images.shape == (3, 48, 48, 3) and mask.shape == (3, 48, 48) and count == 3
    assert (batch.height, batch.width, batch.padded_height, batch.padded_width) == (40, 40, 48, 48)
    first = batch.samples[0]
    assert (first.image, first.label) == (ANN, "train/label/label/F_Ann_N_HA_O_0001.json")
    assert first.depth == ANN.replace("image", "depth", 1) and first.foreground == "depth-mm16"
    assert first.source_sha256 == sha256((dataset / ANN).read_bytes())
    levels = read_rgb(dataset / ANN).pixels
    assert (images[0, :40, :40] * 255 == levels).all()
    assert (images[0, 40:, :40] == images[0, 39:40, :40]).all() and (images[0, :, 40:] == images[0, :, 39:40]).all()
    assert mask.min() == 0 and mask.max() == 1 and not mask[:, 40:].any() and not mask[:, :, 40:].any()
    assert mask[0, 20, 20] == 1 and mask[0, 0, 0] == 0


@pytest.mark.parametrize(
    ("how", "stems"),
    [
        ({"selection": "gender=M"}, ["M_Dan_N_HB_C_0001"]),
        ({"count": 2, "index": 1}, ["M_Dan_N_HB_C_0001"]),
        (
            {"samples": "M_Dan_N_HB_C_0001\n\n  F_Ann_N_HA_O_0008 \n", "index": 9},
            ["M_Dan_N_HB_C_0001", "F_Ann_N_HA_O_0008"],
        ),
        ({"samples": ANN, "selection": "gender=M"}, ["F_Ann_N_HA_O_0001"]),
    ],
)
def test_samples_are_chosen(dataset: Path, node: Callable[..., Any], how: dict[str, Any], stems: list[str]):
    batch = node("AcuSimLoadSamples", **{**WHERE, **how})[2]
    assert [str(sample.id) for sample in batch.samples] == stems


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"folder": "nothing"}, LayoutError, "'nothing' is not on the machine"),
        ({"index": 1}, ConfigError, "index 1: there is no such batch; 3 samples in batches of 4 are 0..0"),
        ({"selection": "name=Zoe"}, ConfigError, "matches none of the 3 samples"),
        ({"selection": "nme=Ann"}, ConfigError, "^selection: 'nme' is not one of gender"),
        ({"size": 64}, LayoutError, "no split of .* has pictures of size 64; there are train: 40"),
        ({"samples": "F_Zoe_N_HA_O_0001"}, LayoutError, "'F_Zoe_N_HA_O_0001' is not in dataset 'heads'"),
        ({"samples": "Ann"}, SampleIdError, "the grammar is"),
        ({"samples": ANN.replace("Ann", "Zoe")}, LayoutError, "is not in dataset"),
        ({"samples": f"{ANN}\n{ANN}"}, ConfigError, "twice"),
        ({"samples": f"{ANN}\nF_Ann_N_HA_O_0001"}, ConfigError, "twice"),
        ({"samples": "../heads/" + ANN}, LayoutError, "is not of the form"),
        ({"samples": "/" + ANN}, LayoutError, "is not of the form"),
        ({"samples": "train/image/img_40/../img_40/x.png"}, LayoutError, "is not of the form"),
        ({"samples": "train/label/label/x.json"}, LayoutError, "is not of the form"),
        (
            {"samples": "\n".join(f"F_Ann_N_HA_O_{i:04d}" for i in range(1, 66))},
            ConfigError,
            "65 lines; allowed are 64",
        ),
    ],
)
def test_bad_input_is_named(
    dataset: Path, node: Callable[..., Any], how: dict[str, Any], error: type[AcuSimError], words: str
):
    with pytest.raises(error, match=words):
        node("AcuSimLoadSamples", **{**WHERE, **how})


def test_bad_lines_are_refused_when_the_graph_is_queued(dataset: Path):
    for samples_text in ("../x.png", "Ann", "train/image/img_40/Ann.png"):
        assert LOAD.VALIDATE_INPUTS(root="input", folder="heads", samples=samples_text) is not True
    assert "selection" in LOAD.VALIDATE_INPUTS(root="input", folder="heads", selection="nme=Ann")
    assert LOAD.VALIDATE_INPUTS(root="input", folder="not/yet/there", samples=ANN, selection="") is True


def test_a_picture_path_needs_no_label_and_no_listing(
    dataset: Path, node: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    shutil.rmtree(dataset / "train/label")
    monkeypatch.setattr(layout, "scan", None)
    batch = node("AcuSimLoadSamples", **{**WHERE, "samples": ANN})[2]
    assert batch.samples[0].label is None and batch.samples[0].depth is not None


def test_a_sample_in_two_splits_is_ambiguous(dataset: Path, node: Callable[..., Any]):
    shutil.copytree(dataset / "train", dataset / "test")
    with pytest.raises(ConfigError, match=f"2 times: test/{ANN[6:]}, {ANN}"):
        node("AcuSimLoadSamples", **{**WHERE, "samples": "F_Ann_N_HA_O_0001"})


def test_pictures_of_different_sizes_are_named(dataset: Path, node: Callable[..., Any]):
    add_sample(dataset, "M_Bob_F_HC_C_0001", size=64)
    other = "train/image/img_64/M_Bob_F_HC_C_0001.png"
    with pytest.raises(PictureError, match=f"{ANN} is 40 x 40, {other} is 64 x 64"):
        node("AcuSimLoadSamples", **{**WHERE, "samples": f"{ANN}\n{other}"})


def test_a_sample_without_foreground_is_named(dataset: Path, node: Callable[..., Any]):
    path = dataset / ANN.replace("image", "depth", 1)
    path.write_bytes(b"no picture")
    with pytest.raises(PictureError, match="sample F_Ann_N_HA_O_0001: depth"):
        node("AcuSimLoadSamples", **WHERE)


def test_a_batch_is_bounded(dataset: Path, node: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("comfy_nodes.load.MAX_BATCH_PIXELS", 4000)
    with pytest.raises(ConfigError, match="3 images of 40 x 40 are more than"):
        node("AcuSimLoadSamples", **WHERE)


def test_content_counts_as_change_and_time_does_not(dataset: Path):
    def digest(**how: Any) -> Any:
        return LOAD.IS_CHANGED(**{**WHERE, **how})

    before = digest()
    assert isinstance(before, str) and before == digest(selection="frame=1-144")
    os.utime(dataset / ANN, ns=(1, 1))
    assert digest() == before
    stat = (dataset / ANN).stat()
    data = bytearray((dataset / ANN).read_bytes())
    data[-1] ^= 1
    (dataset / ANN).write_bytes(data)
    os.utime(dataset / ANN, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    changed = digest()
    assert changed != before, "same size and time, other bytes"
    assert digest(count=2) != changed and digest(samples="M_Dan_N_HB_C_0001") != changed
    (dataset / ANN.replace("image", "depth", 1)).unlink()
    assert digest() != changed
    for unknown in ({"samples": None}, {"folder": "nothing"}):
        assert np.isnan(digest(**unknown))


def test_a_listing_is_kept_until_a_folder_changes(dataset: Path, monkeypatch: pytest.MonkeyPatch):
    listed: list[Path] = []
    real = layout.scan
    monkeypatch.setattr(layout, "scan", lambda root, size: listed.append(root) or real(root, size))
    for folder in (dataset, *(path for path in dataset.rglob("*") if path.is_dir())):
        os.utime(folder, (1e9, 1e9))
    for _ in range(3):
        finding.find_samples(dataset, "M_Dan_N_HB_C_0001", "", 0, 4, 0)
    assert len(listed) == 1
    add_sample(dataset, "F_Ann_N_HA_O_0002", size=40)
    assert len(finding.find_samples(dataset, "F_Ann_N_HA_O_0002", "", 0, 4, 0)) == 1
    (dataset / "train/label/label/F_Ann_N_HA_O_0002.json").unlink()
    with pytest.raises(LayoutError, match="no label"):
        finding.find_samples(dataset, "F_Ann_N_HA_O_0002", "", 0, 4, 0)


def test_litter_and_circles_change_no_batch(dataset: Path, node: Callable[..., Any]):
    before = [sample.image for sample in node("AcuSimLoadSamples", **WHERE)[2].samples]
    for folder in ("", "train", "train/image", "train/image/img_40", "train/label/label", "train/depth"):
        (dataset / folder / "loop").symlink_to("loop")
        (dataset / folder / "up").symlink_to("..")
        (dataset / folder / ".DS_Store").write_bytes(b"x")
        (dataset / folder / "__MACOSX").mkdir()
    (dataset / "train/image/img_40/._F_Ann_N_HA_O_0001.png").write_bytes(b"x")
    assert [sample.image for sample in node("AcuSimLoadSamples", **WHERE)[2].samples] == before


def test_a_root_says_which_folder_to_give(dataset: Path, node: Callable[..., Any]):
    with pytest.raises(LayoutError, match=f"give '{dataset}'"):
        node("AcuSimLoadSamples", **{**WHERE, "folder": ""})
    with pytest.raises(LayoutError, match=f"give '{dataset}'"):
        node("AcuSimLoadSamples", **{**WHERE, "folder": "heads/train"})


def test_names_that_are_too_long_are_reported(dataset: Path, node: Callable[..., Any]):
    name = f"train/image/img_40/F_{'a' * 300}_N_HA_O_0001.png"
    with pytest.raises(LayoutError, match="is not in dataset 'heads'"):
        node("AcuSimLoadSamples", **{**WHERE, "samples": name})
    with pytest.raises(LayoutError, match="is longer than a file system takes"):
        node("AcuSimLoadScene", root="input", file="x" * 300 + ".png")


@pytest.mark.parametrize("how", [{"count": 0}, {"count": -1}, {"count": 2.5}, {"index": -1}])
def test_numbers_that_are_no_batch_are_refused(dataset: Path, node: Callable[..., Any], how: dict[str, Any]):
    with pytest.raises(ConfigError, match="is not a whole number from"):
        node("AcuSimLoadSamples", **{**WHERE, **how})


def test_a_scene_that_is_missing_names_what_is_there_without_litter(server: Any, node: Callable[..., Any]):
    for name in ("room.webp", "._room.webp", "Thumbs.db", "notes.txt"):
        (server.input / name).write_bytes(b"x")
    (server.input / "loop.png").symlink_to("loop.png")
    with pytest.raises(PictureError, match=r"scene 'none.png' is not in root 'input'; it holds room.webp$"):
        node("AcuSimLoadScene", root="input", file="none.png")
