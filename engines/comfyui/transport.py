"""How images reach a server and return: through folders that it can access, or by upload and download.

Each prompt saves to a folder of its own, never to OUT itself; from there images are read, checked against the request,
and removed.
"""

import os
import shutil
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from acusim.errors import AcuSimError, EngineError, LayoutError, PictureError
from acusim.files import safe_join, sha256, write_atomic
from acusim.layout import depth_folder
from acusim.pictures import decode_rgb, read_file
from acusim.sample_id import SampleId
from engines.base import Request, Result
from engines.comfyui.binding import Places
from engines.comfyui.client import REFUSED_FILE, Client
from engines.comfyui.errors import BadAnswer, safe_text
from engines.comfyui.staging import Staging
from engines.scenes import Scene, scene_file

BLACK_LEVEL = 8
"""An image without any level above this is black."""
MAX_FOLDERS = 3
_PNG = b"\x89PNG\r\n\x1a\n"
MAX_DOUBTS = 8
"""Of a server about one mask."""


def sample_name(request: Request) -> str:
    """The sample ID of a request on servers, whose nodes know AcuSim's grammar only."""
    if isinstance(request.sample, SampleId):
        return str(request.sample)
    return f"F_{sha256(str(request.sample).encode())[:16]}_N_OTHER_0001"


def image_path(dataset: Path, request: Request) -> str:
    """A sample's image relative to the data set root, with forward slashes; what is not AcuSim's is laid out like it.

    Raises:
        LayoutError: it is not below the root.
    """
    if not isinstance(request.sample, SampleId):
        extension = ".png" if request.source_data.startswith(_PNG) else ".jpg"
        return f"all/image/img_{max(request.pixels.shape)}/{sample_name(request)}{extension}"
    for root in (dataset, Path(os.path.realpath(dataset))):
        if request.source.is_relative_to(root):
            return request.source.relative_to(root).as_posix()
    raise LayoutError(f"{str(request.source)!r} is not in the data set {str(dataset)!r}")


def saved_path(image: str) -> str:
    """Where Save Samples puts the PNG of a sample, relative to its folder."""
    return os.path.splitext(image)[0] + ".png"


class Transport(ABC):
    """How files are exchanged with one server."""

    def __init__(self, client: Client):
        self.client = client

    @abstractmethod
    def send(self, batch: Sequence[Request], images: Sequence[str], prompt_id: str) -> Places:
        """Makes sure that the server has the files for a prompt; returns where.

        Raises:
            AcuSimError: the scene cannot be read; or as the client.
        """

    @abstractmethod
    def fetch(self, path: str, prompt_id: str, limit: int) -> bytes:
        """The bytes of a file that a prompt saved; ``path`` is relative to its folder.

        Raises:
            BadAnswer: it does not exist, or is too large.
        """

    def discard(self, prompt_id: str) -> None:
        """Removes what a prompt saved, where that is possible."""
        return None

    def forget_uploads(self) -> None:
        """The server may have lost its files: everything is uploaded again."""
        return None


