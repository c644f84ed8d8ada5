"""Noise schedules and k-samplers of Stable Diffusion 1.5, equal to ComfyUI's.

Names follow k-diffusion (https://github.com/crowsonkb/k-diffusion): sigma is the noise's standard deviation, a denoiser
maps a noisy latent to its estimate of the clean one.

Every operation is one that ComfyUI does, in its order and precision, so that the sigmas of a machine are bit for bit
those of ComfyUI on it. That is necessary: sgm_uniform and normal have times half-way between two timesteps (832.5 with
24 steps), and the last bit of a logarithm decides which of the two is nearest.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from acusim.errors import ConfigError

TIMESTEPS = 1000
BETA_START, BETA_END = 0.00085, 0.012
KARRAS_RHO = 7.0

Denoiser = Callable[[Tensor, float, int], Tensor]
"""(x [B, 4, h, w], sigma, nearest timestep) -> estimate of the clean latent, of x's shape."""


def _training_sigmas() -> Tensor:
    """[1000] float64 sigma of each timestep: beta grows linearly in its square root."""
    betas = torch.linspace(BETA_START**0.5, BETA_END**0.5, TIMESTEPS, dtype=torch.float64) ** 2
    alphas = torch.cumprod(1 - betas, dim=0)
    return ((1 - alphas) / alphas) ** 0.5


SIGMAS = _training_sigmas().float()
LOG_SIGMAS = _training_sigmas().log().float()
"""[1000] float32. The logarithm is taken before rounding: that of SIGMAS differs in the last bit of 399 of them, and
would depend on the processor, as float32 logarithms do."""


def nearest(log_sigma: Tensor) -> int:
    """The timestep whose logarithm of sigma is nearest; of two equally near, the lower."""
    return int((log_sigma - LOG_SIGMAS).abs().argmin())


def timestep(sigma: Tensor) -> int:
    """The timestep whose sigma is nearest in the logarithm."""
    return nearest(sigma.log())


def log_sigma_at(times: Tensor) -> Tensor:
    """Logarithm of sigma at fractional timesteps, interpolated linearly."""
    low, high = times.floor().long(), times.ceil().long()
    share = times.frac()
    return (1 - share) * LOG_SIGMAS[low] + share * LOG_SIGMAS[high]


def sigma_at(share: float) -> float:
    """Sigma after a share 0..1 of the whole noise schedule; without bound at its start, 0 at its end."""
    if not 0 < share < 1:
        return math.inf if share <= 0 else 0.0
    return float(log_sigma_at(torch.tensor((1.0 - share) * (TIMESTEPS - 1))).exp())


def _sgm_uniform(steps: int) -> Tensor:
    return log_sigma_at(torch.linspace(TIMESTEPS - 1, 0, steps + 1)[:-1]).exp()


def _normal(steps: int) -> Tensor:
    return log_sigma_at(torch.linspace(TIMESTEPS - 1, 0, steps)).exp()


def _karras(steps: int) -> Tensor:
    """Karras et al. 2022, equation 5; the ends' roots are taken in double precision."""
    low, high = float(SIGMAS[0]) ** (1 / KARRAS_RHO), float(SIGMAS[-1]) ** (1 / KARRAS_RHO)
    return (high + torch.linspace(0, 1, steps) * (low - high)) ** KARRAS_RHO


SCHEDULERS: dict[str, Callable[[int], Tensor]] = {"sgm_uniform": _sgm_uniform, "normal": _normal, "karras": _karras}


def schedule(scheduler: str, steps: int, denoise: float) -> Tensor:
    """[n + 1] float32 sigmas, falling to 0.

    Args:
        scheduler: sgm_uniform, normal or karras.
        steps: how many are run.
        denoise: share of the schedule they are the end of: that of ``int(steps / denoise)`` steps.

    Raises:
        ConfigError: there is no such scheduler.
    """
    if scheduler not in SCHEDULERS:
        raise ConfigError(f"scheduler {scheduler!r} is not one of {', '.join(SCHEDULERS)}")
    total = int(steps / denoise) if denoise < 1 else steps
    sigmas = torch.cat([SCHEDULERS[scheduler](total), torch.zeros(1)])
    return sigmas[-(steps + 1) :]


def start(noise: Tensor, latent: Tensor, sigmas: Tensor) -> Tensor:
    """The noisy latent that sampling starts from.

    Args:
        noise: [B, 4, h, w] standard normal.
        latent: [B, 4, h, w] scaled latent of the sample.
        sigmas: the schedule.
    """
    first = float(sigmas[0])
    whole = math.isclose(first, float(SIGMAS[-1]), rel_tol=1e-5) or first > float(SIGMAS[-1])
    return noise * (torch.sqrt(1 + sigmas[0] ** 2) if whole else sigmas[0]) + latent


def _euler(denoise: Denoiser, x: Tensor, sigmas: Tensor) -> Tensor:
    """Karras et al. 2022, algorithm 2 without churn."""
    for now, after in zip(sigmas[:-1], sigmas[1:], strict=True):
        slope = (x - denoise(x, float(now), timestep(now))) / now
        x = x + slope * (after - now)
    return x


def _dpmpp_2m(denoise: Denoiser, x: Tensor, sigmas: Tensor) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2) in lambda = -log sigma; first and last step of first order."""
    old, old_width = None, None
    for now, after in zip(sigmas[:-1], sigmas[1:], strict=True):
        clean = denoise(x, float(now), timestep(now))
        here, there = -now.log(), -after.log()
        width = there - here
        target = clean
        if old is not None and old_width is not None and after > 0:
            share = 1 / (2 * (old_width / width))
            target = (1 + share) * clean - share * old
        x = ((-there).exp() / (-here).exp()) * x - torch.expm1(-width) * target
        old, old_width = clean, width
    return x


SAMPLERS: dict[str, Callable[[Denoiser, Tensor, Tensor], Tensor]] = {"dpmpp_2m": _dpmpp_2m, "euler": _euler}


def sample(sampler: str, denoise: Denoiser, x: Tensor, sigmas: Tensor) -> Tensor:
    """[B, 4, h, w] the latent after all steps.

    Args:
        sampler: dpmpp_2m or euler.
        denoise: called once for each step.
        x: where to start.
        sigmas: the schedule, on the CPU.

    Raises:
        ConfigError: there is no such sampler.
    """
    if sampler not in SAMPLERS:
        raise ConfigError(f"sampler {sampler!r} is not one of {', '.join(SAMPLERS)}")
    return SAMPLERS[sampler](denoise, x, sigmas)
