"""Scene pictures: what sets the light and, if the recipe wants it, the background."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from acusim.errors import ConfigError, PictureError
from acusim.files import printable, sha256
from acusim.layout import UNPRINTABLE
from acusim.pictures import EXTENSIONS, decode_rgb, read_file

SHIPPED = Path(__file__).parent / "scene_pictures"


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture of an environment."""

    name: str
    """File name."""
    path: Path
    sha256: str
    """Of the file's bytes: what a scene *is*, wherever it lies."""


def read_scene(scene: Scene) -> bytes:
    """The scene's file.

    Raises:
        PictureError: it cannot be read, or is another picture by now.
    """
    data = read_file(scene.path, "scene")
    if sha256(data) != scene.sha256:
        raise PictureError(f"scene {scene.name!r} was changed while the batch ran; run it again")
    return data


def load_scenes(folder: Path | None = None) -> tuple[tuple[Scene, ...], tuple[str, ...]]:
    """The scenes of a folder, by name, and what is wrong with its other files.

    Args:
        folder: pictures of a user's own, .png or .jpg; None takes the shipped ones.

    Returns:
        The scenes, and one warning for each file that is no usable picture. Pictures of equal bytes count once.

    Raises:
        ConfigError: the folder does not exist, or holds no usable picture.
    """
    place = folder or SHIPPED
    if not place.is_dir():
        raise ConfigError(f"--scenes {str(place)!r} is not a folder")
    scenes: dict[str, Scene] = {}
    warnings: list[str] = []
    for path in sorted(place.iterdir(), key=lambda path: path.name):
        if path.name.startswith(".") or path.is_dir():
            continue
        if printable(path.name) != path.name:
            warnings.append(f"{printable(path.name)}: {UNPRINTABLE}")
            continue
        if path.suffix.lower() not in EXTENSIONS:
            warnings.append(f"{path.name}: not a picture, allowed are {', '.join(EXTENSIONS)}")
            continue
        try:
            data = read_file(path)
            decode_rgb(data, path.name)
        except PictureError as error:
            warnings.append(str(error))
            continue
        scene = Scene(path.name, path.absolute(), sha256(data))
        if scene.sha256 in scenes:
            warnings.append(f"{path.name}: the same picture as {scenes[scene.sha256].name}")
            continue
        scenes[scene.sha256] = scene
    if not scenes:
        told = f": {'; '.join(warnings[:3])}" if warnings else ""
        raise ConfigError(f"--scenes {str(place)!r} holds no usable scene picture (.png or .jpg){told}")
    return tuple(sorted(scenes.values(), key=lambda scene: scene.name)), tuple(warnings)


def pick_scene(scenes: tuple[Scene, ...], seed: int) -> Scene:
    """The scene of one picture, by highest random weight: adding a scene changes only the picks that it wins.

    Depends on the seed and on the scenes' content, not on names or order.
    """
    return max(scenes, key=lambda scene: hashlib.sha256(f"{seed}\n{scene.sha256}".encode()).digest())


def scenes_digest(scenes: tuple[Scene, ...]) -> str:
    """SHA-256 over the content of all scenes, in any order."""
    return sha256("\n".join(sorted(scene.sha256 for scene in scenes)).encode())
