"""The Hugging Face hub: the pinned files in its cache, downloads, and errors that say what to do.

Cache, locks, resumed downloads and progress bars are huggingface_hub's own.
"""

import errno
import shutil
from pathlib import Path

from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    FileMetadataError,
    GatedRepoError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from acusim.errors import EngineError, shown
from engines.embedded.published import FOLDERS, Published, size_text

RETRY = "try again (files that were downloaded completely are kept)"


def cache_folder() -> Path:
    """The hub's cache: HF_HUB_CACHE, else $HF_HOME/hub."""
    return Path(constants.HF_HUB_CACHE)


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids downloads."""
    return constants.is_offline_mode()


def free_bytes() -> int | None:
    """Free space on the disk of the cache; None where it is unknown."""
    folder = cache_folder().absolute()
    try:
        return shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free
    except OSError:
        return None


def cached_file(file: Published) -> Path | None:
    """Where the cache holds a file of exactly the pinned revision; None if it does not."""
    if file.revision is None:
        return None
    try:
        path = try_to_load_from_cache(file.repo, file.path, revision=file.revision)
    except OSError:
        return None
    return Path(path) if isinstance(path, str) else None


def download(file: Published) -> Path:
    """Downloads a file into the cache, unless it is there; its hash is not checked.

    Raises:
        EngineError: it cannot be downloaded; says why, and how to do without.
    """
    if file.revision is None:
        raise EngineError(f"{file.name} is not downloaded, because no commit of {file.repo} is pinned; {by_hand(file)}")
    try:
        return Path(hf_hub_download(file.repo, file.path, revision=file.revision))
    except Exception as error:  # the hub's HTTP and storage libraries have errors of their own, without a common base
        why, do = _why(error)
        what = f"{file.name} ({size_text(file.size)}) from {file.repo} on {constants.ENDPOINT}"
        raise EngineError(f"cannot download {what}: {why}; {do}, or {by_hand(file)}") from None


def by_hand(file: Published) -> str:
    """What to do where the hub cannot be reached."""
    folder = FOLDERS[file.role][0]
    return (
        f"download the model files by hand and use --models DIR: this one belongs in DIR/{folder}, from {file.origin}"
    )


def _why(error: BaseException) -> tuple[str, str]:
    """What went wrong, and what to do."""
    cause = error.__cause__
    if isinstance(error, LocalEntryNotFoundError) and cause is not None:
        return _why(cause)
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set", "unset it"
    if isinstance(error, GatedRepoError):
        return "its authors require an agreement", "agree on its page and log in by `hf auth login`"
    if isinstance(error, RepositoryNotFoundError) or status == 401:
        do = "remove a token that is no longer valid (HF_TOKEN, or `hf auth logout`), since none is needed"
        return f"the hub refuses ({status or 401})", do
    if isinstance(error, RevisionNotFoundError | RemoteEntryNotFoundError):
        return "the hub no longer has it (404)", "look for a copy of the same name and hash"
    if status == 429:
        return "the hub asks for fewer requests (429)", "wait, or log in by `hf auth login`"
    if status is not None:
        return f"the hub answers {status}", RETRY
    if isinstance(error, FileMetadataError):
        return "what answers is not the hub", "check for a proxy or a login page in between"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {cache_folder()} is full", "free some space, or set another folder by HF_HOME"
    if isinstance(error, PermissionError) and error.errno is not None:
        return f"{cache_folder()} is not writable ({error.strerror})", "set another folder by HF_HOME"
    text = " ".join(str(error).split())
    if isinstance(error, LocalEntryNotFoundError | ConnectionError | TimeoutError) or _is_network_error(error):
        return f"no connection ({type(error).__name__}: {shown(text)})", "connect this machine to the network"
    return f"{type(error).__name__}: {shown(text)}", RETRY


def _is_network_error(error: BaseException) -> bool:
    """Whether this is an error of the HTTP library, whose package has changed its name before."""
    return any(kind.__name__ == "TransportError" for kind in type(error).__mro__)
