"""Schedules and samplers against ComfyUI's own modules (tests/live/record_schedules.py), and against equations.

The last bit of an exponential, a logarithm or a power differs between processors; sums, products, quotients and roots
do not, as IEEE 754 fixes them. So what the second kind decides is compared exactly, on every machine: the tables, and
which timestep is nearest to a recorded logarithm. What the first kind decides is compared within its rounding.
"""

import json
import math
from collections.abc import Iterator
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest
import torch

from acusim.errors import ConfigError
from engines.embedded import sampling
from tests.support import ROOT, UNIT, rounding

pytestmark = pytest.mark.numeric

DATA = ROOT / "tests/data/embedded"
ROWS = json.loads((DATA / "sigmas.json").read_text())["rows"]
with np.load(DATA / "sigmas.npz") as _arrays:
    RECORDED = {name: torch.from_numpy(_arrays[name]) for name in _arrays.files}
KINDS = sorted({(row["scheduler"], row["denoise"]) for row in ROWS})
LAST_PLACE = 2 * UNIT
"""The most that the last bit of a float32 is of it."""
_INTERPOLATED = 6.2 * LAST_PLACE + 3 * 3.6 * UNIT + 2 * LAST_PLACE
ROUNDING = {"sgm_uniform": _INTERPOLATED, "normal": _INTERPOLATED, "karras": (7 + 2) * LAST_PLACE}
"""Of a sigma, relative. Interpolated: the times differ by a last place (some processors multiply and add in one), which
sigma follows with a power of 6.2 at most (where it is largest); three roundings of a logarithm of 3.6 at most; a last
place of an exponential on each of two machines. karras: a seventh power of what differs by a last place, and likewise a
power on each machine."""


def recorded(scheduler: str, denoise: float) -> Iterator[tuple[dict[str, Any], slice]]:
    """Rows of a kind and where their numbers lie."""
    first = 0
    for row in ROWS:
        place = slice(first, first + row["steps"])
        if (row["scheduler"], row["denoise"]) == (scheduler, denoise):
            yield row, place
        first = place.stop


def test_the_tables_are_comfyuis_bit_for_bit():
    assert len(RECORDED["table"]) == len(RECORDED["log_table"]) == 1000
    assert torch.equal(sampling.SIGMAS, RECORDED["table"])
    assert torch.equal(sampling.LOG_SIGMAS, RECORDED["log_table"])


def test_the_tables_cannot_differ_on_another_machine():
    """Against 40 decimal digits: no value lies so near to a rounding border that double precision could miss it."""
    low, high = Decimal(sampling.BETA_START**0.5), Decimal(sampling.BETA_END**0.5)
    with localcontext() as context:
        context.prec = 40
        alpha = Decimal(1)
        for i in range(sampling.TIMESTEPS):
            alpha *= 1 - (low + (high - low) * i / (sampling.TIMESTEPS - 1)) ** 2
            sigma = ((1 - alpha) / alpha).sqrt()
            # each of the i products errs by a unit at most, and 1 - alpha inherits that
            error = Decimal(2**-53) * (i + 8) * (1 + alpha / (1 - alpha))
            for exact, table, off in (
                (sigma, sampling.SIGMAS, error * sigma),
                (sigma.ln(), sampling.LOG_SIGMAS, error),
            ):
                assert float(table[i]) == float(np.float32(float(exact))), i
                assert np.float32(float(exact - off)) == np.float32(float(exact + off)), i


def test_what_is_recorded_covers_what_a_recipe_asks_for():
    assert len(ROWS) == 1143 and {row["scheduler"] for row in ROWS} == set(sampling.SCHEDULERS)
    for scheduler in sampling.SCHEDULERS:
        for denoise in (1.0, 0.9, 0.75, 0.6, 0.5, 0.3):
            assert {row["steps"] for row, _ in recorded(scheduler, denoise)} >= set(range(1, 61))


def test_the_nearest_timestep_is_comfyuis_ties_too():
    found = [sampling.nearest(log_sigma) for log_sigma in RECORDED["log_sigmas"]]
    assert found == RECORDED["timesteps"].tolist()


@pytest.mark.parametrize(("scheduler", "denoise"), KINDS)
def test_a_schedule_is_comfyuis(scheduler: str, denoise: float):
    ties, places = 0, 0
    for row, place in recorded(scheduler, denoise):
        found = sampling.schedule(scheduler, row["steps"], denoise)
        assert len(found) == row["steps"] + 1 and found[-1] == 0
        torch.testing.assert_close(found[:-1], RECORDED["sigmas"][place], rtol=ROUNDING[scheduler], atol=0)
        noise, latent = torch.ones(1, 4, 2, 2), torch.full((1, 4, 2, 2), 3.0)
        scale = math.sqrt(1 + float(found[0]) ** 2) if row["pure_noise"] else float(found[0])
        assert sampling.start(noise, latent, found)[0, 0, 0, 0].item() == pytest.approx(scale + 3, rel=8 * UNIT)
        for sigma, wanted in zip(found[:-1], RECORDED["timesteps"][place].tolist(), strict=True):
            time = sampling.timestep(sigma)
            places += 1
            if time != wanted:  # half-way between two, and this machine's exponential or logarithm another
                apart = (sigma.double().log() - sampling.LOG_SIGMAS.double()).abs()
                error = ROUNDING[scheduler] + 4 * UNIT * abs(math.log(sigma))
                assert abs(apart[time] - apart[wanted]) <= 2 * error, (row, time, wanted)
                ties += 1
    assert ties <= max(1, 0.02 * places)


@pytest.mark.parametrize("sampler", sorted(sampling.SAMPLERS))
def test_a_sampler_leads_where_comfyuis_does(sampler: str):
    noise, sigmas = RECORDED["noise"], sampling.schedule("sgm_uniform", 24, 1.0)

    def denoise(x: torch.Tensor, sigma: float, time: int) -> torch.Tensor:
        return x / (1 + torch.tensor(sigma) ** 2)

    found = sampling.sample(sampler, denoise, sampling.start(noise, torch.zeros_like(noise), sigmas), sigmas)
    # every step multiplies by a factor made by some ten roundings
    torch.testing.assert_close(found, RECORDED[f"{sampler}.x"], rtol=rounding([10] * 24), atol=0)


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


@pytest.mark.parametrize(
    ("share", "sigma"),
    [
        (0.0, math.inf),
        (0.001, 14.526362419128418),
        (0.2, 5.092408180236816),
        (0.5, 1.6155803203582764),
        (0.7, 0.8318837285041809),
        (0.95, 0.2254522740840912),
        (1.0, 0.0),
    ],
)
def test_shares_of_the_schedule_are_comfyuis(share: float, sigma: float):
    """Recorded from ModelSamplingDiscrete.percent_to_sigma of ComfyUI 0.3.64, which has 999999999.9 for 0."""
    assert sampling.sigma_at(share) == pytest.approx(sigma, rel=1e-6)