class Shared(Transport):
    """Data set and OUT are below roots of the server."""

    def __init__(self, client: Client, staging: Staging, data_place: tuple[str, str], out_place: tuple[str, str]):
        """Takes the run's folder, and (root name, path below it) of the data set and of OUT."""
        super().__init__(client)
        self._staging = staging
        self._data_place = data_place
        self._out_root, below = out_place
        self._below = f"{below}/{staging.below}" if below else staging.below
        self._scenes: dict[str, str] = {}
        """Hash of a scene -> name of the file that was copied."""
        self._lock = threading.Lock()

    def send(self, batch: Sequence[Request], images: Sequence[str], prompt_id: str) -> Places:
        """Copies the scene; the server reads the samples in place."""
        name = self._scene(batch[0].scene)
        return Places(
            *self._data_place,
            scene_root=self._out_root,
            scene_file=f"{self._below}/scenes/{name}",
            save_root=self._out_root,
            save_folder=f"{self._below}/{prompt_id}",
        )

    def _scene(self, scene: Scene) -> str:
        folder = self._staging.folder / "scenes"
        with self._lock:
            name = self._scenes.get(scene.sha256)
            if name is None or not (folder / name).is_file():
                data, name = named_scene(scene)
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                    write_atomic(folder / name, data)
                except OSError as error:
                    raise EngineError(f"cannot write {str(folder / name)!r}: {error.strerror}") from None
                self._scenes[scene.sha256] = name
        return name

    def fetch(self, path: str, prompt_id: str, limit: int) -> bytes:
        """Reads the file."""
        try:
            place = safe_join(self._staging.folder / prompt_id, path)
            if place.stat().st_size > limit:
                raise BadAnswer(self.client.url, f"{path}: {place.stat().st_size} bytes, at most {limit} are expected")
            return read_file(place)
        except OSError as error:
            raise BadAnswer(self.client.url, f"{path} was not saved: {error.strerror}") from None
        except (LayoutError, PictureError) as error:
            raise BadAnswer(self.client.url, f"{path} was not saved as requested: {error}") from None

    def discard(self, prompt_id: str) -> None:
        """Removes the prompt's folder."""
        shutil.rmtree(self._staging.folder / prompt_id, ignore_errors=True)


class Remote(Transport):
    """Samples and scenes are uploaded to the server's input folder, images downloaded from its output folder.

    ComfyUI cannot delete files: what was uploaded and saved stays there, below ``acusim/<token>``.
    """

    def __init__(self, client: Client, token: str):
        super().__init__(client)
        self._token = token
        self._folder_number = 0
        self._uploaded: set[tuple[str, str]] = set()
        self._scenes: dict[tuple[str, str], str] = {}
        """(folder, hash of a scene) -> path of the file that was uploaded."""
        self._lock = threading.Lock()

    @property
    def _folder(self) -> str:
        return f"acusim/{self._token}" + (f"-{self._folder_number}" if self._folder_number else "")

    def send(self, batch: Sequence[Request], images: Sequence[str], prompt_id: str) -> Places:
        """Uploads what the server does not have yet."""
        for _ in range(MAX_FOLDERS - 1):
            folder = self._folder
            try:
                return self._upload(batch, images, prompt_id, folder)
            except BadAnswer as error:
                if error.status in REFUSED_FILE:
                    raise
                # Other bytes have this name there, perhaps of an older data set: use a fresh folder.
                with self._lock:
                    if folder == self._folder:
                        self._folder_number += 1
        return self._upload(batch, images, prompt_id, self._folder)

    def _upload(self, batch: Sequence[Request], images: Sequence[str], prompt_id: str, folder: str) -> Places:
        for request, image in zip(batch, images, strict=True):
            self._upload_file(f"{folder}/{image}", request.source_data, request.source_sha256)
            if request.depth_data is not None:
                self._upload_file(f"{folder}/{_depth_path(image)}", request.depth_data, sha256(request.depth_data))
        path = self._scene(batch[0].scene, folder)
        saved = f"acusim/{self._token}/{prompt_id}"
        return Places("input", folder, "input", path, "output", saved)

    def _scene(self, scene: Scene, folder: str) -> str:
        """The path of a scene on the server; uploads it if necessary."""
        known = (folder, scene.sha256)
        if known not in self._scenes:
            data, name = named_scene(scene)
            path = f"{folder}/scenes/{name}"
            self._upload_file(path, data, sha256(data))
            self._scenes[known] = path
        return self._scenes[known]

    def _upload_file(self, path: str, data: bytes, digest: str) -> None:
        if (path, digest) in self._uploaded:
            return
        folder, name = os.path.split(path)
        self.client.upload(folder, name, data)
        self._uploaded.add((path, digest))

    def forget_uploads(self) -> None:
        """Clears the list of uploads."""
        self._uploaded.clear()
        self._scenes.clear()

    def fetch(self, path: str, prompt_id: str, limit: int) -> bytes:
        """Downloads the file."""
        folder, name = os.path.split(f"acusim/{self._token}/{prompt_id}/{path}")
        return self.client.view(folder, name, limit)


