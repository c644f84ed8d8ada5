"""Schedules against ComfyUI's own, samplers against equations that have a solution."""

import json
import math
from pathlib import Path

import pytest
import torch

from acusim.errors import ConfigError
from engines.embedded import sampling

RECORDED = json.loads((Path(__file__).parents[2] / "data/embedded/sigmas.json").read_text())


def test_the_training_sigmas_are_comfyuis():
    assert len(RECORDED["table"]) == 1000
    torch.testing.assert_close(sampling.SIGMAS, torch.tensor(RECORDED["table"]), rtol=1e-6, atol=0)


@pytest.mark.parametrize("row", RECORDED["rows"], ids=lambda row: f"{row['scheduler']}-{row['steps']}-{row['denoise']}")
def test_a_schedule_is_comfyuis(row: dict[str, object]):
    found = sampling.schedule(row["scheduler"], row["steps"], row["denoise"])  # pyright: ignore[reportArgumentType]
    torch.testing.assert_close(found, torch.tensor(row["sigmas"]), rtol=2e-6, atol=0)
    assert [sampling.timestep(sigma) for sigma in found[:-1]] == row["timesteps"]
    noise, latent = torch.ones(1, 4, 2, 2), torch.full((1, 4, 2, 2), 3.0)
    scale = math.sqrt(1 + float(found[0]) ** 2) if row["pure_noise"] else float(found[0])
    assert sampling.start(noise, latent, found)[0, 0, 0, 0].item() == pytest.approx(scale + 3, rel=1e-6)


def test_a_schedule_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="scheduler 'beta' is not one of sgm_uniform, normal, karras"):
        sampling.schedule("beta", 4, 1)
    with pytest.raises(ConfigError, match="sampler 'heun' is not one of dpmpp_2m, euler"):
        sampling.sample("heun", lambda x, sigma, time: x, torch.zeros(1), torch.tensor([1.0, 0.0]))


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m"])
def test_a_perfect_denoiser_is_followed_to_the_clean_latent(sampler: str):
    # A denoiser that always answers the same latent: dx/dsigma = (x - clean) / sigma, so x - clean falls with sigma.
    clean, start = torch.tensor([[2.0, -1.0]]), torch.tensor([[12.0, 4.0]])
    sigmas = torch.tensor([10.0, 3.0, 0.5, 0.0])
    seen: list[torch.Tensor] = []

    def denoise(x: torch.Tensor, sigma: float, time: int) -> torch.Tensor:
        seen.append((x - clean) / sigma)
        return clean

    found = sampling.sample(sampler, denoise, start, sigmas)
    torch.testing.assert_close(found, clean)
    for slope in seen:
        torch.testing.assert_close(slope, torch.tensor([[1.0, 0.5]]))


def test_dpmpp_2m_is_of_second_order_and_euler_of_first():
    # Data of variance 1: the best denoiser is x / (1 + sigma^2), and the exact solution x * sqrt of the same ratio.
    def denoise(x: torch.Tensor, sigma: float, time: int) -> torch.Tensor:
        return x / (1 + sigma**2)

    def error(sampler: str, steps: int) -> float:
        sigmas = torch.logspace(1, -1, steps + 1, dtype=torch.float64)
        found = sampling.sample(sampler, denoise, torch.ones(1, dtype=torch.float64), sigmas)
        return abs(found.item() - math.sqrt((1 + 0.1**2) / (1 + 10**2)))

    assert 1.7 < error("euler", 100) / error("euler", 200) < 2.3
    assert 3.3 < error("dpmpp_2m", 100) / error("dpmpp_2m", 200) < 4.7
