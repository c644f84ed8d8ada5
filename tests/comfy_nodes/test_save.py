"""Save Samples: true size, nearest level, whole files with records, and a true report."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import acusim
from acusim import layout
from acusim.errors import AcuSimError, ConfigError, LabelError, LayoutError, OutputError
from acusim.files import sha256
from acusim.float_images import to_levels
from acusim.pictures import read_provenance, read_rgb
from comfy_nodes import NODE_CLASS_MAPPINGS
from tests.comfy_nodes.conftest import Server
from tests.support import add_sample

SAVE = NODE_CLASS_MAPPINGS["AcuSimSaveSamples"]


@pytest.fixture
def loaded(dataset: Path, node: Callable[..., Any]) -> dict[str, Any]:
    """The three samples of the data set, as Save Samples takes them."""
    images, _, batch, _ = node("AcuSimLoadSamples", root="input", folder="heads")
    return {"images": images, "samples": batch, "root": "output", "folder": "new/set"}


def test_every_level_survives_the_way_through_the_model_range():
    levels = np.arange(256, dtype=np.float32)
    unit = levels / np.float32(255)
    there_and_back = (unit * np.float32(2) - np.float32(1) + np.float32(1)) / np.float32(2)
    assert to_levels(unit).tolist() == list(range(256))
    assert to_levels(there_and_back).tolist() == list(range(256))
    assert (np.clip(255 * there_and_back, 0, 255).astype(np.uint8) != levels).any(), "truncation would lose some"


@pytest.mark.parametrize(
    ("value", "level"),
    [(-1, 0), (0, 0), (0.4999 / 255, 0), (0.5 / 255, 1), (0.5, 128), (254.4999 / 255, 254), (1, 255), (7, 255)],
)
def test_rounding_by_hand(value: float, level: int):
    assert to_levels(np.array([value], np.float32)).tolist() == [level]


def test_a_round_trip_is_a_data_set_of_equal_pixels(
    server: Server, dataset: Path, loaded: dict[str, Any], node: Callable[..., Any]
):
    node("AcuSimSaveSamples", **loaded)
    source, saved = layout.scan(dataset), layout.scan(server.output / "new/set")
    assert not saved.problems and saved.samples == source.samples
    for sample in source.samples:
        assert (read_rgb(saved.root / sample.image).pixels == read_rgb(dataset / sample.image).pixels).all()
        for companion in (sample.label, sample.depth, layout.MAP_FILE):
            assert companion is not None
            assert (saved.root / companion).read_bytes() == (dataset / companion).read_bytes()
    assert not list(saved.root.rglob(".acusim*"))


def test_the_report_is_true(server: Server, dataset: Path, loaded: dict[str, Any], node: Callable[..., Any]):
    message = node("AcuSimSaveSamples", **loaded)["ui"]
    json.dumps(message, allow_nan=False)
    assert len(message["acusim"]) == 3
    for entry, sample in zip(message["acusim"], loaded["samples"].samples, strict=True):
        data = (server.output / entry["file"]).read_bytes()
        assert entry["file"] == f"new/set/{sample.image}" and entry["sample"] == str(sample.id)
        assert (entry["sha256"], entry["bytes"]) == (sha256(data), len(data))
        assert (entry["width"], entry["height"], entry["finite"]) == (40, 40, True)
        assert entry["source_sha256"] == sha256((dataset / sample.image).read_bytes())
        pixels = read_rgb(dataset / sample.image).pixels
        assert entry["minimum"] == pixels.min() / 255 and entry["maximum"] == pytest.approx(pixels.max() / 255)
    assert message["images"][0] == {
        "filename": "F_Ann_N_HA_O_0001.png",
        "subfolder": "new/set/train/image/img_40",
        "type": "output",
    }


@pytest.mark.parametrize(("format", "extension"), [("as sample", ".png"), ("png", ".png"), ("jpg", ".jpg")])
def test_each_picture_says_what_made_it(
    server: Server, loaded: dict[str, Any], node: Callable[..., Any], format: str, extension: str
):
    fields = {"recipe": "abc", "steps": 24, "sample": "a lie", "ä": "穴位"}
    message = node("AcuSimSaveSamples", **loaded, format=format, record=json.dumps(fields), prompt={"1": {}})
    sample, path = loaded["samples"].samples[0], server.output / message["ui"]["acusim"][0]["file"]
    assert path.suffix == extension
    assert read_provenance(path) == {
        **fields,
        "sample": str(sample.id),
        "source": sample.image,
        "source_sha256": sample.source_sha256,
        "program": "acusim-augment",
        "version": acusim.__version__,
    }
    assert "prompt" not in Image.open(path).info, "a record takes the graph's place"


def test_a_picture_saved_by_hand_opens_as_its_graph(
    server: Server, loaded: dict[str, Any], node: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    graph = {"prompt": {"1": {"class_type": "X"}}, "extra_pnginfo": {"workflow": {"nodes": ["ü"]}, "acusim": 1}}
    message = node("AcuSimSaveSamples", **loaded, **graph)
    path = server.output / message["ui"]["acusim"][0]["file"]
    info = Image.open(path).info
    assert json.loads(info["prompt"]) == graph["prompt"]
    assert json.loads(info["workflow"]) == {"nodes": ["ü"]}
    assert read_provenance(path)["program"] == "acusim-augment"
    arguments = SimpleNamespace(args=SimpleNamespace(disable_metadata=True))
    monkeypatch.setitem(sys.modules, "comfy.cli_args", arguments)  # type: ignore[arg-type]
    node("AcuSimSaveSamples", **loaded, **graph)
    assert "prompt" not in Image.open(path).info


def test_bytes_do_not_depend_on_the_batch(server: Server, loaded: dict[str, Any], node: Callable[..., Any]):
    record = '{"staged":true}'
    one = node("AcuSimSaveSamples", **loaded, record=record, labels=False, prompt={"1": {}})["ui"]["acusim"]
    alone = node("AcuSimLoadSamples", root="input", folder="heads", samples=one[1]["sample"])
    again = node(
        "AcuSimSaveSamples", images=alone[0], samples=alone[2], root="output", record=record, labels=False, prompt={}
    )
    assert again["ui"]["acusim"][0]["sha256"] == one[1]["sha256"]
    assert not (server.output / "new/set/map.txt").exists() and not (server.output / "new/set/train/label").exists()


def test_a_picture_that_is_not_finite_is_reported_and_not_written(
    server: Server, loaded: dict[str, Any], node: Callable[..., Any]
):
    images = loaded["images"].copy()
    images[0, 3, 4, 1], images[2, 0, 0, 0] = np.nan, np.inf
    images[1, 45, 45] = np.nan  # in the padding: it is cut off
    message = node("AcuSimSaveSamples", **{**loaded, "images": images})["ui"]
    json.dumps(message, allow_nan=False)
    assert [entry["finite"] for entry in message["acusim"]] == [False, True, False]
    assert (message["acusim"][0]["file"], message["acusim"][0]["sha256"]) == (None, "")
    assert [path.stem for path in server.output.rglob("*_0*.*")].count("F_Ann_N_HA_O_0008") == 3
    assert not list(server.output.rglob("M_Dan*")) and len(message["images"]) == 1


def _scaled(loaded: dict[str, Any], side: int) -> dict[str, Any]:
    return {**loaded, "images": np.zeros((3, side, side, 3), np.float32)}


@pytest.mark.parametrize("side", [32, 40, 64])
def test_pictures_of_another_size_are_refused(loaded: dict[str, Any], node: Callable[..., Any], side: int):
    with pytest.raises(LayoutError, match=rf"\[3, {side}, {side}, 3\] .* but the samples need \[3, 48, 48, 3\]"):
        node("AcuSimSaveSamples", **_scaled(loaded, side))


def test_dropped_pictures_and_other_channels_are_refused(loaded: dict[str, Any], node: Callable[..., Any]):
    for images in (loaded["images"][:2], np.zeros((3, 48, 48, 4), np.float32)):
        with pytest.raises(LayoutError, match="nothing between Load Samples and here may drop"):
            node("AcuSimSaveSamples", **{**loaded, "images": images})


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"format": "webp"}, ConfigError, "format 'webp' is not one of as sample, png, jpg"),
        ({"record": "[1]"}, ConfigError, "record is not a JSON object such as {}"),
        ({"record": "{"}, ConfigError, "record is not a JSON object: "),
        ({"record": '{"a": NaN}'}, ConfigError, "NaN is not JSON"),
        ({"record": '{"a": 1e999}'}, ConfigError, "Out of range float values"),
        ({"record": r'{"a": "\ud800"}'}, ConfigError, "surrogates not allowed"),
        ({"folder": "x" * 300}, LayoutError, "is longer than a file system takes"),
        ({"record": '{"a": "' + "x" * 50_000 + '"}'}, ConfigError, "allowed are 50000 bytes"),
        ({"root": "input"}, LayoutError, "is read-only"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(
    server: Server,
    loaded: dict[str, Any],
    node: Callable[..., Any],
    how: dict[str, Any],
    error: type[AcuSimError],
    words: str,
):
    with pytest.raises(error, match=words):
        node("AcuSimSaveSamples", **{**loaded, **how})
    assert not [path for path in server.output.rglob("*") if path.is_file()]


def test_the_source_is_never_overwritten(
    server: Server, dataset: Path, loaded: dict[str, Any], node: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    before = {path: path.read_bytes() for path in dataset.rglob("*") if path.is_file()}
    monkeypatch.setenv("ACUSIM_ROOTS", f"here={server.input}")
    (server.input / "alias").symlink_to(dataset)
    (server.input / "tree").mkdir()
    (server.input / "tree/train").symlink_to(dataset / "train")
    for folder, words in {
        "heads": "the dataset that the samples were loaded from",
        "alias": "the dataset that the samples were loaded from",
        "tree": "leads out of its root",
    }.items():
        with pytest.raises(LayoutError, match=words):
            node("AcuSimSaveSamples", **{**loaded, "root": "here", "folder": folder})
    assert {path: path.read_bytes() for path in dataset.rglob("*") if path.is_file()} == before


def test_a_second_picture_of_a_sample_is_refused(loaded: dict[str, Any], node: Callable[..., Any]):
    node("AcuSimSaveSamples", **loaded)
    node("AcuSimSaveSamples", **loaded)
    with pytest.raises(LayoutError, match=r"\.png already exists beside .*\.jpg"):
        node("AcuSimSaveSamples", **loaded, format="jpg")


def test_labels_that_are_missing_or_damaged_are_named(dataset: Path, loaded: dict[str, Any], node: Callable[..., Any]):
    label = dataset / loaded["samples"].samples[1].label
    label.write_text("{")
    with pytest.raises(LabelError, match=label.name):
        node("AcuSimSaveSamples", **loaded)
    label.unlink()
    bare = node("AcuSimLoadSamples", root="input", folder="heads", samples=loaded["samples"].samples[1].image)
    with pytest.raises(ConfigError, match="has no label in its dataset; turn labels off"):
        node("AcuSimSaveSamples", **{**loaded, "images": bare[0], "samples": bare[2]})


def test_a_full_disk_leaves_no_half_file(
    server: Server, loaded: dict[str, Any], node: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    def full(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OutputError, match=r"cannot write .*: No space left on device"):
        node("AcuSimSaveSamples", **loaded)
    assert not [path for path in server.output.rglob("*") if path.is_file()]


def test_previews_outside_output_are_small_pictures_in_temp(
    server: Server, tmp_path: Path, node: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    for frame in range(1, 19):
        add_sample(server.input / "many", f"F_Ann_N_HA_O_{frame:04d}", size=32)
    add_sample(server.input / "large", "F_Ann_N_HA_O_0001", size=640)
    (tmp_path / "else").mkdir()
    monkeypatch.setenv("ACUSIM_ROOTS", f"other={tmp_path}/else")
    for folder, count in (("many", 16), ("large", 1)):
        images, _, batch, _ = node("AcuSimLoadSamples", root="input", folder=folder, count=18)
        message = node("AcuSimSaveSamples", images=images, samples=batch, root="other", folder=folder)["ui"]
        assert len(message["images"]) == count and len(message["acusim"]) == len(images)
        for entry in message["images"]:
            assert (entry["type"], entry["subfolder"]) == ("temp", "")
            assert max(Image.open(server.temp / entry["filename"]).size) <= 384
    message = node("AcuSimSaveSamples", images=images, samples=batch, root="other", folder=folder, preview=False)["ui"]
    assert message["images"] == []


def test_saving_lists_no_folder(loaded: dict[str, Any], node: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    for name in ("os.listdir", "os.scandir"):
        monkeypatch.setattr(name, None)
    assert len(node("AcuSimSaveSamples", **loaded)["ui"]["acusim"]) == 3


def test_a_cached_graph_saves_again():
    assert np.isnan(SAVE.IS_CHANGED(images=None, anything=1))
