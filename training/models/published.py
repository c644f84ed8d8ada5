"""The published ImageNet weights: where each file lies on the Hugging Face hub, and fetching it.

torchvision itself publishes pickled files, which are not read here. The ``timm`` organisation has the same weights as
safetensors: torchvision's first training ("IMAGENET1K_V1") of ResNet, DenseNet and VGG. torchvision's own training of
ConvNeXt is not among them; what is there are the weights of ConvNeXt's authors, for the same network. HRNet's are its
authors'.

The hashes below are those that the hub itself shows on the files' pages (for resnet18 and resnet50 other projects pin
the same). Where none is known, the hash of the first download is remembered and every later one is held against it.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acusim.errors import ConfigError, shown
from acusim.files import write_atomic

FILE = "model.safetensors"
SLACK_BYTES = 64 << 20
"""What a file may have beyond the network's own numbers: the 1000-class layer and what leads to it, and the header."""


@dataclass(frozen=True, slots=True)
class Published:
    """One file on the hub."""

    repo: str
    revision: str
    """Commit, 40 hex digits; ``main`` where none is known, so that only the remembered hash pins the file."""
    sha256: str | None
    """None: not known; never guessed."""

    @property
    def url(self) -> str:
        """Where it can be fetched by hand."""
        return f"https://huggingface.co/{self.repo}/resolve/{self.revision}/{FILE}"


PUBLISHED: dict[str, Published] = {
    "resnet18": Published(
        "timm/resnet18.tv_in1k",
        "bbd144b3e5565108aad885f145491d11bc6ce807",
        "694f673df6520a3158624e8a89af086f59923ee4cd7436fe5bc3bc71d295ad81",
    ),
    "resnet50": Published(
        "timm/resnet50.tv_in1k",
        "78f3ecfdb38e06d9b8397f662e7ab8fee96026fa",
        "5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888",
    ),
    "resnet101": Published("timm/resnet101.tv_in1k", "main", None),
    "resnet152": Published(
        "timm/resnet152.tv_in1k",
        "1f8fa579af406a6f10e457a6dce6909c9157a70f",
        "15897077afdf4d6334dc0c3f8e6fb483afb3faa9298c139f3c6eb29bca6ae5b2",
    ),
    "densenet169": Published("timm/densenet169.tv_in1k", "8c033a1f91d746e37e23229bf0445fff2125c89e", None),
    "densenet201": Published("timm/densenet201.tv_in1k", "main", None),
    "convnext_base": Published("timm/convnext_base.fb_in1k", "9868d443015978c683675b2f78030a9c943033f8", None),
    "convnext_large": Published(
        "timm/convnext_large.fb_in1k",
        "dee7ca2eafd52ae5e4546df6d19bd935b6385203",
        "657d0be988c24d14138f74805c34c69b5e493596a92dadbd3a63e7079ddbe28e",
    ),
    "vgg16": Published(
        "timm/vgg16.tv_in1k",
        "b8d8aa2dd860af9233c8c67385a8097fd6c35d3f",
        "57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8",
    ),
    "vgg16_bn": Published(
        "timm/vgg16_bn.tv_in1k",
        "e00c01e7cee168262dcba6428dc4a8f41e27e965",
        "88bbedbc8e780413736db38ac4efd41b06fc0e93fd5b8879b584bba63a950129",
    ),
    "vgg19": Published(
        "timm/vgg19.tv_in1k",
        "128d4708565b3a414bcbb9bbad440b2fe37b9f18",
        "11aea017b543ff59233749d8f1cf544cda749378f5790d2fedab841fb86b7669",
    ),
    "vgg19_bn": Published(
        "timm/vgg19_bn.tv_in1k",
        "857683a806d7bac35f54d8fc1ed0331536e7e68f",
        "f8249087e63bae61c6166bb23d7c26efe1b2a43fd9fb5cd60ac6ce00535ba312",
    ),
    "hrnet_w32": Published("timm/hrnet_w32.ms_in1k", "d3f87a845807b80ae4cfd95815416cfbe90fab99", None),
}
"""By network: every backbone, and the trunk of the hand model HRNet."""


def fetch(name: str, own_bytes: int) -> tuple[Path, str, str]:
    """The published file of a network, from the hub's cache or from the hub, its hash checked.

    Args:
        name: one of PUBLISHED.
        own_bytes: size of the network's own numbers; what is much larger is not fetched.

    Returns:
        The file, its SHA-256, and what the user should be told.

    Raises:
        ConfigError: it cannot be fetched, is too large, or is not the file that was pinned or seen first.
    """
    file = PUBLISHED[name]
    path = _cached_or_downloaded(file, own_bytes + SLACK_BYTES)
    digest = file_sha256(path)
    known = file.sha256 or _seen(file)
    if known is None:
        _remember(file, digest)
        note = f"{file.repo} has no hash to be checked against: {digest} is trusted and remembered"
        return path, digest, note
    if digest != known:
        where = "pinned" if file.sha256 else f"remembered from the first download in {_memory()}"
        raise ConfigError(
            f"{str(path)!r}, fetched from {file.url}, has SHA-256 {digest}, not the one {where}, {known}: delete it "
            f"and try again, {_by_hand(file)}"
        )
    return path, digest, f"{file.repo}, SHA-256 {digest} as {'pinned' if file.sha256 else 'at the first download'}"


def file_sha256(path: Path) -> str:
    """Hex digest of a file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"{str(path)!r} cannot be read: {error.strerror or error}") from None


def _cached_or_downloaded(file: Published, most_bytes: int) -> Path:
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache

    try:
        cached = try_to_load_from_cache(file.repo, FILE, revision=file.revision)
        if isinstance(cached, str):
            return Path(cached)
        size = get_hf_file_metadata(hf_hub_url(file.repo, FILE, revision=file.revision)).size
        if size is None or size > most_bytes:
            raise ConfigError(
                f"{file.url} has {size} bytes; at most {most_bytes} were expected: look there, {_by_hand(file)}"
            )
        return Path(hf_hub_download(file.repo, FILE, revision=file.revision))
    except ConfigError:
        raise
    except Exception as error:  # the hub's HTTP and storage libraries have errors of their own, without a common base
        why = shown(" ".join(str(error).split()))
        raise ConfigError(
            f"cannot fetch {file.url}: {type(error).__name__}: {why}; try again, {_by_hand(file)}"
        ) from None


def _by_hand(file: Published) -> str:
    return f"or fetch it on another machine and name the file instead of 'imagenet' ({file.url})"


def _memory() -> Path:
    """The file of remembered hashes: ``$XDG_CACHE_HOME/acusim-augment/first_downloads.json``."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "acusim-augment" / "first_downloads.json"


def _remembered() -> dict[str, Any]:
    try:
        hashes = json.loads(_memory().read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return hashes if isinstance(hashes, dict) else {}


def _seen(file: Published) -> str | None:
    digest = _remembered().get(file.url)
    return digest if isinstance(digest, str) else None


def _remember(file: Published, digest: str) -> None:
    try:
        _memory().parent.mkdir(parents=True, exist_ok=True)
        write_atomic(_memory(), json.dumps({**_remembered(), file.url: digest}, indent=1).encode())
    except OSError as error:
        raise ConfigError(f"{str(_memory())!r} cannot be written: {error.strerror or error}") from None
