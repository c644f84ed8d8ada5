"""What lies between loading and saving: texts, scene, background, noise."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from acusim.control_hint import control_hint
from acusim.errors import AcuSimError, ConfigError, PictureError
from acusim.foreground import find_foreground, fitted
from acusim.light_transfer import transferred_light
from acusim.pictures import read_rgb
from acusim.seeds import derive_seed
from comfy_nodes import NODE_CLASS_MAPPINGS
from comfy_nodes.background import compose
from comfy_nodes.noise import SampleNoise, parse_seeds
from tests.comfy_nodes.conftest import Server
from tests.support import FOUR_SETS, ROOT, add_sample


def _batch(node: Callable[..., Any], **how: Any) -> Any:
    return node("AcuSimLoadSamples", root="input", folder="heads", **how)[2]


def test_texts_are_those_of_the_prompt_set(dataset: Path, node: Callable[..., Any]):
    batch = _batch(node, selection="gender=F")
    positive, negative, name = node("AcuSimPromptSet", samples=batch)
    assert name == "female"
    assert positive.startswith("photograph of a woman, average build, eyes open, ") and "beard" in negative
    other = node("AcuSimPromptSet", samples=batch, seed=1)
    assert other[0].startswith("candid portrait photo of a woman") and other[1:] == (negative, name)


def test_bald_is_reported_by_the_labels_of_the_whole_data_set(server: Server, node: Callable[..., Any]):
    for model in FOUR_SETS:
        for frame in (1, 8, 60):
            add_sample(server.input / "heads", f"{model}_{frame:04d}", size=48)
    names = [node("AcuSimPromptSet", samples=_batch(node, samples=f"{model}_0001"))[2] for model in FOUR_SETS]
    assert names == ["female", "male", "bald_female", "bald_male"]
    batch = _batch(node, samples="M_Bob_F_HC_C_0001")
    assert node("AcuSimPromptSet", samples=batch, bald_codes="HC,HX")[2] == "bald_male"
    assert node("AcuSimPromptSet", samples=_batch(node, samples="M_Dan_N_HB_C_0001"), bald_codes="none")[2] == "male"


def test_bald_is_not_guessed_without_labels(dataset: Path, node: Callable[..., Any]):
    for label in (dataset / "train/label/label").glob("M_*"):
        label.unlink()
    batch = _batch(node, samples="train/image/img_40/M_Dan_N_HB_C_0001.png")
    with pytest.raises(ConfigError, match="no label of hair code HB to infer"):
        node("AcuSimPromptSet", samples=batch)


def test_a_mixed_batch_is_refused_by_name(dataset: Path, node: Callable[..., Any]):
    with pytest.raises(ConfigError, match="F_Ann_N_HA_O_0001 and M_Dan_N_HB_C_0001 need prompt sets 'female' and"):
        node("AcuSimPromptSet", samples=_batch(node))
    add_sample(dataset, "F_Eve_S_HA_O_0001", size=40)
    with pytest.raises(ConfigError, match="F_Ann_N_HA_O_0001 and F_Eve_S_HA_O_0001 need different texts of prompt set"):
        node("AcuSimPromptSet", samples=_batch(node, selection="gender=F"))


def test_own_prompts_come_first_and_count_as_change(server: Server, dataset: Path, node: Callable[..., Any]):
    path = server.input / "own.toml"
    path.write_text('[[set]]\nname = "mine"\ngender = "F"\npositive = "a queen"\n')
    batch = _batch(node, selection="gender=F")
    assert node("AcuSimPromptSet", samples=batch, file="own.toml") == ("a queen", "", "mine")
    where: dict[str, Any] = {"samples": None, "root": "input", "bald_codes": "auto", "seed": 0}
    changed = NODE_CLASS_MAPPINGS["AcuSimPromptSet"].IS_CHANGED
    before = changed(**where, file="own.toml")
    assert before == changed(**where, file="own.toml") != changed(**where, file="")
    path.write_text(path.read_text().replace("queen", "king"))
    assert changed(**where, file="own.toml") != before
    with pytest.raises(ConfigError, match="prompt file 'gone.toml' is not in root 'input'"):
        node("AcuSimPromptSet", samples=batch, file="gone.toml")
    assert "bald_codes" in str(NODE_CLASS_MAPPINGS["AcuSimPromptSet"].VALIDATE_INPUTS(bald_codes="H B"))


def test_a_scene_is_fitted_to_the_true_size_and_padded(dataset: Path, node: Callable[..., Any]):
    batch = _batch(node)
    (scene,) = node("AcuSimLoadScene", samples=batch)
    assert scene.shape == (1, 48, 48, 3) and scene.dtype == np.float32 and 0 <= scene.min() < scene.max() <= 1
    assert (scene[0, :, 40:] == scene[0, :, 39:40]).all() and (scene[0, 40:, :40] == scene[0, 39:40, :40]).all()
    changed = NODE_CLASS_MAPPINGS["AcuSimLoadScene"].IS_CHANGED
    assert isinstance(changed(samples=None, root="shipped scenes", file="forest.jpg"), str)


def test_a_scene_without_samples_comes_as_it_is_and_is_fitted_as_a_background(dataset: Path, node: Callable[..., Any]):
    (scene,) = node("AcuSimLoadScene", file="forest.jpg")
    pixels = read_rgb(ROOT / "engines/scene_pictures/forest.jpg").pixels
    assert (np.rint(scene[0] * 255) == pixels).all()
    images = np.zeros((2, 48, 48, 3), np.float32)
    out = compose(images, images, np.zeros((2, 48, 48), np.float32), "scene", scene)
    assert (np.rint(out * 255) == fitted(pixels, 48, 48)).all()


def test_shipped_scenes_are_named_in_the_tooltip_and_in_the_error(dataset: Path, node: Callable[..., Any]):
    tooltip = NODE_CLASS_MAPPINGS["AcuSimLoadScene"].INPUT_TYPES()["required"]["file"][1]["tooltip"]
    with pytest.raises(PictureError, match="scene 'no.jpg' is not in root 'shipped scenes'; it holds ") as caught:
        node("AcuSimLoadScene", samples=_batch(node), file="no.jpg")
    for path in (ROOT / "engines/scene_pictures").glob("*.jpg"):
        assert path.stem in tooltip and path.name in str(caught.value)


HALF = np.full((2, 1, 1, 3), 0.5, np.float32)


@pytest.mark.parametrize(
    ("kind", "values"), [("keep", [0.5, 0.4, 0.3]), ("black", [0.5, 0.25, 0]), ("scene", [0.5, 0.7, 0.9])]
)
def test_backgrounds_by_hand(kind: str, values: list[float]):
    images = np.full((1, 1, 3, 3), 0.5, np.float32)
    originals, scene = np.full_like(images, 0.3), np.full_like(images, 0.9)
    mask = np.array([[[1, 0.5, 0]]], np.float32)
    out = compose(images, originals, mask, kind, scene)
    assert out[0, 0, :, 0] == pytest.approx(values) and out.dtype == np.float32


def test_one_scene_does_for_a_batch_and_the_kept_background_is_exact(dataset: Path, node: Callable[..., Any]):
    images, mask, batch, _ = node("AcuSimLoadSamples", root="input", folder="heads")
    (scene,) = node("AcuSimLoadScene", samples=batch)
    how = {"images": 1 - images, "originals": images, "mask": mask}
    (kept,) = node("AcuSimBackground", **how, background="keep")
    (laid,) = node("AcuSimBackground", **how, background="scene", scene=scene)
    outside = mask == 0
    assert (kept[outside] == images[outside]).all() and (kept[mask == 1] == 1 - images[mask == 1]).all()
    assert (laid[outside] == np.broadcast_to(scene, images.shape)[outside]).all()


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"background": "blur"}, ConfigError, "'blur' is not one of keep, black, scene"),
        ({"background": "scene"}, ConfigError, "no scene is connected"),
        ({"originals": HALF[:1]}, PictureError, "do not match"),
        ({"mask": np.ones((2, 2, 1), np.float32)}, PictureError, "do not match"),
        ({"mask": np.ones((2, 1), np.float32)}, ConfigError, "mask has the shape"),
        ({"background": "scene", "scene": np.ones((3, 2, 2, 3), np.float32)}, PictureError, "scene .* does not fit"),
    ],
)
def test_what_does_not_fit_is_named(
    server: Server, node: Callable[..., Any], how: dict[str, Any], error: type[AcuSimError], words: str
):
    good = {"images": HALF, "originals": HALF, "mask": np.ones((2, 1, 1), np.float32), "background": "keep"}
    with pytest.raises(error, match=words):
        node("AcuSimBackground", **{**good, **how})


def test_light_is_transferred_image_by_image(dataset: Path, node: Callable[..., Any]):
    images, mask, *_ = node("AcuSimLoadSamples", root="input", folder="heads")
    relit = images[::-1] * np.float32(0.5)
    how = {"images": relit, "originals": images, "mask": mask}
    assert node("AcuSimLightTransfer", **how, amount=0.0)[0] is relit
    (found,) = node("AcuSimLightTransfer", **how, amount=0.7)
    expected = [transferred_light(*each, 0.7) for each in zip(relit, images, mask, strict=True)]
    assert (found == np.stack(expected)).all() and (found[mask == 0] == relit[mask == 0]).all()


def test_an_image_without_light_is_named_and_what_does_not_match(server: Server, node: Callable[..., Any]):
    good = {"images": HALF, "originals": HALF, "mask": np.ones((2, 1, 1), np.float32), "amount": 1.0}
    with pytest.raises(PictureError, match="image 1 of 2: the head is flat"):
        node("AcuSimLightTransfer", **good)
    with pytest.raises(PictureError, match="do not match"):
        node("AcuSimLightTransfer", **{**good, "originals": HALF[:1]})


def test_depth_is_what_a_control_net_sees_of_each_sample(dataset: Path, node: Callable[..., Any]):
    batch = _batch(node)
    (hints,) = node("AcuSimDepth", samples=batch)
    assert hints.shape == (len(batch.samples), batch.padded_height, batch.padded_width, 3)
    for sample, hint in zip(batch.samples, hints, strict=True):
        pixels = read_rgb(dataset / sample.image).pixels
        wanted = control_hint(find_foreground(pixels, (dataset / sample.depth).read_bytes()))
        assert (np.rint(255 * hint[: batch.height, : batch.width]) == wanted[..., None]).all()
        assert wanted.max() == 255 and not hint[batch.height :].any() and not hint[:, batch.width :].any()


def test_a_sample_without_depth_is_named(dataset: Path, node: Callable[..., Any]):
    for path in (dataset / "train/depth").rglob("M_Dan*"):
        path.unlink()
    with pytest.raises(PictureError, match="sample M_Dan_N_HB_C_0001: control_strength > 0 needs a depth map"):
        node("AcuSimDepth", samples=_batch(node, samples="M_Dan_N_HB_C_0001"))


def test_seeds_are_the_controllers(dataset: Path, node: Callable[..., Any]):
    batch = _batch(node)
    (noise,) = node("AcuSimNoise", samples=batch, seed=5, variant=1, attempt=2)
    assert noise.seeds == tuple(derive_seed(5, sample.id, 1, 2) for sample in batch.samples)
    assert noise.seed == noise.seeds[0]
    assert node("AcuSimNoise", samples=batch, seed=5, seeds="1, 2\n18446744073709551615")[0].seeds == (1, 2, 2**64 - 1)
    with pytest.raises(ConfigError, match="seeds holds 2 numbers for 3 samples"):
        node("AcuSimNoise", samples=batch, seeds="1,2")


@pytest.mark.parametrize("text", ["-1", "1.5", "x", "18446744073709551616", "1;2", "٣", "9" * 5000])
def test_what_is_no_seed_is_named(text: str):
    with pytest.raises(ConfigError, match="is not a whole number in 0..18446744073709551615"):
        parse_seeds(text)
    assert "whole number" in NODE_CLASS_MAPPINGS["AcuSimNoise"].VALIDATE_INPUTS(seeds=text)


def test_each_sample_gets_the_noise_it_would_get_alone(monkeypatch: pytest.MonkeyPatch):
    def randn(shape: tuple[int, ...], generator: int, dtype: type, device: str) -> np.ndarray[Any, Any]:
        assert device == "cpu"
        return np.random.default_rng(generator).standard_normal(shape).astype(dtype)

    torch = SimpleNamespace(manual_seed=lambda seed: seed, randn=randn, cat=np.concatenate, float32=np.float32)
    monkeypatch.setitem(sys.modules, "torch", torch)  # type: ignore[arg-type]
    both = SampleNoise((7, 8)).generate_noise({"samples": np.zeros((2, 4, 3, 5))})
    alone = SampleNoise((8,)).generate_noise({"samples": np.zeros((1, 4, 3, 5))})
    assert both.shape == (2, 4, 3, 5) and (both[1:] == alone).all() and (both[0] != both[1]).any()
    for shape in ((3, 4, 3, 5), (2, 4, 1, 3, 5)):
        with pytest.raises(ConfigError, match=r"there is noise for 2 samples"):
            SampleNoise((7, 8)).generate_noise({"samples": np.zeros(shape)})