def named_scene(scene: Scene) -> tuple[bytes, str]:
    """A scene's file for servers, and its name there: by content, so that no scene replaces another.

    Raises:
        PictureError: it cannot be read, or was changed.
    """
    data, extension = scene_file(scene)
    return data, sha256(data)[:16] + extension


def _depth_path(image: str) -> str:
    split, _, size, name = image.split("/", 3)
    return f"{depth_folder(split, int(size.removeprefix('img_')))}/{os.path.splitext(name)[0]}.png"


@dataclass(frozen=True, slots=True)
class Submission:
    """What a prompt was requested to make."""

    batch: Sequence[Request]
    images: Sequence[str]
    """Each sample's image relative to the data set root."""
    prompt_id: str
    places: Places
    facts: Mapping[str, Any]
    """For each result."""


def collect_results(
    transport: Transport, submission: Submission, outputs: Mapping[str, Any], save_id: str
) -> list[Result | AcuSimError]:
    """The images of a prompt, each checked; an error in place of one that is not what was requested.

    Args:
        transport: to fetch them.
        submission: what was requested.
        outputs: node id -> output of the node.
        save_id: id of the Save node.

    Raises:
        BadAnswer: the answer as a whole does not belong to this prompt.
    """
    url = transport.client.url
    answer = outputs.get(save_id)
    entries = answer.get("acusim") if isinstance(answer, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise BadAnswer(url, "the prompt succeeded, but its Save node names no files")
    if len(entries) != len(submission.batch):
        raise BadAnswer(url, f"the Save node names {len(entries)} files for {len(submission.batch)} samples")
    found: list[Result | AcuSimError] = []
    for request, image, entry in zip(submission.batch, submission.images, entries, strict=True):
        try:
            found.append(_checked_image(transport, submission, request, saved_path(image), entry))
        except (BadAnswer, PictureError) as error:
            found.append(error)
    return found


def _checked_image(
    transport: Transport, submission: Submission, request: Request, path: str, entry: Mapping[str, Any]
) -> Result:
    url = transport.client.url
    height, width = request.pixels.shape[:2]
    if entry.get("sample") != (name := sample_name(request)):
        raise BadAnswer(url, f"an image of {safe_text(entry.get('sample'), 80)!r} where {name!r} is expected")
    if entry.get("finite") is not True:
        raise PictureError(
            "the server's picture is not finite (NaN): half precision overflows; start ComfyUI with --fp32-vae, "
            "or with --force-fp32 if that is not enough"
        )
    wanted: dict[str, Any] = {
        "file": f"{submission.places.save_folder}/{path}",
        "source_sha256": request.source_sha256,
        "width": width,
        "height": height,
    }
    for name, value in wanted.items():
        if entry.get(name) != value:
            raise BadAnswer(url, f"{path}: {name} is {safe_text(repr(entry.get(name)), 200)}, not {value!r}")
    limit = request.pixels.nbytes * 2 + (1 << 20)
    data = transport.fetch(path, submission.prompt_id, limit)
    if len(data) != entry.get("bytes"):
        raise BadAnswer(url, f"{path}: {len(data)} bytes, {safe_text(repr(entry.get('bytes')), 40)} were announced")
    if sha256(data) != entry.get("sha256"):
        raise BadAnswer(url, f"{path}: the file does not have the hash that the server named")
    try:
        image = decode_rgb(data, path)
    except PictureError as error:
        raise BadAnswer(url, str(error)) from None
    if image.pixels.shape != request.pixels.shape or image.notes:
        raise BadAnswer(url, f"{path}: not an RGB picture of {width} x {height}")
    lowest, highest = int(image.pixels.min()), int(image.pixels.max())
    if highest < BLACK_LEVEL:
        raise PictureError(
            f"the server's picture is black (no level above {highest}): half precision overflows; start ComfyUI with "
            "--fp32-vae"
        )
    if lowest == highest:
        raise PictureError(f"the server's picture is flat: every value is {lowest}")
    doubts = entry.get("doubts")
    texts = tuple(safe_text(doubt, 200) for doubt in doubts[:MAX_DOUBTS]) if isinstance(doubts, list) else ()
    return Result(np.ascontiguousarray(image.pixels), dict(submission.facts), texts, url)
