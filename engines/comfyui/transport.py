"""How pictures reach a server and come back: through folders that it sees, or by upload and download.

Results are saved to a place of their own for each prompt, never to OUT itself; from there they are read, checked
against what was asked for, and taken away.
"""

import os
import shutil
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from acusim.errors import AcuSimError, EngineError, LayoutError, PictureError
from acusim.files import safe_join, sha256, write_atomic
from acusim.layout import depth_folder
from acusim.pictures import decode_rgb, read_file
from engines.base import Request, Result
from engines.comfyui.binding import Places
from engines.comfyui.client import REFUSED_FILE, Client
from engines.comfyui.errors import BadAnswer, words
from engines.comfyui.staging import Staging
from engines.scenes import Scene, scene_file

BLACK_LEVEL = 8
"""A picture without any level above this is black."""
GENERATIONS = 3
MOST_DOUBTS = 8
"""Of a server's about one mask."""


def image_path(dataset: Path, request: Request) -> str:
    """A sample's picture relative to the data set root, with forward slashes.

    Raises:
        LayoutError: it does not lie there.
    """
    for root in (dataset, Path(os.path.realpath(dataset))):
        if request.source.is_relative_to(root):
            return request.source.relative_to(root).as_posix()
    raise LayoutError(f"{str(request.source)!r} does not lie in the data set {str(dataset)!r}")


def saved_path(image: str) -> str:
    """Where Save Samples puts the PNG of a sample, relative to its folder."""
    return os.path.splitext(image)[0] + ".png"


class Transport(ABC):
    """The way to one server and back."""

    name: ClassVar[str]

    def __init__(self, client: Client):
        self.client = client

    @abstractmethod
    def send(self, batch: Sequence[Request], images: Sequence[str], prompt_id: str) -> Places:
        """Makes sure that the server sees what a prompt needs, and says under which names.

        Raises:
            AcuSimError: the scene is not to be read; or as the client.
        """

    @abstractmethod
    def fetch(self, path: str, prompt_id: str, limit: int) -> bytes:
        """The bytes of a file that a prompt saved; ``path`` is relative to its folder.

        Raises:
            BadAnswer: it is not there, or too large.
        """

    def begin(self) -> None:
        """Takes away what an earlier run left, where that is possible."""
        return None

    def discard(self, prompt_id: str) -> None:
        """Takes away what a prompt saved, where that is possible."""
        return None

    def close(self) -> None:
        """Takes away everything that is left, where that is possible."""
        return None


class Shared(Transport):
    """Data set and OUT lie below roots of the server."""

    name = "shared"

    def __init__(self, client: Client, staging: Staging, data_place: tuple[str, str], out_place: tuple[str, str]):
        """Takes the run's folder, and (root name, path below it) of the data set and of OUT."""
        super().__init__(client)
        self._staging = staging
        self._data_place = data_place
        self._out_root, below = out_place
        self._below = f"{below}/{staging.below}" if below else staging.below
        self._scenes: dict[str, str] = {}
        """Names of scene files that were copied, by the hash of what they were made from."""
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Removes what dead runs left; refuses a staging folder that leads elsewhere."""
        self._staging.begin()

    def send(self, batch: Sequence[Request], images: Sequence[str], prompt_id: str) -> Places:
        """Copies the scene; the samples are there already."""
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
            raise BadAnswer(self.client.url, f"{path} was not saved as asked for: {error}") from None

    def discard(self, prompt_id: str) -> None:
        """Removes the prompt's folder."""
        shutil.rmtree(self._staging.folder / prompt_id, ignore_errors=True)

    def close(self) -> None:
        """Removes this run's folder."""
        self._staging.close()


class Remote(Transport):
    """Samples and scenes are uploaded to the server's input folder, pictures fetched from its output folder.

    ComfyUI offers no way to delete files: what was uploaded and saved stays there, below ``acusim/<token>``.
    """

    name = "remote"

    def __init__(self, client: Client, token: str):
        super().__init__(client)
        self._token = token
        self._generation = 0
        self._uploaded: set[tuple[str, str]] = set()
        self._scenes: dict[tuple[str, str], str] = {}
        """Paths of scenes that were uploaded, by folder and by the hash of what they were made from."""
        self._lock = threading.Lock()

    @property
    def _folder(self) -> str:
        return f"acusim/{self._token}" + (f"-{self._generation}" if self._generation else "")

    def send(self, batch: Sequence[Request], images: Sequence[str], prompt_id: str) -> Places:
        """Uploads what the server does not have yet."""
        for last in (False,) * (GENERATIONS - 1) + (True,):
            with self._lock:
                folder = self._folder
            try:
                return self._upload(batch, images, prompt_id, folder)
            except BadAnswer as error:
                if last or error.status in REFUSED_FILE:
                    raise
                # Other bytes lie there under the same name, perhaps of an older data set: begin a fresh folder.
                with self._lock:
                    if folder == self._folder:
                        self._generation += 1
        raise AssertionError("the last turn returns or raises")

    def _upload(self, batch: Sequence[Request], images: Sequence[str], prompt_id: str, folder: str) -> Places:
        for request, image in zip(batch, images, strict=True):
            self._put(f"{folder}/{image}", request.source_data, request.source_sha256)
            if request.depth_data is not None:
                self._put(f"{folder}/{_depth_path(image)}", request.depth_data, sha256(request.depth_data))
        path = self._scene(batch[0].scene, folder)
        saved = f"acusim/{self._token}/{prompt_id}"
        return Places("input", folder, "input", path, "output", saved)

    def _scene(self, scene: Scene, folder: str) -> str:
        """Where the server has a scene; uploads it if need be."""
        known = (folder, scene.sha256)
        if known not in self._scenes:
            data, name = named_scene(scene)
            path = f"{folder}/scenes/{name}"
            self._put(path, data, sha256(data))
            self._scenes[known] = path
        return self._scenes[known]

    def _put(self, path: str, data: bytes, digest: str) -> None:
        if (path, digest) in self._uploaded:
            return
        folder, name = os.path.split(path)
        self.client.upload(folder, name, data)
        self._uploaded.add((path, digest))

    def forget(self) -> None:
        """The server may have lost its files: upload everything again."""
        self._uploaded.clear()
        self._scenes.clear()

    def fetch(self, path: str, prompt_id: str, limit: int) -> bytes:
        """Downloads the file."""
        folder, name = os.path.split(f"acusim/{self._token}/{prompt_id}/{path}")
        return self.client.view(folder, name, limit)


