"""AcuSim Noise: each sample of a batch gets the noise that it would get alone."""

import importlib
import re
from dataclasses import dataclass
from typing import Any, ClassVar

from acusim.errors import ConfigError, shown
from acusim.seeds import derive_seed

from . import samples
from .samples import Samples
from .widgets import MAX_SEED, fixed_integer, link, text

_NUMBER = re.compile(r"[0-9]{1,20}")


class AcuSimNoise:
    """Noise by sample."""

    CATEGORY = "AcuSim"
    DESCRIPTION = (
        "Noise for SamplerCustomAdvanced that depends on each sample's own seed, never on its batch, so that an image "
        "can be regenerated alone. The seed is derived from base seed, sample ID, variant and attempt, as in the "
        "controller."
    )
    FUNCTION = "make"
    RETURN_TYPES = ("NOISE",)
    RETURN_NAMES = ("noise",)
    OUTPUT_TOOLTIPS: ClassVar[tuple[str, ...]] = ("For the input noise of SamplerCustomAdvanced.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The widgets."""
        return {
            "required": {
                "samples": link(samples.TYPE, samples.TOOLTIP),
                "seed": fixed_integer("Base seed of the whole run."),
                "variant": fixed_integer("Which image of the same sample; 0 is the first.", 9999),
                "attempt": fixed_integer("Which attempt at this image; 0 is the first.", 9999),
                "seeds": text(
                    "One seed per sample, separated by commas or spaces, used directly instead of seed, variant and "
                    "attempt. Empty: derived from those."
                ),
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, seeds: Any = None) -> Any:
        """Refuses an invalid list of seeds when a graph is queued; a linked input is None."""
        try:
            parse_seeds(seeds or "")
        except ConfigError as error:
            return str(error)
        return True

    def make(self, samples: Samples, seed: int, variant: int, attempt: int, seeds: str) -> tuple["SampleNoise"]:
        """The noise.

        Raises:
            ConfigError: seeds are not numbers in 0..2**64-1, or not one per sample.
        """
        given = parse_seeds(seeds)
        if given and len(given) != len(samples.samples):
            raise ConfigError(
                f"seeds holds {len(given)} numbers for {len(samples.samples)} samples; write one for each"
            )
        return (SampleNoise(given or tuple(derive_seed(seed, s.id, variant, attempt) for s in samples.samples)),)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Reads numbers separated by commas, spaces or lines.

    Raises:
        ConfigError: one is not a whole number in 0..2**64-1; names it.
    """
    out: list[int] = []
    for part in text.replace(",", " ").split():
        if not _NUMBER.fullmatch(part) or int(part) > MAX_SEED:
            raise ConfigError(f"seeds: {shown(part)} is not a whole number in 0..{MAX_SEED}")
        out.append(int(part))
    return tuple(out)


@dataclass(frozen=True, slots=True)
class SampleNoise:
    """The noise object that SamplerCustomAdvanced calls."""

    seeds: tuple[int, ...]
    """One for each sample."""

    @property
    def seed(self) -> int:
        """The seed of samplers that draw noise of their own."""
        return self.seeds[0]

    def generate_noise(self, input_latent: dict[str, Any]) -> Any:
        """[B, C, h, w] float32 on the CPU; element i is what a batch of that sample alone would get.

        Args:
            input_latent: "samples" is the latent [B, C, h, w].

        Raises:
            ConfigError: B is not the number of samples.
        """
        torch = importlib.import_module("torch")
        shape = tuple(input_latent["samples"].shape)
        if len(shape) != 4 or shape[0] != len(self.seeds):
            raise ConfigError(
                f"the latent is of shape {list(shape)}, but there is noise for {len(self.seeds)} samples: [B, C, h, w] "
                "with one element per sample is required"
            )
        parts = []
        for seed in self.seeds:
            generator = torch.manual_seed(seed)
            parts.append(torch.randn((1, *shape[1:]), dtype=torch.float32, generator=generator, device="cpu"))
        return torch.cat(parts)
