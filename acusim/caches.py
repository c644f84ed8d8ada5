"""Where the project keeps what it can compute or download again.

Downloaded model files are in the Hugging Face hub's own cache (``HF_HUB_CACHE``, ``HF_HOME``), which other programs
share.
"""

from pathlib import Path
from typing import Literal

from platformdirs import user_cache_path

from acusim.errors import ConfigError

Kind = Literal["images", "model_hashes", "first_downloads"]
_PLACES: dict[Kind, str] = {"images": "", "model_hashes": "weights.json", "first_downloads": "first_downloads.json"}


def cache_path(kind: Kind) -> Path:
    """The folder or file of a cache, below ``$XDG_CACHE_HOME/acusim-augment`` (Linux: ``~/.cache/acusim-augment``).

    Args:
        kind: images is the folder of decoded images; model_hashes and first_downloads are JSON files of hashes.

    Returns:
        The path, which need not exist.

    Raises:
        ConfigError: there is no home folder.
    """
    try:
        return user_cache_path("acusim-augment", appauthor=False) / _PLACES[kind]
    except RuntimeError as error:
        raise ConfigError(f"no folder for caches: {error}") from None
