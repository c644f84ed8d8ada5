"""What real ComfyUI made of random weights (tests/live/record_goldens.py), repeated here.

The weights are regenerated, not stored: their hashes must be those of the files ComfyUI had.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from acusim.errors import PictureError
from engines.embedded import models
from engines.embedded.image_prompt import preprocessed
from engines.embedded.models import FACTOR, LATENT_SCALE, Files, Models, Placement
from engines.embedded.pipeline import NamedImage, Pipeline
from engines.recipe import Recipe
from tests.live.golden_texts import NEGATIVE, POSITIVE, TEXTS
from tools import random_weights

DATA = Path(__file__).parents[2] / "data/embedded"
RECORDED = json.loads((DATA / "goldens.json").read_text())
ARRAYS = np.load(DATA / "goldens.npz")
WHOLE_TEXTS = ("text_weights", "text_long_both", "text_six_chunks", "text_no_embedding")
"""Cases about text that run the whole network. It sees of a text its encoding alone, and each of these is compared."""
SIGMAS_ALONE = (
    *(f"fc_denoise_{denoise}" for denoise in ("06", "05", "099", "003")),
    *("fc_euler_normal", "fc_euler_karras", "fc_karras_full", "fc_normal_full"),
    *("fc_one_step_euler_normal", "fc_one_step_karras", "fbc_karras"),
)
"""Cases that differ from others in their sigmas alone: test_sampling compares those of every schedule."""
CASES = sorted(
    (
        case
        for case in RECORDED["cases"]
        if case["name"] in WHOLE_TEXTS or not case["name"].startswith("text_") and case["name"] not in SIGMAS_ALONE
    ),
    key=lambda case: ("fbc", "fc", "plain", "vae").index(case["wiring"]),
)
DECODED = {(case["wiring"], ARRAYS[f"{case['name']}.latents"].shape): case["name"] for case in reversed(CASES)}
"""The first case of each wiring and shape. The decoder sees latents alone, and these are compared in every case."""
LATENT_ERROR = 1e-4
"""Relative L2."""
PIXEL_SHARE = 1e-3
"""Of all pixels that are compared; they may differ by one level."""
FEW = 10
"""In one picture of some 4,000 pixels."""
OFFSETS = {"fc": "iclight_fc", "fbc": "iclight_fbc", "plain": None, "vae": None}

pytestmark = [pytest.mark.slow, pytest.mark.numeric]


Found = dict[tuple[Any, bytes], torch.Tensor]


def remembered(
    function: Callable[[torch.Tensor], torch.Tensor], found: Found
) -> Callable[[torch.Tensor], torch.Tensor]:
    """The same function, called once for equal pictures."""

    def call(pictures: torch.Tensor) -> torch.Tensor:
        key = pictures.shape, pictures.numpy().tobytes()
        if key not in found:
            found[key] = function(pictures)
        return found[key]

    return call


class Loaded:
    """The models of one wiring at a time; what is the same for all wirings is computed once."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._encoded, self._embedded = Found(), Found()
        self._wiring = ""
        self._pipeline: Pipeline | None = None

    def pipeline(self, wiring: str, recipe: Recipe | None = None) -> Pipeline:
        """Of a wiring; the models before are dropped, but what was made of texts and scenes is kept while one stays."""
        wiring = "plain" if wiring == "vae" else wiring
        if self._pipeline is None or wiring != self._wiring:
            self._pipeline = None
            paths = {name: self._folder / file for name, (file, _) in random_weights.FILES.items()}
            offsets = paths[OFFSETS[wiring]] if OFFSETS[wiring] else None
            files = Files(
                paths["checkpoint"], offsets, *(paths[name] for name in ("ip_adapter", "clip_vision", "control_net"))
            )
            loaded = Models(files, Placement(torch.device("cpu"), "fp32"))
            loaded.encode = remembered(loaded.encode, self._encoded)
            loaded.embed = remembered(loaded.embed, self._embedded)
            self._pipeline = Pipeline(loaded, Recipe())
            self._wiring = wiring
        self._pipeline.recipe = recipe or Recipe()
        return self._pipeline


