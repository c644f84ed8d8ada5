"""Scene pictures, which set the light and, with some recipes, the background."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acusim.errors import ConfigError, LayoutError, PictureError
from acusim.files import printable, sha256
from acusim.folders import folder_error, list_folder
from acusim.layout import UNPRINTABLE
from acusim.pictures import EXTENSIONS, encode, read_file
from acusim.scene_pictures import SCENE_EXTENSIONS, decode_scene

SHIPPED = Path(__file__).parent / "scene_pictures"


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture of an environment."""

    name: str
    """File name."""
    path: Path
    sha256: str
    """Of the file's bytes: what a scene *is*, in whatever folder."""


def read_scene(scene: Scene) -> bytes:
    """The scene's file.

    Raises:
        PictureError: it cannot be read, or has changed since it was opened.
    """
    data = read_file(scene.path, "scene")
    if sha256(data) != scene.sha256:
        raise PictureError(f"scene {scene.name!r} was changed while the batch ran; run it again")
    return data


def scene_pixels(scene: Scene) -> NDArray[np.uint8]:
    """[H, W, 3] the scene, upright.

    Raises:
        PictureError: as read_scene.
    """
    return decode_scene(read_scene(scene), scene.name).pixels


def scene_file(scene: Scene) -> tuple[bytes, str]:
    """The scene as a file for any other program, with its extension: unchanged where that is a plain picture.

    What had to be rotated, converted or scaled becomes a PNG of the pixels that every engine sees: another program may
    read a photograph differently, or not at all.

    Raises:
        PictureError: as read_scene.
    """
    data = read_scene(scene)
    picture, extension = decode_scene(data, scene.name), scene.path.suffix.lower()
    if picture.notes or extension not in EXTENSIONS:
        return encode(picture.pixels, ".png"), ".png"
    return data, extension


def open_scene(path: Path) -> Scene:
    """A scene by its file.

    Raises:
        PictureError: it is unreadable, or not a picture.
    """
    data = read_file(path, "scene")
    decode_scene(data, path.name)
    return Scene(path.name, path.absolute(), sha256(data))


def shipped_scenes() -> dict[str, Path]:
    """Name -> file of the scenes that come with the project."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.jpg"))}


def load_scenes(folder: Path | None = None) -> tuple[tuple[Scene, ...], tuple[str, ...]]:
    """The scenes of a folder, by name, and why its other files are not scenes.

    Args:
        folder: photographs of a user's own, as acusim.scene_pictures reads them; None takes the shipped ones.

    Returns:
        The scenes, and one warning for each file that is not a usable picture. Pictures of equal bytes count once.

    Raises:
        ConfigError: the folder does not exist, or holds no usable picture.
    """
    place = folder or SHIPPED
    if not os.path.isdir(place):
        fault = folder_error(place)
        raise ConfigError(f"--scenes {str(place)!r} is not a folder{f': {fault}' if fault else ''}")
    try:
        entries = list_folder(place)
    except LayoutError as error:
        raise ConfigError(f"--scenes: {error}") from None
    scenes: dict[str, Scene] = {}
    warnings: list[str] = []
    for entry in entries:
        path = place / entry.name
        if printable(path.name) != path.name:
            warnings.append(f"{printable(path.name)}: {UNPRINTABLE}")
            continue
        if entry.kind != "file":
            reason = "a folder; scenes in it are not read" if entry.kind == "folder" else entry.fault
            warnings.append(f"{path.name}: {reason}")
            continue
        if path.suffix.lower() not in SCENE_EXTENSIONS:
            warnings.append(f"{path.name}: not a picture, allowed are {', '.join(SCENE_EXTENSIONS)}")
            continue
        try:
            scene = open_scene(path)
        except PictureError as error:
            warnings.append(str(error).removeprefix("scene "))
            continue
        if scene.sha256 in scenes:
            warnings.append(f"{path.name}: the same picture as {scenes[scene.sha256].name}")
            continue
        scenes[scene.sha256] = scene
    if not scenes:
        reasons = f": {'; '.join(warnings[:3])}" if warnings else ""
        kinds = ", ".join(SCENE_EXTENSIONS)
        raise ConfigError(f"--scenes {str(place)!r} holds no usable scene picture ({kinds}){reasons}")
    return tuple(sorted(scenes.values(), key=lambda scene: scene.name)), tuple(warnings)


def pick_scene(scenes: tuple[Scene, ...], seed: int) -> Scene:
    """The scene of one image, by highest random weight: adding a scene changes only the picks that it wins.

    Depends on the seed and on the scenes' content, not on names or order.
    """
    return max(scenes, key=lambda scene: hashlib.sha256(f"{seed}\n{scene.sha256}".encode()).digest())


def scenes_digest(scenes: tuple[Scene, ...]) -> str:
    """SHA-256 over the content of all scenes, in any order."""
    return sha256("\n".join(sorted(scene.sha256 for scene in scenes)).encode())
