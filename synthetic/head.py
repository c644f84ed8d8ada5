"""One person: meshes, materials, baked ambient occlusion, acupoints, and the scene that rays are cast at."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synthetic import anatomy, ears, grids
from synthetic import body as body_rings
from synthetic.canvas import smooth_noise
from synthetic.grids import seam_normals, vertex_normals
from synthetic.hair import hair_mesh
from synthetic.identity import Identity, random_for
from synthetic.scene import Scene
from synthetic.shape import deform
from synthetic.texture import SkinPainter, skin_rgb, texture_coordinates

FloatArray = NDArray[np.floating]

SKIN, PLAIN_SKIN, SHIRT, HAIR = range(4)
"""Materials: the painted head; ears, neck and shoulders in one colour; the T-shirt; hair."""

_REFERENCE_SHOULDER_MM = 136.96
AO_RANGE_MM = 70.0
_AO_RAYS = 20
_AO_LIFT_MM = 0.8


@dataclass(frozen=True)
class Head:
    """A person ready to be looked at."""

    who: Identity
    vertices: NDArray[np.float32]
    """[V, 3] mm in the rig's frame."""
    normals: NDArray[np.float32]
    """[V, 3] unit."""
    faces: NDArray[np.int32]
    """[F, 3]."""
    material: NDArray[np.uint8]
    """[F] SKIN, PLAIN_SKIN, SHIRT or HAIR."""
    uv: NDArray[np.float32]
    """[V, 2] texels; meaningful for SKIN only."""
    openness: NDArray[np.float32]
    """[V] share of the sky that reaches the vertex, 0..1."""
    texture: NDArray[np.float32]
    """[H, W, 3] linear RGB of the painted head."""
    plain_skin: FloatArray
    """[3] linear RGB of ears, neck and shoulders."""
    strands: NDArray[np.float32]
    """[256, 2048] noise along the hair."""
    acupoints_mm: FloatArray
    """[174, 3] carried acupoints."""
    acupoint_normals: FloatArray
    """[174, 3] unit surface normals at them."""
    landmarks_mm: FloatArray
    """[468, 3] FaceMesh points, for measurements against the detector."""
    scene: Scene
    """All of it, for rays."""


def _ambient_openness(vertices: FloatArray, normals: FloatArray, scene: Scene, rng: np.random.Generator) -> FloatArray:
    """[N] 1 minus the distance-weighted share of a cosine-weighted hemisphere that is blocked."""
    origin = vertices + normals * _AO_LIFT_MM
    blocked = np.zeros(len(vertices), np.float32)
    for _ in range(_AO_RAYS):
        sphere = rng.standard_normal((len(vertices), 3), np.float32)
        sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
        ray = sphere + normals
        ray /= np.linalg.norm(ray, axis=1, keepdims=True) + 1e-6
        blocked += np.clip(1 - scene.distance(origin, ray) / AO_RANGE_MM, 0, 1)
    return 1 - blocked / _AO_RAYS


def _grid_openness(
    vertices: FloatArray,
    normals: FloatArray,
    shape: tuple[int, int],
    scene: Scene,
    rng: np.random.Generator,
    blur: float = 0.9,
) -> NDArray[np.float32]:
    """[rows * columns] openness of a grid, from every second vertex each way and slightly blurred."""
    rows, columns = shape
    some = (slice(None, None, 2), slice(None, None, 2))
    place, normal = (values.reshape(rows, columns, 3)[some] for values in (vertices, normals))
    sparse = _ambient_openness(place.reshape(-1, 3), normal.reshape(-1, 3), scene, rng).reshape(place.shape[:2])
    sparse = ndimage.gaussian_filter(sparse, blur, mode=("nearest", "wrap"))  # pyright: ignore[reportArgumentType]
    grid = np.meshgrid(np.arange(rows) / 2, np.arange(columns) / 2, indexing="ij")
    return ndimage.map_coordinates(sparse, grid, order=1, mode="nearest").astype(np.float32).ravel()


