"""The models on a GPU against the same on the CPU."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engines.embedded.hardware import place
from engines.embedded.models import Files, Models
from engines.embedded.pipeline import NamedImage, Pipeline, noise_of
from engines.embedded.weight_files import ready_weights
from engines.options import EmbeddedOptions
from engines.recipe import Recipe

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.gpu


def decoded(models: Path, device: str, precision: str = "fp32", **how: bool) -> Tensor:
    """[2, 3, 128, 128] levels of two images."""
    recipe = Recipe.from_dict({"engine": "embedded", "steps": 4}, Recipe.from_toml(ROOT / "tools/random_weights.toml"))
    found, _ = ready_weights(recipe, models)
    files = Files(**{role: file.path for role, file in found.items() if file.path})
    placement = replace(place(EmbeddedOptions(device=device, precision=precision)), **how)
    pipeline = Pipeline(Models(files, placement), recipe)
    drawn = torch.Generator().manual_seed(0)
    pictures, scene = (torch.rand(shape, generator=drawn) for shape in ((2, 3, 128, 128), (1, 3, 96, 128)))
    on = placement.device
    latents = pipeline.latents(
        pictures.to(on), noise_of(range(2), 128, 128).to(on), "portrait", "cartoon", NamedImage("scene", scene.to(on))
    )
    return 255 * pipeline.decode(latents)[0].float().cpu()


@pytest.fixture(scope="module")
def on_the_cpu(random_models: Path) -> Tensor:
    """Shared, since it takes a minute."""
    return decoded(random_models, "cpu")


@pytest.mark.parametrize(
    ("precision", "how", "levels"),
    [
        ("fp32", {}, 0.3),
        ("fp32", {"low_memory": True}, 0.3),
        ("fp16", {}, 0.6),
        ("bf16", {}, 4.0),
    ],
)
def test_images_are_those_of_the_cpu(
    random_models: Path, on_the_cpu: Tensor, precision: str, how: dict[str, bool], levels: float
):
    error = (decoded(random_models, "cuda", precision, **how) - on_the_cpu).abs()
    print(f"{precision} {how}: {error.mean():.3f} levels on average, {error.max():.2f} at most")
    assert error.mean() < levels


def test_the_same_seed_gives_the_same_bytes(random_models: Path):
    assert torch.equal(decoded(random_models, "cuda", "bf16"), decoded(random_models, "cuda", "bf16"))
