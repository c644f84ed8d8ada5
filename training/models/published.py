"""The published ImageNet weights: the address of each file on the Hugging Face hub (published.toml), and its download.

torchvision itself publishes pickled files, which are not read here. The ``timm`` organisation has the same weights as
safetensors: torchvision's first training ("IMAGENET1K_V1") of ResNet, DenseNet and VGG. For ConvNeXt it has the
weights of ConvNeXt's authors instead, for the same network. HRNet's are its authors'.

The hashes are those that the hub shows on the files' pages (for resnet18 and resnet50 other projects pin the same).
Where none is known, the hash of the first download is stored and every later one is compared with it.
"""

import hashlib
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acusim.caches import cache_path
from acusim.errors import ConfigError, shown
from acusim.files import write_atomic

FILE = "model.safetensors"
SLACK_BYTES = 64 << 20
"""Most bytes of a file besides the network's own numbers: the 1000-class layer and its inputs, and the header."""


@dataclass(frozen=True, slots=True)
class Published:
    """One file on the hub."""

    repo: str
    revision: str
    """Commit, 40 hex digits; ``main`` where none is known, so that only the stored hash pins the file."""
    sha256: str | None
    """None where not known."""

    @property
    def url(self) -> str:
        """For downloading it by hand."""
        return f"https://huggingface.co/{self.repo}/resolve/{self.revision}/{FILE}"


PUBLISHED: dict[str, Published] = {
    name: Published(row["repo"], row["revision"], row.get("sha256"))
    for name, row in tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")).items()
}
"""By network: every backbone, and the trunk of the hand model HRNet."""


def fetch(name: str, own_bytes: int) -> tuple[Path, str, str]:
    """The published file of a network, from the hub's cache or from the hub, its hash checked.

    Args:
        name: one of PUBLISHED.
        own_bytes: size of the network's own numbers; a much larger file is not fetched.

    Returns:
        The file, its SHA-256, and a note for the user.

    Raises:
        ConfigError: it cannot be fetched, is too large, or is not the file that was pinned or downloaded first.
    """
    file = PUBLISHED[name]
    path = _cached_or_downloaded(file, own_bytes + SLACK_BYTES)
    digest = file_sha256(path)
    known = file.sha256 or _seen(file)
    if known is None:
        _remember(file, digest)
        note = f"{file.repo} has no hash to compare with: {digest} is trusted and stored"
        return path, digest, note
    if digest != known:
        where = "pinned" if file.sha256 else f"stored at the first download in {_memory()}"
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
                f"{file.url} has {size} bytes; at most {most_bytes} were expected: check it, {_by_hand(file)}"
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
    """The file of remembered hashes."""
    return cache_path("first_downloads")


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
