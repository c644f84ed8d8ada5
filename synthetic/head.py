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
    """A person ready to be rendered."""

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
    blur: float,
) -> NDArray[np.float32]:
    """[rows * columns] openness of a grid, from every second vertex each way and slightly blurred."""
    rows, columns = shape
    some = (slice(None, None, 2), slice(None, None, 2))
    place, normal = (values.reshape(rows, columns, 3)[some] for values in (vertices, normals))
    sparse = _ambient_openness(place.reshape(-1, 3), normal.reshape(-1, 3), scene, rng).reshape(place.shape[:2])
    sparse = ndimage.gaussian_filter(sparse, blur, mode=("nearest", "wrap"))  # pyright: ignore[reportArgumentType]
    grid = np.meshgrid(np.arange(rows) / 2, np.arange(columns) / 2, indexing="ij")
    return ndimage.map_coordinates(sparse, grid, order=1, mode="nearest").astype(np.float32).ravel()


def build_head(who: Identity, seed: int, *, trunk: bool = False) -> Head:
    """Builds a person's head.

    Args:
        who: the person.
        seed: of the data set.
        trunk: whether the body goes on below the shoulders, for cameras that may see it; the rig's do not.
    """
    mean = anatomy.mean_head(who.gender)
    bare = deform(mean.vertices, who, mean.landmarks)
    normals = vertex_normals(bare, mean.faces)
    head = mean.spans["head"]
    normals[head] = seam_normals(normals[head], grids.ROWS, grids.COLUMNS + 1)
    meshes = _meshes(who, seed, mean, bare, normals, trunk)
    faces, start = [], 0
    for mesh in meshes:
        faces.append(mesh.faces + start)
        start += len(mesh.vertices)
    vertices = np.vstack([mesh.vertices for mesh in meshes]).astype(np.float32)
    smooth_normals = np.vstack([mesh.normals for mesh in meshes]).astype(np.float32)
    joined = np.vstack(faces).astype(np.int32)
    scene = Scene(vertices, joined)

    uv = np.zeros((len(vertices), 2), np.float32)
    grid = grids.star_grid()
    u, v = texture_coordinates(grid.azimuth, grid.elevation)
    uv[head] = np.stack([u, v], -1).reshape(-1, 2)
    point_normals = mean.places.of(normals)
    point_normals /= np.linalg.norm(point_normals, axis=1, keepdims=True)
    noise = random_for("strands", seed, who.index)
    strands = sum(0.45 * smooth_noise(noise, (256, 2048), cells) for cells in ((5, 1000), (6, 500), (3, 220)))
    assert isinstance(strands, np.ndarray)
    return Head(
        who=who,
        vertices=vertices,
        normals=smooth_normals,
        faces=joined,
        material=np.concatenate([mesh.material for mesh in meshes]),
        uv=uv,
        openness=_openness(who, seed, mean, meshes, vertices, smooth_normals, scene),
        texture=SkinPainter(who, seed, mean.landmarks).paint(),
        plain_skin=skin_rgb(who.tone) * np.array([0.99, 0.97, 0.97]),
        strands=strands,
        acupoints_mm=mean.places.of(bare) + mean.offsets_mm,
        acupoint_normals=point_normals,
        landmarks_mm=deform(mean.landmarks, who, mean.landmarks),
        scene=scene,
    )


@dataclass(frozen=True)
class _Mesh:
    """One of the meshes that are joined: the bare head with its body, the shirt, the hair."""

    vertices: FloatArray
    normals: FloatArray
    faces: NDArray[np.int32]
    material: NDArray[np.uint8]


def _meshes(
    who: Identity, seed: int, mean: anatomy.MeanHead, bare: FloatArray, normals: FloatArray, trunk: bool
) -> list[_Mesh]:
    """The bare head and body, the shirt, the hair of those who have some, and the trunk where it is wanted."""
    head_faces, body_faces = (mean.faces[mean.face_spans[name]] for name in ("head", "body"))
    body = mean.spans["body"]
    material = np.full(len(mean.faces), PLAIN_SKIN, np.uint8)
    material[mean.face_spans["head"]] = SKIN
    out = [_Mesh(bare, normals, mean.faces, material)]
    shoulder = abs(float(bare[mean.places.vertices[0, 0], 0]))
    shirt = body_rings.shirt_mesh(bare[body], body_faces - body.start, min(shoulder / _REFERENCE_SHOULDER_MM, 1))
    hair = hair_mesh(who, seed, Scene(bare, np.r_[head_faces, body_faces]))
    below = body_rings.trunk_mesh(shirt[0]) if trunk else None
    for mesh, kind in ((shirt, SHIRT), (hair, HAIR), (below, SHIRT)):
        if mesh is not None:
            out.append(_Mesh(mesh[0], vertex_normals(*mesh), mesh[1], np.full(len(mesh[1]), kind, np.uint8)))
    return out


def _openness(
    who: Identity,
    seed: int,
    mean: anatomy.MeanHead,
    meshes: list[_Mesh],
    vertices: FloatArray,
    normals: FloatArray,
    scene: Scene,
) -> NDArray[np.float32]:
    """[V] openness of each grid; 1 on the hair."""
    rng = random_for("ambient", seed, who.index)
    out = np.ones(len(vertices), np.float32)
    bare, shirt = (len(mesh.vertices) for mesh in meshes[:2])
    for span, shape, blur in (
        (mean.spans["head"], (grids.ROWS, grids.COLUMNS + 1), 0.9),
        (mean.spans["ear_left"], (ears.RINGS, ears.SPOKES), 0.5),
        (mean.spans["ear_right"], (ears.RINGS, ears.SPOKES), 0.5),
        (mean.spans["body"], (body_rings.RINGS, body_rings.SPOKES), 1.6),
        (slice(bare, bare + shirt), (body_rings.SHIRT_RINGS, body_rings.SPOKES), 2.0),
    ):
        out[span] = _grid_openness(vertices[span], normals[span], shape, scene, rng, blur)
    return out