@pytest.fixture(scope="module")
def loaded(random_models: Path) -> Iterator[Loaded]:
    """The modules that are the same for all wirings are loaded once."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("load_vae", "load_text_encoder", "load_vision_encoder"):
            patch.setattr(models, name, cache(getattr(models, name)))
        yield Loaded(random_models)


def picture(name: str) -> torch.Tensor:
    """[1, 3, H, W] cut at the centre to multiples of 8, as ComfyUI's VAE Encode does."""
    levels = np.array(Image.open(DATA / "pictures" / name).convert("RGB"))
    height, width = (side // FACTOR * FACTOR for side in levels.shape[:2])
    top, left = (levels.shape[0] - height) // 2, (levels.shape[1] - width) // 2
    return whole(levels[top : top + height, left : left + width])


def whole(levels: np.ndarray[Any, Any]) -> torch.Tensor:
    return torch.from_numpy(levels.astype(np.float32) / 255).permute(2, 0, 1)[None]


def scene(name: str) -> torch.Tensor:
    return whole(np.array(Image.open(DATA / "pictures" / name).convert("RGB")))


def test_the_weights_are_the_files_that_comfyui_had(random_models: Path):
    for file, digest in RECORDED["weights"].items():
        with (random_models / file).open("rb") as data:
            assert hashlib.file_digest(data, "sha256").hexdigest() == digest, file


DIFFERENT: dict[str, tuple[int, int]] = {}
"""Case -> pixels that differ, and pixels."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_latents_are_comfyuis(case: dict[str, Any], loaded: Loaded):
    names = ("steps", "cfg", "sampler", "scheduler", "denoise", "ic_light_multiplier")
    weight = case["ip_adapter_weight"] or 0.0
    wiring = "fbc" if case["wiring"] == "fbc" else "fc"
    later = {name: case[name] for name in ("reference", "control_start", "control_end") if name in case}
    later |= {"control_strength": case["control_strength"]} if case.get("hints") else {}
    settings = {name: case[name] for name in names} | later
    recipe = Recipe(engine="embedded", wiring=wiring, ip_adapter_weight=weight, **settings)
    pipeline = loaded.pipeline(case["wiring"], recipe)
    pictures = torch.cat([picture(name) for name in case["pictures"]])
    wanted = torch.from_numpy(ARRAYS[f"{case['name']}.latents"])
    if case["wiring"] == "vae":
        with torch.inference_mode():
            latents = LATENT_SCALE * pipeline.models.encode(pictures)
    else:
        noise = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(case["seed"]))
        seen = NamedImage(case["scene"], scene(case["scene"]))
        backdrop = NamedImage(case["background"], picture(case["background"])) if wiring == "fbc" else None
        hints = torch.cat([picture(name) for name in case["hints"]]) if case.get("hints") else None
        arguments = (pictures, noise, case["positive"], case["negative"], seen, backdrop)
        if "embedding:" in case["positive"]:
            with pytest.raises(PictureError, match="textual inversion"):
                pipeline.latents(*arguments)
            return
        latents = pipeline.latents(*arguments, hints=hints)
    error = float((latents / LATENT_SCALE - wanted).norm() / wanted.norm())
    assert error <= LATENT_ERROR
    if case["name"] in DECODED.values():
        assert_pixels_are_comfyuis(case["name"], pipeline, latents)


def assert_pixels_are_comfyuis(name: str, pipeline: Pipeline, latents: torch.Tensor) -> None:
    decoded, again = pipeline.decode(latents)
    assert not any(again)
    # SaveImage cuts off where it should round.
    levels = (255 * decoded.permute(0, 2, 3, 1)).to(torch.uint8).numpy()
    difference = np.abs(levels.astype(int) - ARRAYS[f"{name}.pictures"]).max(axis=3)
    assert difference.max() <= 1
    DIFFERENT[name] = int((difference > 0).sum()), difference.size
    assert DIFFERENT[name][0] <= FEW * len(levels)


def test_hardly_a_pixel_differs():
    if len(DIFFERENT) < len(DECODED):
        pytest.skip("needs all cases")
    different, pixels = (sum(counts) for counts in zip(*DIFFERENT.values(), strict=True))
    assert different <= PIXEL_SHARE * pixels


@pytest.mark.parametrize("name", ["head_a", "scene", "scene_upright"])
def test_references_are_seen_as_comfyui_sees_them(name: str, loaded: Loaded):
    parts = np.load(DATA / "clip_vision.npz")
    found = loaded.pipeline("plain").models
    seen = scene(f"{name}.png")
    pixels = preprocessed(seen)[0, :, ::7, ::7].numpy()
    # A value may lie on the border of two of the 256 levels that it is rounded to.
    assert np.abs(pixels - parts[f"{name}.pixels"]).max() <= 1 / 255 / 0.26 + 1e-6
    assert (np.abs(pixels - parts[f"{name}.pixels"]) > 1e-5).mean() < 0.002
    with torch.inference_mode():
        embedding = found.embed(seen)
    np.testing.assert_allclose(embedding.numpy(), parts[f"{name}.image_embeds"], rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", sorted(np.load(DATA / "text.npz").files))
def test_texts_are_encoded_as_comfyui_encodes_them(name: str, loaded: Loaded):
    texts = {"default": (POSITIVE, NEGATIVE), **TEXTS}
    text = texts[name.split(".")[0]][name.endswith("negative")]
    if "embedding:" in text:
        return  # refused: test_text
    with torch.inference_mode():
        found = loaded.pipeline("plain").models.encode_text(text)[0, :, ::96].numpy()
    np.testing.assert_allclose(found, np.load(DATA / "text.npz")[name], rtol=1e-4, atol=1e-4)


def test_the_middle_block_never_sees_the_reference(loaded: Loaded):
    with torch.inference_mode():
        half = loaded.pipeline("plain").models.half(torch.zeros(1, 77, 768), [torch.zeros(1, 768)], 1.0)
    assert [len(part) for part in half.references] == [1] * 15 + [0]
