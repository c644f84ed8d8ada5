"""The models of one recipe on one device, and the few things they do: encode, denoise, decode."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engines.embedded import fast_convolution, group_norm
from engines.embedded.attention import Half, attended, install
from engines.embedded.image_prompt import ImagePrompt, preprocessed
from engines.embedded.loading import (
    load_control_net,
    load_text_encoder,
    load_unet,
    load_vae,
    load_vision_encoder,
    open_all,
)
from engines.embedded.sampling import Denoiser
from engines.embedded.text import windows

LATENT_SCALE = 0.18215
"""What Stable Diffusion 1.5 multiplies latents by, so that their standard deviation is about 1."""
LATENT_CHANNELS = 4
FACTOR = 8
"""Pixels to a side of a latent's."""
DARKEST = 2 / 255
"""A decoded image that is nowhere brighter is black."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where models run, and how."""

    device: torch.device
    precision: str
    """fp32, bf16 or fp16."""
    compile: bool = False
    low_memory: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and activations."""
        return DTYPES[self.precision]


@dataclass(frozen=True, slots=True)
class Files:
    """Model files; None leaves that model out."""

    checkpoint: Path
    ic_light: Path | None = None
    ip_adapter: Path | None = None
    clip_vision: Path | None = None
    control_net: Path | None = None

    @property
    def by_role(self) -> dict[str, Path]:
        """Those that are given, by role."""
        found = {role: getattr(self, role) for role in self.__slots__}
        return {role: path for role, path in found.items() if path is not None}


@dataclass(frozen=True, slots=True, eq=False)
class Control:
    """How a ControlNet holds the depth of a batch."""

    hints: Tensor
    """[B, 3, H, W] in 0..1, what it sees of each image."""
    halves: Sequence[Half]
    """What it attends to, from ``control_half``; as many as the UNet's."""
    strength: float
    sigmas: tuple[float, float]
    """Largest and smallest at which it acts."""