def named_scene(scene: Scene) -> tuple[bytes, str]:
    """A scene's file for servers and its name there: by content, so that two scenes never meet.

    Raises:
        PictureError: it cannot be read, or was changed.
    """
    data, extension = scene_file(scene)
    return data, sha256(data)[:16] + extension


def _depth_path(image: str) -> str:
    split, _, size, name = image.split("/", 3)
    return f"{depth_folder(split, int(size.removeprefix('img_')))}/{os.path.splitext(name)[0]}.png"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a prompt was to make."""

    batch: Sequence[Request]
    images: Sequence[str]
    """Each sample's picture relative to the data set root."""
    prompt_id: str
    places: Places
    facts: Mapping[str, Any]
    """For each result."""


def received(
    transport: Transport, asked: Asked, outputs: Mapping[str, Any], save_id: str
) -> list[Result | AcuSimError]:
    """The pictures that a prompt made, each checked; an error instead where one is not what was asked for.

    Args:
        transport: how they come back.
        asked: what was asked for.
        outputs: node id -> what the node answered.
        save_id: the Save node.

    Raises:
        BadAnswer: the answer as a whole is none to this prompt.
    """
    url = transport.client.url
    answer = outputs.get(save_id)
    entries = answer.get("acusim") if isinstance(answer, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise BadAnswer(url, "the prompt succeeded, but its Save node names no files")
    if len(entries) != len(asked.batch):
        raise BadAnswer(url, f"the Save node names {len(entries)} files for {len(asked.batch)} samples")
    found: list[Result | AcuSimError] = []
    for request, image, entry in zip(asked.batch, asked.images, entries, strict=True):
        try:
            found.append(_picture(transport, asked, request, saved_path(image), entry))
        except (BadAnswer, PictureError) as error:
            found.append(error)
    return found


def _picture(transport: Transport, asked: Asked, request: Request, path: str, entry: Mapping[str, Any]) -> Result:
    url = transport.client.url
    height, width = request.pixels.shape[:2]
    if entry.get("sample") != str(request.sample):
        raise BadAnswer(url, f"a picture of {words(entry.get('sample'), 80)!r} where {str(request.sample)!r} is due")
    if entry.get("finite") is not True:
        raise PictureError(
            "the server's picture is not finite (NaN): half precision overflows; start ComfyUI with --fp32-vae, "
            "or with --force-fp32 if that is not enough"
        )
    wanted: dict[str, Any] = {
        "file": f"{asked.places.save_folder}/{path}",
        "source_sha256": request.source_sha256,
        "width": width,
        "height": height,
    }
    for name, value in wanted.items():
        if entry.get(name) != value:
            raise BadAnswer(url, f"{path}: {name} is {words(repr(entry.get(name)), 200)}, not {value!r}")
    limit = request.pixels.nbytes * 2 + (1 << 20)
    data = transport.fetch(path, asked.prompt_id, limit)
    if len(data) != entry.get("bytes"):
        raise BadAnswer(url, f"{path}: {len(data)} bytes came, {words(repr(entry.get('bytes')), 40)} were announced")
    if sha256(data) != entry.get("sha256"):
        raise BadAnswer(url, f"{path}: the file does not have the hash that the server named")
    try:
        picture = decode_rgb(data, path)
    except PictureError as error:
        raise BadAnswer(url, str(error)) from None
    if picture.pixels.shape != request.pixels.shape or picture.notes:
        raise BadAnswer(url, f"{path}: not an RGB picture of {width} x {height}")
    lowest, highest = int(picture.pixels.min()), int(picture.pixels.max())
    if highest < BLACK_LEVEL:
        raise PictureError(
            f"the server's picture is black (no level above {highest}): half precision overflows; start ComfyUI with "
            "--fp32-vae"
        )
    if lowest == highest:
        raise PictureError(f"the server's picture is flat: every value is {lowest}")
    doubts = entry.get("doubts")
    told = tuple(words(doubt, 200) for doubt in doubts[:MOST_DOUBTS]) if isinstance(doubts, list) else ()
    return Result(np.ascontiguousarray(picture.pixels), dict(asked.facts), told, url)
