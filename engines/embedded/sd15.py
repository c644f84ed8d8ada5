"""What the files of Stable Diffusion 1.5 and its IP-Adapter have in common: prefixes of names, and sizes."""

from collections.abc import Iterable

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."
"""How the names of a checkpoint's UNet, VAE and text encoder begin."""
CONTROL = "control_model."
"""How the names of a ControlNet begin in some files; see control_prefix."""
CONTEXT = 768
"""Width of the text conditioning."""
CHANNELS = {"fc": 8, "fbc": 12}
"""Input channels of the IC-Light models: latent and foreground; latent, foreground and background."""
CROSS_ATTENTIONS = 16
"""Of the UNet, each with a key and a value layer of the IP-Adapter, numbered 1, 3, .. 31."""
TOKENS = 4
"""What the plain IP-Adapter turns an image into."""


def control_prefix(names: Iterable[str]) -> str:
    """How the names of a ControlNet begin in a file: CONTROL, or nothing."""
    return CONTROL if any(name.startswith(CONTROL) for name in names) else ""
