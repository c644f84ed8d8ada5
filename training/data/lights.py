"""The light of pictures, from the records inside them."""

from pathlib import Path

from acusim.errors import AcuSimError
from acusim.pictures import read_provenance
from acusim.weak_spots import ORIGINAL

_STUDIO = "studio"
_MAX_NAME = 80


def light_of(picture: Path) -> tuple[str, str]:
    """The light of a picture: a value that is the same for the same light, and a name for people.

    An augmented picture's is the SHA-256 of its scene, with the scene's file name; a synthetic one's its mode, where
    that is not the flat studio light; every other picture is an original.
    """
    try:
        record = read_provenance(picture)
    except AcuSimError:
        return ORIGINAL, ORIGINAL
    digest, scene, light = (record.get(name) for name in ("scene_sha256", "scene", "light"))
    if isinstance(digest, str) and isinstance(scene, str):
        return digest[:_MAX_NAME], scene[:_MAX_NAME]
    mode = light.get("mode") if isinstance(light, dict) else None
    value = mode[:_MAX_NAME] if isinstance(mode, str) and mode != _STUDIO else ORIGINAL
    return value, value
