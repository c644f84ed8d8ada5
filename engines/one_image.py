"""One image relit without a batch, for notebooks; ``engines.relight`` is its public form."""

from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acusim.errors import AcuSimError, ConfigError, SampleIdError
from acusim.files import sha256
from acusim.pictures import Picture, encode_depth, read_file, read_rgb
from acusim.sample_id import SampleId
from engines.base import Request
from engines.factory import make_engine
from engines.recipe import Recipe
from engines.scenes import Scene, load_scenes, open_scene, pick_scene, shipped_scenes

Source = str | PathLike[str] | NDArray[np.uint8]
DepthSource = str | PathLike[str] | NDArray[np.uint16] | NDArray[np.uint8]
LAST_FRAME = 144


def relit(
    image: Source,
    depth: DepthSource | None,
    scene: str | PathLike[str] | None,
    recipe: Recipe | None,
    seed: int,
    frame: int | None,
    bald: bool,
) -> NDArray[np.uint8]:
    """See ``engines.relight``."""
    recipe = recipe or Recipe(engine="relight")
    if recipe.engine != "relight":
        raise ConfigError(f"engine {recipe.engine!r} does not work on single images; use Recipe(engine='relight')")
    if not 0 <= seed < 2**63:
        raise ConfigError(f"seed = {seed} is outside 0..{2**63 - 1}")
    picture = _picture(image)
    path = None if isinstance(image, np.ndarray) else Path(image)
    request = Request(
        sample=_sample(path, frame),
        source=path or Path("image.png"),
        pixels=picture.pixels,
        source_data=picture.data,
        source_sha256=sha256(picture.data),
        depth=None,
        depth_data=None if depth is None else _depth_file(depth),
        scene=pick_scene(load_scenes()[0], seed) if scene is None else _scene(scene),
        bald=bald,
        prompt_set="",
        positive="",
        negative="",
        seed=seed,
        alpha=picture.alpha,
    )
    with make_engine(recipe) as engine:
        [answer] = engine.augment([request])
    if isinstance(answer, AcuSimError):
        raise answer
    return answer.pixels


def _picture(image: Source) -> Picture:
    if not isinstance(image, np.ndarray):
        return read_rgb(Path(image))
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ConfigError(f"an image of shape {image.shape} {image.dtype}; allowed is [H, W, 3] uint8")
    return Picture(np.ascontiguousarray(image), b"", ())


def _depth_file(depth: DepthSource) -> bytes:
    """A depth map as the bytes of a PNG."""
    if not isinstance(depth, np.ndarray):
        return read_file(Path(depth), "depth")
    if depth.dtype not in (np.uint16, np.uint8) or depth.ndim != 2:
        raise ConfigError(f"a depth map of shape {depth.shape} {depth.dtype}; allowed is [H, W] uint16 mm or uint8")
    return encode_depth(depth)


def _sample(path: Path | None, frame: int | None) -> SampleId:
    """A sample ID, of which the engine reads the frame."""
    if frame is not None and not 1 <= frame <= LAST_FRAME:
        raise ConfigError(f"frame = {frame} is outside 1..{LAST_FRAME}")
    try:
        named = SampleId.parse(path.stem).frame if path else 1
    except SampleIdError:
        named = 1
    return SampleId("F", "Image", "N", "HA", "O", frame or named)


def _scene(scene: str | PathLike[str]) -> Scene:
    """A photograph by its path, or a shipped scene by its name."""
    shipped = shipped_scenes()
    path = shipped.get(str(scene), Path(scene))
    if not path.is_file():
        raise ConfigError(f"scene {str(scene)!r} is neither a file nor one of {', '.join(shipped)}")
    return open_scene(path)
