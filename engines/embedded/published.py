"""The published model files: where each is on the Hugging Face hub, pinned by commit, size and hash."""

from dataclasses import dataclass

from engines.recipe import Recipe, Wiring

FOLDERS = {
    "checkpoint": ("checkpoints",),
    "ic_light": ("unet", "diffusion_models"),
    "ip_adapter": ("ipadapter",),
    "clip_vision": ("clip_vision",),
    "control_net": ("controlnet",),
}
"""Role -> folders of ComfyUI's models, in ComfyUI's order of search. A role is a setting of the recipe."""


@dataclass(frozen=True, slots=True)
class Published:
    """One file as its authors published it. None: not known for certain; such a fact is never guessed."""

    role: str
    name: str
    """As recipes name it."""
    repo: str
    path: str
    """Within the repository."""
    revision: str | None
    """Commit, 40 hex digits, or the branch where only the hash is known; without one the file is not downloaded."""
    size: int | None
    """Bytes."""
    sha256: str | None
    """Without one a downloaded file is used unchecked, with a note."""
    licence: str
    wiring: Wiring | None = None
    """The only wiring that it serves."""

    @property
    def url(self) -> str:
        """Where it can be downloaded by hand."""
        if self.revision is None:
            return f"https://huggingface.co/{self.repo}, {self.path}"
        return f"https://huggingface.co/{self.repo}/resolve/{self.revision}/{self.path}"

    @property
    def origin(self) -> str:
        """Where it comes from, under what name to save it, how large it is, and its licence, in words."""
        renamed = "" if self.path.split("/")[-1] == self.name else f", saved as {self.name}"
        return f"{self.url}{renamed} ({size_text(self.size)}, {self.licence})"


RAIL = "CreativeML Open RAIL-M"
_FILES = (
    Published(
        role="checkpoint",
        name="v1-5-pruned-emaonly.safetensors",
        repo="stable-diffusion-v1-5/stable-diffusion-v1-5",
        path="v1-5-pruned-emaonly.safetensors",
        revision="451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        size=4265146304,
        sha256="6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa",
        licence=RAIL,
    ),
    Published(
        role="ic_light",
        name="iclight_sd15_fc.safetensors",
        repo="lllyasviel/ic-light",
        path="iclight_sd15_fc.safetensors",
        revision="9cad1878695f546a7fb9eaca14e2a89131ba5ffe",
        size=1719148312,
        sha256="a033fbaaa2f3f7859fa6a4477ee63ebbf9c116bf3569d5811856d2807f3468cd",
        licence=RAIL,
        wiring="fc",
    ),
    Published(
        role="ic_light",
        name="iclight_sd15_fbc.safetensors",
        repo="lllyasviel/ic-light",
        path="iclight_sd15_fbc.safetensors",
        revision="9cad1878695f546a7fb9eaca14e2a89131ba5ffe",
        size=1719171352,
        sha256="bb8ccedaa4944b16cfa8356afcbc2c2174cc4c4af57de19124ae0cddd0d96947",
        licence=RAIL,
        wiring="fbc",
    ),
    Published(
        role="ip_adapter",
        name="ip-adapter_sd15.safetensors",
        repo="h94/IP-Adapter",
        path="models/ip-adapter_sd15.safetensors",
        revision="018e402774aeeddd60609b4ecdb7e298259dc729",
        size=44642768,
        sha256="289b45f16d043d0bf542e45831f971dcdaabe18b656f11e86d9dfba7e9ee3369",
        licence="Apache-2.0",
    ),
    Published(
        role="clip_vision",
        name="CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors",
        repo="h94/IP-Adapter",
        path="models/image_encoder/model.safetensors",
        revision="018e402774aeeddd60609b4ecdb7e298259dc729",
        size=2528373448,
        sha256="6ca9667da1ca9e0b0f75e46bb030f7e011f44f86cbfb8d5a36590fcd7507b030",
        licence="Apache-2.0",
    ),
    Published(
        role="control_net",
        name="control_v11f1p_sd15_depth_fp16.safetensors",
        repo="comfyanonymous/ControlNet-v1-1_fp16_safetensors",
        path="control_v11f1p_sd15_depth_fp16.safetensors",
        revision="main",
        size=722601100,
        sha256="1c4a79aa52fb63f607cb9ff479ea5aa1923b6ceb21267bd14b69bd05d7b617be",
        licence=RAIL,
    ),
)
PUBLISHED = {file.name: file for file in _FILES}
"""The files that recipes name by default, by name."""


def published_file(role: str, name: str) -> Published | None:
    """The published file of a name without folders; None if there is none for this role."""
    file = PUBLISHED.get(name)
    return file if file is not None and file.role == role else None


def default_file(role: str, recipe: Recipe) -> Published:
    """The published file that serves a role in the recipe's wiring."""
    return next(file for file in PUBLISHED.values() if file.role == role and file.wiring in (None, recipe.wiring))


def size_text(size: int | None) -> str:
    """A size in bytes with its unit."""
    if size is None:
        return "unknown size"
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size} bytes"
