"""The relight engine against analytic spheres and lights; and that not one pixel moves."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from acusim.errors import PictureError
from acusim.foreground import silhouette
from acusim.pictures import FITTED, encode_depth
from acusim.sample_id import SampleId
from engines.base import Request, Result
from engines.recipe import Geometry, Recipe
from engines.relight import tones
from engines.relight.engine import RelightEngine, _gain
from engines.relight.geometry import normals_from_depth, surface_of
from engines.relight.grids import pick, put
from engines.scenes import Scene
from tests.engines.relight.ball import sphere
from tests.support import ROOT

pytestmark = pytest.mark.numeric


def _save_depth(path: Path, depth: np.ndarray) -> Path:
    Image.fromarray(np.rint(depth).astype(np.uint16)).save(path)
    return path


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """Bright at its left, dark at its right."""
    ramp = np.linspace(255, 0, 64).astype(np.uint8)
    path = tmp_path / "scene.png"
    Image.fromarray(np.repeat(np.tile(ramp, (64, 1))[..., None], 3, 2)).save(path)
    return path


def _request(pixels: np.ndarray, depth: Path | None, scene: Path, seed: int = 3, bald: bool = False) -> Request:
    sample = SampleId("F", "Ball", "N", "HA", "O", 1)
    depth_data = depth.read_bytes() if depth else None
    picture = Scene(scene.name, scene, hashlib.sha256(scene.read_bytes()).hexdigest())
    return Request(sample, Path("ball.png"), pixels, b"", "", depth, depth_data, picture, bald, "female", "", "", seed)


def _relight(request: Request, **settings: Any) -> Result:
    with RelightEngine(Recipe.from_dict({"engine": "relight", **settings})) as engine:
        [answer] = engine.augment([request])
    if isinstance(answer, Exception):
        raise answer
    return answer


def _textured_ball(size: int = 256, height: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    depth, normals = sphere(size, height)
    random = np.random.default_rng(0)
    texture = cv2.resize(
        random.uniform(0.5, 1, (size // 8, size // 8)), depth.shape[::-1], interpolation=cv2.INTER_CUBIC
    )
    colour = np.array([0.6, 0.4, 0.3]) * texture[..., None] * (0.4 + 0.6 * np.clip(-normals[..., 2:], 0, 1))
    return tones.to_srgb((colour * (depth > 0)[..., None]).astype(np.float32)), depth


def test_srgb_round_trip_is_exact_and_known():
    levels = np.arange(256, dtype=np.uint8)
    assert (tones.to_srgb(tones.to_linear(levels)) == levels).all()
    assert tones.to_linear(np.array([0, 255], np.uint8)).tolist() == [0, 1]
    assert tones.to_linear(np.array([188], np.uint8))[0] == pytest.approx(0.5029, abs=1e-4)  # IEC 61966-2-1


@pytest.mark.parametrize("size", [128, 512])
def test_normals_of_a_ball(size: int):
    depth, truth = sphere(size)
    found = normals_from_depth(np.rint(depth).astype(np.float32), depth > 0)
    inside = cv2.erode((depth > 0).astype(np.uint8), np.ones((3, 3))) > 0
    angle = np.degrees(np.arccos(np.clip((found * truth).sum(2)[inside], -1, 1)))
    assert np.median(angle) < 2 and np.percentile(angle, 95) < 9
    assert np.allclose(np.linalg.norm(found[depth > 0], axis=1), 1, atol=1e-5)
    assert (found[depth == 0] == 0).all()


def test_normals_do_not_bleed_over_a_depth_edge():
    """Two walls that face the camera, one 60 mm before the other: the step between them is no slope."""
    depth = np.full((128, 128), 900, np.float32)
    depth[:, 64:] = 840
    found = normals_from_depth(depth, np.ones((128, 128), bool))
    assert (found[..., 2] < -0.99).all()


def test_the_picture_gets_brighter_on_the_scenes_bright_side(tmp_path: Path, scene: Path):
    pixels, depth = _textured_ball()
    path = _save_depth(tmp_path / "d.png", depth)
    sides = []
    for seed in range(6):  # the seed may mirror the scene: background and light must agree
        out = _relight(_request(pixels, path, scene, seed), tone_shift=0.0, hair_shift=0.0).pixels.astype(float)
        head = depth > 0
        columns = np.arange(256)[None].repeat(256, 0)
        ratio = out.mean(2)[head] / np.maximum(pixels.mean(2)[head], 1)
        brighter_left = ratio[columns[head] < 110].mean() > ratio[columns[head] > 146].mean()
        background_left = out[:, :20].mean() > out[:, -20:].mean()
        assert brighter_left == background_left
        sides.append(brighter_left)
    assert len(set(sides)) == 2


def test_the_tone_counts_beside_the_light():
    random = np.random.default_rng(0)
    normals = random.normal(size=(400, 3))
    normals = (normals / np.linalg.norm(normals, axis=1, keepdims=True)).astype(np.float32)
    colours, new = random.uniform(0.1, 0.5, (400, 3)).astype(np.float32), random.uniform(0.5, 1, (9, 3))
    tone = np.array([1.2, 1.0, 0.7], np.float32)
    plain = _gain(colours, normals, new, 1.0, np.ones(3, np.float32))
    assert np.allclose(_gain(colours, normals, new, 1.0, tone), plain * tone, rtol=1e-5) and plain.std() > 0


def test_nothing_to_do_returns_the_input_bit_for_bit(tmp_path: Path, scene: Path):
    pixels, depth = _textured_ball()
    path = _save_depth(tmp_path / "d.png", depth)
    nothing = {"light_strength": 0.0, "hair_shift": 0.0, "tone_shift": 0.0, "background": "keep"}
    assert (_relight(_request(pixels, path, scene), **nothing).pixels == pixels).all()
    noisy = np.random.default_rng(0).integers(0, 256, pixels.shape, dtype=np.uint8)
    assert (_relight(_request(noisy, path, scene), **nothing).pixels == noisy).all()


def _detail(pixels: np.ndarray) -> np.ndarray:
    grey = np.log(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float64) + 4)
    return grey - cv2.GaussianBlur(grey, (0, 0), 4)


def _best_shift(before: np.ndarray, after: np.ndarray) -> tuple[int, int]:
    """Whole-pixel shift (dx, dy) at which the texture in the middle of two pictures correlates best."""
    window = (slice(80, 176), slice(80, 176))
    shifts = [(dx, dy) for dx in range(-2, 3) for dy in range(-2, 3)]
    still, moving = _detail(before)[window].ravel(), _detail(after)
    scores = [np.corrcoef(still, np.roll(moving, (-dy, -dx), (0, 1))[window].ravel())[0, 1] for dx, dy in shifts]
    assert max(scores) > 0.9
    return shifts[int(np.argmax(scores))]


@pytest.mark.parametrize("with_depth", [True, False])
def test_not_one_pixel_moves(tmp_path: Path, scene: Path, with_depth: bool):
    pixels, depth = _textured_ball()
    pixels[depth > 0] += np.random.default_rng(0).integers(0, 24, (*depth.shape, 1), dtype=np.uint8)[depth > 0]
    path = _save_depth(tmp_path / "d.png", depth) if with_depth else None
    out = _relight(_request(pixels, path, scene)).pixels
    assert out.shape == pixels.shape
    assert _best_shift(pixels, out) == (0, 0)
    moved = _relight(_request(np.roll(pixels, 1, 1), _rolled(path), scene)).pixels
    assert _best_shift(pixels, moved) == (1, 0)  # the test can tell one pixel
    # What is changed at one pixel of the head changes at that pixel and nowhere else.
    marked = pixels.copy()
    marked[140, 120] = 255 - marked[140, 120]
    change = np.abs(_relight(_request(marked, path, scene)).pixels.astype(int) - out).max(2)
    assert change[140, 120] > 20
    change[140, 120] = 0
    assert change.max() <= 1


def _rolled(path: Path | None) -> Path | None:
    if path is None:
        return None
    moved = path.with_name("rolled.png")
    Image.fromarray(np.roll(np.asarray(Image.open(path)), 1, 1)).save(moved)
    return moved


def test_backgrounds(tmp_path: Path, scene: Path):
    pixels, depth = _textured_ball()
    studio = pixels.copy()
    studio[depth == 0] = (10, 60, 20)
    path = _save_depth(tmp_path / "d.png", depth)
    far = cv2.dilate((depth > 0).astype(np.uint8), np.ones((9, 9))) == 0
    kept = _relight(_request(studio, path, scene), background="keep").pixels
    assert (kept[far] == studio[far]).all()
    black = _relight(_request(studio, path, scene), background="black").pixels
    assert (black[far] == 0).all()
    behind = _relight(_request(studio, path, scene), background="scene").pixels
    assert behind[far].std() > 40 and (behind[depth > 0] != studio[depth > 0]).any()


def test_edges_take_no_old_background_along(tmp_path: Path, scene: Path):
    """An antialiased grey ball that stood before green: over black its rim holds no green."""
    depth, _ = sphere(512)
    share = cv2.resize((depth > 0).astype(np.float32), (256, 256), interpolation=cv2.INTER_AREA)[..., None]
    small, _ = sphere(256)
    mixed = 0.4 * share + np.array([0.0, 0.5, 0.0]) * (1 - share)
    path = _save_depth(tmp_path / "d.png", small)
    out = _relight(
        _request(tones.to_srgb(mixed.astype(np.float32)), path, scene),
        background="black",
        tone_shift=0.0,
        hair_shift=0.0,
    ).pixels.astype(int)
    rim = (share[..., 0] > 0) & (share[..., 0] < 1)
    assert rim.sum() > 200
    assert (out[rim][:, 1] - out[rim][:, [0, 2]].max(1)).mean() < 6


def test_each_geometry_is_named(tmp_path: Path, scene: Path):
    pixels, depth = _textured_ball()
    head = depth > 0
    near = np.where(head, 255 - 200 * (depth - 770) / 100, 0).clip(0, 255)
    far = np.where(head, 40 + 200 * (depth - 770) / 100, 255).clip(0, 255)
    maps = {"depth-mm16": depth, "depth-rel8-near-bright": near, "depth-rel8-far-bright": far}
    truth = sphere()[1]
    inside = cv2.erode(head.astype(np.uint8), np.ones((25, 25))) > 0
    for source, values in maps.items():
        path = tmp_path / f"{source}.png"
        Image.fromarray(values.astype(np.uint16 if source == "depth-mm16" else np.uint8)).save(path)
        surface = surface_of(pixels, path.read_bytes())
        assert surface.source == source
        assert (surface.mask == head).mean() > 0.99
        assert (surface.normals * truth).sum(2)[inside].mean() > 0.9
    inflated = surface_of(pixels, None)
    assert inflated.source == "silhouette-inflation"
    assert (inflated.mask == head).mean() > 0.99
    assert (inflated.normals * truth).sum(2)[inside].mean() > 0.9
    assert _relight(_request(pixels, None, scene)).facts == {"geometry": "silhouette-inflation"}


def test_a_hole_that_shows_the_background_is_no_head():
    pixels = np.zeros((128, 128, 3), np.uint8)
    cv2.circle(pixels, (64, 64), 50, (180, 140, 120), -1)
    cv2.circle(pixels, (64, 64), 10, (0, 0, 0), -1)  # seen through
    cv2.circle(pixels, (40, 50), 2, (2, 2, 2), -1)  # a pupil
    mask = silhouette(pixels)
    assert not mask[64, 64] and mask[50, 40] and mask[64, 30]


def test_faults_are_reported_and_never_worked_around(tmp_path: Path, scene: Path):
    pixels, depth = _textured_ball(128)
    empty = np.zeros((128, 128), np.uint16)
    speck = empty.copy()
    speck[5, 5] = 800
    cases: list[tuple[np.ndarray, np.ndarray | bytes | None, str]] = [
        (pixels, sphere(64)[0], "64 x 64"),
        (pixels, b"not a picture", "not a readable"),
        (pixels, empty, "every pixel is 0"),
        (pixels, speck, "no foreground"),
        (pixels, np.full((128, 128), 128, np.uint8) + np.eye(128, dtype=np.uint8), "background is 128"),
        (np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8), None, "not of one colour"),
        (np.full((128, 128, 3), 7, np.uint8), None, "no foreground"),
        (np.zeros((128, 128, 3), np.uint8), depth, "too dark"),
    ]
    for number, (picture, values, named) in enumerate(cases):
        path = tmp_path / f"{number}.png"
        if isinstance(values, bytes):
            path.write_bytes(values)
        elif values is not None:
            Image.fromarray(values.astype(np.uint8 if values.dtype == np.uint8 else np.uint16)).save(path)
        request = _request(picture, path if values is not None else None, scene)
        with RelightEngine(Recipe(engine="relight")) as engine:
            bad, good = engine.augment([request, _request(pixels, _save_depth(tmp_path / "good.png", depth), scene)])
        assert isinstance(bad, PictureError) and named in str(bad), bad
        assert isinstance(good, Result)  # one bad picture costs no other


@pytest.mark.parametrize("shape", [(64, 64), (65, 97), (200, 128), (1024, 1024)])
def test_any_shape(tmp_path: Path, scene: Path, shape: tuple[int, int]):
    pixels, depth = _textured_ball(shape[1], shape[0])
    path = _save_depth(tmp_path / "d.png", depth)
    for source in (path, None):
        out = _relight(_request(pixels, source, scene)).pixels
        assert out.shape == (*shape, 3) and out.dtype == np.uint8


_ELSEWHERE = """
import hashlib, json, sys
from pathlib import Path
from acusim.pictures import read_rgb
from acusim.sample_id import SampleId
from engines.base import Request
from engines.recipe import Recipe
from engines.relight.engine import RelightEngine
from engines.scenes import load_scenes
folder = Path(sys.argv[1])
sample = SampleId("F", "Ball", "N", "HA", "O", 1)
pixels = read_rgb(folder / "ball.png").pixels
[scene] = [s for s in load_scenes(folder)[0] if s.name == "scene.png"]
depth = (folder / "d.png").read_bytes()
requests = [
    Request(sample, Path("ball.png"), pixels, b"", "", folder / "d.png", depth, scene, False, "", "", "", seed)
    for seed in (5, 3, 9)
]
with RelightEngine(Recipe(engine="relight")) as engine:
    answers = engine.augment(requests)
