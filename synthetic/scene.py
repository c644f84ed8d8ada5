"""Ray casting: a thin, typed face over embree (embreex)."""

from typing import Any

import numpy as np
from embreex.mesh_construction import TriangleMesh  # type: ignore[import-untyped]
from embreex.rtcore_scene import EmbreeScene  # type: ignore[import-untyped]
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
NO_HIT = np.float32(1e30)


class Scene:
    """Triangles that rays can be cast at. Coordinates in mm."""

    def __init__(self, vertices: FloatArray, faces: NDArray[np.integer]) -> None:
        """Builds the tree over vertices [V, 3] and faces [F, 3]."""
        self._scene: Any = EmbreeScene()
        TriangleMesh(self._scene, np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(faces, np.int32))

    def first_hit(self, origins: FloatArray, rays: FloatArray) -> dict[str, NDArray[Any]]:
        """Nearest hit of each ray [N, 3].

        Returns:
            primID [N] (-1 for none), tfar [N] in lengths of the ray as given, u and v [N] barycentric.
        """
        return self._scene.run(_rows(origins), _rows(rays), output=1)

    def distance(self, origins: FloatArray, rays: FloatArray) -> NDArray[np.float32]:
        """[N] distance to the nearest hit in lengths of the ray; NO_HIT or more for none."""
        return self._scene.run(_rows(origins), _rows(rays), query="DISTANCE")

    def occluded(self, origins: FloatArray, rays: FloatArray) -> NDArray[np.bool_]:
        """[N] True where anything is on the ray."""
        return self._scene.run(_rows(origins), _rows(rays), query="OCCLUDED") >= 0


def _rows(values: FloatArray) -> NDArray[np.float32]:
    return np.ascontiguousarray(values, np.float32)
