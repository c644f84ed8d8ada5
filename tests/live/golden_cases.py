"""What is recorded from a ComfyUI server to hold the embedded engine to: the cases, and pictures to start from.

Everything here is arithmetic on constants: nothing of the code under test has a part in it.
"""

import io
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.live.golden_texts import NEGATIVE, POSITIVE, TEXTS

PICTURES: dict[str, tuple[int, int]] = {
    "head_a.png": (64, 64),
    "head_b.png": (64, 64),
    "backdrop.png": (64, 64),
    "wide.png": (96, 64),
    "wide_backdrop.png": (96, 64),
    "wider.png": (128, 64),
    "narrow_latent.png": (72, 64),
    "uneven.png": (100, 70),
    "scene.png": (300, 200),
    "scene_upright.png": (200, 300),
    "hint_a.png": (64, 64),
    "hint_b.png": (64, 64),
}
"""Name: width, height. The sides of uneven.png are no multiples of 8: ComfyUI's VAEEncode crops its middle."""


def picture(name: str) -> NDArray[np.uint8]:
    """One of PICTURES, [H, W, 3] RGB: ramps, a disc, a grating; integers only, so the same on every machine."""
    width, height = PICTURES[name]
    kind = list(PICTURES).index(name)
    y, x = np.mgrid[:height, :width]
    ramp_x, ramp_y = 255 * x // (width - 1), 255 * y // (height - 1)
    channels = [ramp_x, ramp_y, (ramp_x + 255 - ramp_y) // 2]
    colour = np.stack([channels[(kind + i) % 3] for i in range(3)], -1)
    across, down = 2 * x - width + 7 * (kind % 3), 2 * y - height + 5 * (kind % 2)
    disc = across**2 + down**2 < (min(width, height) * (7 + kind % 3) // 10) ** 2
    colour[disc] = (2 * colour[disc] + np.array([230, 170, 130]) + 8 * kind) // 3
    grating = (x // (3 + kind % 4) + y // 5) % 2 == 0
    colour[grating & ~disc] = colour[grating & ~disc] * 3 // 4
    return colour.clip(0, 255).astype(np.uint8)


def picture_png(name: str) -> bytes:
    """The same as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(picture(name)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


@dataclass(frozen=True, slots=True)
class Case:
    """One run of ComfyUI. The sampling settings have the names of the recipe's."""

    name: str
    wiring: str = "fc"
    """vae: encode and decode, no more; plain: no IC-Light; fc; fbc."""
    pictures: tuple[str, ...] = ("head_a.png",)
    """The samples, as one batch; all of one size. They are IC-Light's foreground and what the sampler starts from."""
    scene: str = "scene.png"
    """fc: the IP-Adapter's reference."""
    background: str = "backdrop.png"
    """fbc: the background, of the samples' size; the IP-Adapter's references are the samples themselves."""
    positive: str = POSITIVE
    negative: str = NEGATIVE
    steps: int = 4
    cfg: float = 4.0
    sampler: str = "dpmpp_2m"
    scheduler: str = "sgm_uniform"
    denoise: float = 0.5
    seed: int = 20
    ic_light_multiplier: float = 0.3
    ip_adapter_weight: float | None = 0.45
    """None: the graph has no IP-Adapter at all."""
    reference: str = "auto"
    """What the IP-Adapter sees, as in the recipe; both are two nodes of half the weight, first the scene."""
    hints: tuple[str, ...] = ()
    """What the ControlNet sees, one for each sample; none: the graph has no ControlNet."""
    control_strength: float = 1.0
    control_start: float = 0.0
    control_end: float = 1.0

    @property
    def references(self) -> tuple[str, ...]:
        """scene, sample or both."""
        if self.reference == "auto":
            return ("sample",) if self.wiring == "fbc" else ("scene",)
        return ("scene", "sample") if self.reference == "both" else (self.reference,)


def _cases() -> tuple[Case, ...]:
    alone = Case("", ip_adapter_weight=None)
    two = ("head_a.png", "head_b.png")
    cases = [Case(f"vae_{name[:-4]}", "vae", (name,)) for name in PICTURES if not name.startswith(("scene", "hint"))]
    cases += [
        Case("plain", "plain", denoise=1.0, ip_adapter_weight=None),
        Case("plain_b2", "plain", two, denoise=0.7, ip_adapter_weight=None),
        Case("plain_ip", "plain", denoise=0.7),
        replace(alone, name="fc_no_ip"),
        Case("fc"),
        Case("fc_full", denoise=1.0),
        Case("fc_b2", pictures=two),
        Case("fc_upright_scene", scene="scene_upright.png"),
        replace(alone, name="fc_denoise_06", steps=5, denoise=0.6),
        replace(alone, name="fc_denoise_05", steps=5, denoise=0.5),
        replace(alone, name="fc_denoise_099", steps=5, denoise=0.99),
        replace(alone, name="fc_denoise_005", steps=5, denoise=0.05),
        replace(alone, name="fc_denoise_003", steps=3, denoise=0.03),
        replace(alone, name="fc_denoise_001", steps=3, denoise=0.01),
        Case("fc_cfg_1", cfg=1.0, denoise=0.8),
        Case("fc_cfg_75", cfg=7.5, denoise=0.8),
        Case("fc_euler", sampler="euler", denoise=0.8),
        Case("fc_euler_normal", sampler="euler", scheduler="normal", denoise=0.8),
        Case("fc_euler_karras", sampler="euler", scheduler="karras", denoise=0.8),
        Case("fc_karras", scheduler="karras", denoise=0.8),
        Case("fc_normal", scheduler="normal", denoise=0.8),
        Case("fc_karras_full", scheduler="karras", denoise=1.0),
        Case("fc_normal_full", scheduler="normal", denoise=1.0),
        Case("fc_one_step", steps=1),
        Case("fc_one_step_full", steps=1, denoise=1.0),
        Case("fc_one_step_euler_normal", steps=1, denoise=1.0, sampler="euler", scheduler="normal"),
        Case("fc_one_step_karras", steps=1, denoise=1.0, scheduler="karras"),
        Case("fc_two_steps", steps=2, denoise=0.9),
        Case("fc_multiplier_018215", ic_light_multiplier=0.18215, denoise=0.8),
        Case("fc_multiplier_1", ic_light_multiplier=1.0, denoise=0.8),
        Case("fc_multiplier_0", ic_light_multiplier=0.0, denoise=0.8),
        Case("fc_ip_1", ip_adapter_weight=1.0, denoise=0.8),
        Case("fc_ip_0", ip_adapter_weight=0.0, denoise=0.8),
        Case("fc_seed_0", seed=0, denoise=0.8),
        Case("fc_seed_largest", seed=2**63 - 1, denoise=0.8),
        Case("fc_wide", pictures=("wide.png",)),
        Case("fc_wider", pictures=("wider.png",)),
        Case("fc_narrow_latent", pictures=("narrow_latent.png",)),
        Case("fc_uneven", pictures=("uneven.png",)),
        Case("fbc", "fbc"),
        Case("fbc_no_ip", "fbc", ip_adapter_weight=None),
        Case("fbc_b2", "fbc", two),
        Case("fbc_full", "fbc", denoise=1.0),
        Case("fbc_cfg_1", "fbc", cfg=1.0, denoise=0.8),
        Case("fbc_karras", "fbc", scheduler="karras", denoise=0.8),
        Case("fbc_multiplier_1", "fbc", ic_light_multiplier=1.0, denoise=0.8),
        Case("fbc_ip_1_b2", "fbc", two, ip_adapter_weight=1.0, denoise=0.8),
        Case("fbc_ip_0", "fbc", ip_adapter_weight=0.0, denoise=0.8),
        Case("fbc_wide", "fbc", ("wide.png",), background="wide_backdrop.png"),
        Case("fc_sample_b2", pictures=two, reference="sample", denoise=0.8),
        Case("fc_both_b2", pictures=two, reference="both", denoise=0.8),
        Case("fbc_scene", "fbc", reference="scene", denoise=0.8),
        Case("fbc_both_b2", "fbc", two, reference="both", denoise=0.8),
        Case("fc_control", hints=("hint_a.png",)),
        Case("fc_control_b2", pictures=two, hints=("hint_a.png", "hint_b.png"), denoise=0.8),
        Case("fc_control_weak", hints=("hint_a.png",), control_strength=0.35, denoise=1.0),
        Case("fc_control_cfg_1", hints=("hint_a.png",), cfg=1.0, denoise=0.8),
        Case("fc_control_range", hints=("hint_b.png",), steps=6, denoise=1.0, control_start=0.2, control_end=0.7),
        replace(alone, name="fc_control_long_text", hints=("hint_b.png",), positive=TEXTS["long_both"][0], denoise=0.8),
        Case("fbc_control_b2", "fbc", two, hints=("hint_b.png", "hint_a.png"), denoise=0.8),
    ]
    for name, (positive, negative) in TEXTS.items():
        cases.append(replace(alone, name=f"text_{name}", positive=positive, negative=negative, steps=3, denoise=0.8))
    return tuple(cases)


CASES = _cases()