print(json.dumps([hashlib.sha256(a.pixels.tobytes()).hexdigest() for a in answers]))
"""


def test_same_request_same_bytes_in_any_batch_and_process(tmp_path: Path, scene: Path):
    pixels, depth = _textured_ball()
    Image.fromarray(pixels).save(tmp_path / "ball.png")
    path = _save_depth(tmp_path / "d.png", depth)
    alone = [
        hashlib.sha256(_relight(_request(pixels, path, scene, seed)).pixels.tobytes()).hexdigest() for seed in (5, 3, 9)
    ]
    assert len(set(alone)) == 3
    done = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout) == alone


def test_a_scene_that_changed_since_the_plan_is_reported(tmp_path: Path, scene: Path):
    pixels, depth = _textured_ball(64)
    request = _request(pixels, _save_depth(tmp_path / "d.png", depth), scene)
    Image.new("RGB", (9, 9), (200, 0, 0)).save(scene)
    with pytest.raises(PictureError, match="was changed while the batch ran"):
        _relight(request)


def test_hair_is_recoloured_and_skin_is_not(tmp_path: Path, scene: Path):
    depth, _ = sphere(256)
    rows = np.arange(256)[:, None].repeat(256, 1)
    # Dark hair on the upper part of the ball, which the rig sees as the head's top in frame 1.
    colour = np.where((rows < 95)[..., None], [0.02, 0.015, 0.012], [0.5, 0.33, 0.25]) * (depth > 0)[..., None]
    pixels = tones.to_srgb(colour.astype(np.float32))
    path = _save_depth(tmp_path / "d.png", depth)
    settings = {"light_strength": 0.0, "tone_shift": 0.0, "background": "keep", "hair_shift": 1.0}
    changed = np.zeros(pixels.shape[:2])
    for seed in range(8):
        out = _relight(_request(pixels, path, scene, seed), **settings).pixels.astype(int)
        changed = np.maximum(changed, np.abs(out - pixels).max(2))
    assert (changed[(rows < 70) & (depth > 0)] > 8).mean() > 0.8
    assert (changed[(rows > 110) & (depth > 0)] == 0).all()
    assert (_relight(_request(pixels, path, scene, bald=True), **settings).pixels == pixels).all()
    bald = tones.to_srgb((np.array([0.5, 0.33, 0.25]) * (depth > 0)[..., None]).astype(np.float32))
    assert (_relight(_request(bald, path, scene), **settings).pixels == bald).all()


def _source(pixels: np.ndarray, depth: bytes | None, wanted: Geometry) -> str:
    """Where the surface comes from, or why there is none."""
    try:
        return surface_of(pixels, depth, geometry=wanted).source
    except PictureError as error:
        return str(error)


def test_the_wanted_geometry_is_taken_or_its_lack_reported():
    pixels, depth = _textured_ball()
    values = np.where(silhouette(pixels), np.maximum(np.rint(depth), 700), 0).astype(np.uint16)
    own, fitted = encode_depth(values), encode_depth(values, FITTED)
    wanted: dict[tuple[bytes | None, Geometry], str] = {
        (own, "auto"): "depth-mm16",
        (own, "depth"): "depth-mm16",
        (own, "labels"): "and none that was fitted to the labels",
        (own, "silhouette"): "silhouette-inflation",
        (fitted, "auto"): "depth-labels",
        (fitted, "depth"): "only one that was fitted",
        (fitted, "labels"): "depth-labels",
        (fitted, "silhouette"): "silhouette-inflation",
        (None, "auto"): "silhouette-inflation",
        (None, "depth"): "none",
        (None, "labels"): "no depth map was fitted to the labels",
        (None, "silhouette"): "silhouette-inflation",
    }
    for (data, geometry), answer in wanted.items():
        assert answer in _source(pixels, data, geometry), (geometry, answer)


def test_a_map_fitted_to_another_picture_is_refused():
    pixels, _ = _textured_ball()
    values = np.where(np.roll(silhouette(pixels), 9, 1), 800, 0).astype(np.uint16)
    with pytest.raises(PictureError, match="it was made for another picture; run python -m synthetic fit again"):
        surface_of(pixels, encode_depth(values, FITTED))


def test_the_mask_of_a_fitted_map_is_the_pictures_own():
    pixels, _ = _textured_ball()
    head = silhouette(pixels)
    surface = surface_of(pixels, encode_depth(np.where(head, 800, 0).astype(np.uint16), FITTED))
    assert (surface.mask == head).all() and surface.found.matte is not None and surface.found.source == "silhouette"


def test_pixels_are_put_where_they_were_picked():
    image = np.arange(4 * 5 * 3, dtype=np.float32).reshape(4, 5, 3)
    places = np.array([0, 7, 19])
    assert pick(image, places)[:, 0].tolist() == [0, 21, 57]
    changed = image.copy()
    put(changed, places, -pick(image, places)[:, ::-1])
    assert changed[1, 2].tolist() == [-23, -22, -21] and (changed != image).any(2).sum() == 3