def build_head(who: Identity, seed: int) -> Head:
    """Makes a person's head.

    Args:
        who: the person.
        seed: of the data set.
    """
    mean = anatomy.mean_head(who.gender)
    body_vertices = deform(mean.vertices, who, mean.landmarks)
    landmarks = deform(mean.landmarks, who, mean.landmarks)
    body_faces = mean.faces
    head, body = mean.spans["head"], mean.spans["body"]

    normals = vertex_normals(body_vertices, body_faces)
    normals[head] = seam_normals(normals[head], grids.ROWS, grids.COLUMNS + 1)
    bare = np.r_[body_faces[mean.face_spans["head"]], body_faces[mean.face_spans["body"]]]
    hair = hair_mesh(who, seed, Scene(body_vertices, bare))
    shoulder = abs(float(body_vertices[mean.places.vertices[0, 0], 0]))
    shirt = body_rings.shirt_mesh(
        body_vertices[body],
        body_faces[mean.face_spans["body"]] - body.start,
        min(shoulder / _REFERENCE_SHOULDER_MM, 1),
    )

    all_vertices, all_normals, all_faces = [body_vertices], [normals], [body_faces]
    material = np.full(len(body_faces), PLAIN_SKIN, np.uint8)
    material[mean.face_spans["head"]] = SKIN
    materials, start = [material], len(body_vertices)
    for mesh, kind in ((shirt, SHIRT), (hair, HAIR)):
        if mesh is not None:
            all_vertices.append(mesh[0])
            all_normals.append(vertex_normals(*mesh))
            all_faces.append(mesh[1] + start)
            materials.append(np.full(len(mesh[1]), kind, np.uint8))
            start += len(mesh[0])
    vertices = np.vstack(all_vertices).astype(np.float32)
    smooth_normals = np.vstack(all_normals).astype(np.float32)
    faces = np.vstack(all_faces).astype(np.int32)
    scene = Scene(vertices, faces)

    rng = random_for("ambient", seed, who.index)
    openness = np.ones(len(vertices), np.float32)
    shirt_span = slice(len(body_vertices), len(body_vertices) + len(shirt[0]))
    for span, shape, blur in (
        (head, (grids.ROWS, grids.COLUMNS + 1), 0.9),
        (mean.spans["ear_left"], (ears.RINGS, ears.SPOKES), 0.5),
        (mean.spans["ear_right"], (ears.RINGS, ears.SPOKES), 0.5),
        (body, (body_rings.RINGS, body_rings.SPOKES), 1.6),
        (shirt_span, (body_rings.SHIRT_RINGS, body_rings.SPOKES), 2.0),
    ):
        openness[span] = _grid_openness(vertices[span], smooth_normals[span], shape, scene, rng, blur)

    uv = np.zeros((len(vertices), 2), np.float32)
    grid = grids.star_grid()
    u, v = texture_coordinates(grid.azimuth, grid.elevation)
    uv[head] = np.stack([u, v], -1).reshape(-1, 2)
    painter = SkinPainter(who, seed, mean.landmarks)

    points = mean.places.of(body_vertices) + mean.offsets_mm
    point_normals = mean.places.of(normals)
    point_normals /= np.linalg.norm(point_normals, axis=1, keepdims=True)
    noise = random_for("strands", seed, who.index)
    strands = sum(0.45 * smooth_noise(noise, (256, 2048), cells) for cells in ((5, 1000), (6, 500), (3, 220)))
    assert isinstance(strands, np.ndarray)
    return Head(
        who=who,
        vertices=vertices,
        normals=smooth_normals,
        faces=faces,
        material=np.concatenate(materials),
        uv=uv,
        openness=openness,
        texture=painter.paint(),
        plain_skin=skin_rgb(who.tone) * np.array([0.99, 0.97, 0.97]),
        strands=strands,
        acupoints_mm=points,
        acupoint_normals=point_normals,
        landmarks_mm=landmarks,
        scene=scene,
    )