class Models:
    """Stable Diffusion 1.5 with IC-Light, IP-Adapter and ControlNet.

    Arguments and results are on the device, in float32.
    """

    def __init__(self, files: Files, placement: Placement, plain: bool = False):
        """Loads the files; with ``plain``, convolutions stay torch's own on a CPU, too.

        Raises:
            EngineError: one is damaged or of another kind.
        """
        self.placement = placement
        self._files = files
        self._active = ""
        with open_all(files.by_role):
            pass  # all fit each other, which is checked before the first is read
        home = torch.device("cpu") if placement.low_memory else placement.device
        dtype, shape = placement.dtype, torch.channels_last
        unet: Any = load_unet(files.checkpoint, files.ic_light, dtype)
        vae: Any = load_vae(files.checkpoint, dtype)
        text: Any = load_text_encoder(files.checkpoint, dtype)
        self._modules: dict[str, Any] = {
            "unet": unet.to(home, memory_format=shape),
            "vae": vae.to(home, memory_format=shape),
            "text encoder": text.to(home),
        }
        self.in_channels = int(unet.config["in_channels"])
        """Of the UNet: 4 of the noisy latent, 4 more for each image that IC-Light sees."""
        self._layers = install(unet)
        self._adapter: ImagePrompt | None = None
        if files.ip_adapter is not None and files.clip_vision is not None:
            self._adapter = ImagePrompt(files.ip_adapter, placement.device, dtype)
            vision: Any = load_vision_encoder(files.clip_vision, dtype)
            self._modules["vision encoder"] = vision.to(home)
        self._control: Any = None
        if files.control_net is not None:
            control: Any = load_control_net(files.control_net, dtype)
            self._control = control.to(home, memory_format=shape)
            self._control_layers = install(control)
        if placement.device.type == "cpu" and placement.precision == "fp32" and not (placement.compile or plain):
            for module in filter(None, (unet, vae, self._control)):
                fast_convolution.install(module)
                group_norm.install(module)
        self._vae_fp32: Any = None
        if placement.compile:
            unet.forward = torch.compile(unet.forward)
            vae.encoder.forward = torch.compile(vae.encoder.forward)
            vae.decoder.forward = torch.compile(vae.decoder.forward)
            if self._control is not None:
                self._control.forward = torch.compile(self._control.forward)

    def _module(self, name: str) -> Any:
        """A module, on the device; with low_memory the one that was active before leaves it."""
        if self.placement.low_memory and self._active != name:
            if self._active:
                self._move(self._active, torch.device("cpu"))
            self._move(name, self.placement.device)
            self._active = name
        return self._modules[name]

    def _move(self, name: str, device: torch.device) -> None:
        """Moves a module; the ControlNet goes with the UNet, as both run in each step."""
        self._modules[name].to(device)
        if name == "unet" and self._control is not None:
            self._control.to(device)

    def encode_text(self, text: str) -> Tensor:
        """[1, 77 n, 768] conditioning of a prompt of n windows: CLIP's last hidden state after its final norm.

        A weight moves a token's state away from that of the empty prompt, or towards it.

        Raises:
            PictureError: the prompt is invalid.
        """
        found = windows(text)
        encoder = self._module("text encoder")
        weights = torch.tensor([[weight for _, weight in window] for window in found], device=self.placement.device)
        weighted = bool((weights != 1).any())
        if weighted:
            found = [*found, *windows("")]
        tokens = torch.tensor([[token for token, _ in window] for window in found], device=self.placement.device)
        states = encoder(tokens).last_hidden_state.float()
        if weighted:
            empty = states[-1:]
            states = torch.where(
                weights[..., None] == 1, states[:-1], (states[:-1] - empty) * weights[..., None] + empty
            )
        return states.reshape(1, -1, states.shape[-1])

    def embed(self, images: Tensor) -> Tensor:
        """[B, E] CLIP's image embeddings of images [B, 3, H, W] in 0..1."""
        encoder = self._module("vision encoder")
        return encoder(preprocessed(images, encoder.config.image_size).to(self.placement.dtype)).image_embeds

    def half(self, text: Tensor, references: Sequence[Tensor], weight: float) -> Half:
        """What one half of the guidance attends to.

        Args:
            text: [1, T, 768] from ``encode_text``.
            references: [1 or B, E] each, from ``embed``, or zeros for the half without a prompt; none without
                IP-Adapter.
            weight: of the IP-Adapter, of which each reference has an equal share.
        """
        self._module("unet")
        tokens = [self._adapter.tokens(each) for each in references] if self._adapter is not None else []
        return attended(
            self._layers, text.to(self.placement.dtype), self._adapter, tokens, weight / max(len(tokens), 1)
        )

    def control_half(self, text: Tensor) -> Half:
        """What one half of the guidance attends to in the ControlNet; as ``half``, which has the references alone."""
        self._module("unet")
        return attended(self._control_layers, text.to(self.placement.dtype))

    def encode(self, images: Tensor) -> Tensor:
        """[B, 4, H/8, W/8] latents, unscaled, of images [B, 3, H, W] in 0..1: the mode of the VAE's posterior."""
        vae = self._module("vae")
        pixels = (2 * images - 1).to(self.placement.dtype)
        latents = [vae.encode(some).latent_dist.mode() for some in _split(pixels, self._vae_batch)]
        return torch.cat(latents).float()

    def decode(self, latents: Tensor) -> tuple[Tensor, list[bool]]:
        """Images [B, 3, H, W] in 0..1 of scaled latents [B, 4, h, w].

        Returns:
            The images, and for each whether it was black or not finite in half precision, so that it was decoded again
            in float32.
        """
        vae, dtype = self._module("vae"), self.placement.dtype
        images = torch.cat([_decoded(vae, some.to(dtype)) for some in _split(latents, self._vae_batch)])
        if dtype == torch.float32:
            return images, [False] * len(latents)
        again = [not bool(torch.isfinite(image).all()) or float(image.max()) <= DARKEST for image in images]
        for index in (index for index, failed in enumerate(again) if failed):
            if self._vae_fp32 is None:
                vae_fp32: Any = load_vae(self._files.checkpoint, torch.float32)
                self._vae_fp32 = vae_fp32.to(self.placement.device)
            images[index] = _decoded(self._vae_fp32, latents[index : index + 1].float())[0]
        return images, again

    @property
    def _vae_batch(self) -> int:
        """Images that go through the VAE at once; on a CPU more are no faster and take more memory."""
        return 1 if self.placement.low_memory or self.placement.device.type == "cpu" else 8

    def denoiser(
        self,
        halves: Sequence[Half],
        concat: Tensor | None,
        cfg: float,
        step: Callable[[], None] = lambda: None,
        control: Control | None = None,
    ) -> Denoiser:
        """The denoiser of a batch.

        Args:
            halves: without and with the prompt; with the prompt only where cfg is 1.
            concat: [1 or B, 4 n, h, w] latents that IC-Light sees beside the noisy one, None without IC-Light.
            cfg: guidance scale.
            step: called before each step.
            control: None without ControlNet.
        """
        unet, dtype = self._module("unet"), self.placement.dtype
        if control:
            control = replace(control, hints=control.hints.to(dtype, memory_format=torch.channels_last))

        def denoise(x: Tensor, sigma: float, time: int) -> Tensor:
            step()
            seen = x / float((torch.tensor(sigma, dtype=torch.float32) ** 2 + 1) ** 0.5)  # in float32, as ComfyUI
            latent = seen
            if concat is not None:
                seen = torch.cat([seen, concat.expand(len(x), -1, -1, -1)], dim=1)
            seen = seen.to(dtype, memory_format=torch.channels_last)
            when = torch.tensor(time, device=x.device)
            acting = control if control and control.sigmas[1] <= sigma <= control.sigmas[0] else None

            def run(some: Sequence[Half], held: Sequence[Half]) -> Tensor:
                beside = self._residuals(latent, when, acting, held) if acting else {}
                return unet(seen.repeat(len(some), 1, 1, 1), when, some, **beside).sample

            controls = control.halves if control else halves
            if self.placement.low_memory:
                pairs = zip(halves, controls, strict=True)
                noise = torch.cat([run([half], [held]) for half, held in pairs])
            else:
                noise = run(halves, controls)
            clean = [x - half.float() * sigma for half in noise.chunk(len(halves))]
            return clean[0] if len(clean) == 1 else clean[0] + (clean[1] - clean[0]) * cfg

        return denoise

    def _residuals(self, latent: Tensor, when: Tensor, control: Control, halves: Sequence[Half]) -> dict[str, Any]:
        """What the ControlNet adds inside the UNet, as arguments of that."""
        latent = latent.to(control.hints.dtype, memory_format=torch.channels_last)
        seen, hints = (each.repeat(len(halves), 1, 1, 1) for each in (latent, control.hints))
        found = self._control(seen, when, halves, hints, control.strength)
        return {
            "down_block_additional_residuals": found.down_block_res_samples,
            "mid_block_additional_residual": found.mid_block_res_sample,
        }


def _split(values: Tensor, size: int) -> Sequence[Tensor]:
    return values.to(memory_format=torch.channels_last).split(size)


def _decoded(vae: Any, latents: Tensor) -> Tensor:
    """[B, 3, H, W] float32 in 0..1 of scaled latents."""
    return ((vae.decode(latents / LATENT_SCALE).sample.float() + 1) / 2).clamp(0, 1)
