"""Predictions as files: positions in the original picture, names that do not collide, faults skipped."""

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from acusim import acupoints
from acusim.errors import ConfigError, EngineError, OutputError
from acusim.pictures import read_provenance
from tests.training.tiny_model import Brightest, Output
from training.data.photographs import Photograph
from training.inference.drawing import HEAD, MERIDIAN_COLOURS, _disc
from training.inference.face_crop import FaceCropper
from training.inference.faces import Face
from training.inference.head_fit import HeadFit
from training.inference.model import Found, Model, Prepared, head_model
from training.inference.predict import Outcome, predict_files
from training.inference.predictors import head_predictor

SIZE = 64
MODEL = {"checkpoint": "ab" * 32}
WHITE = (255, 255, 255)


def _photo(path: Path, width: int = 90, height: int = 60, at: tuple[float, float] = (30, 40), **how: object) -> Path:
    pixels = np.zeros((height, width, 3), np.uint8)
    _disc(pixels, np.array(at), 6 * max(width, height) / 100, WHITE)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **how)  # type: ignore[arg-type]
    return path


def _run(paths: list[Path], out: Path, model: torch.nn.Module | None = None, **how: object) -> Outcome:
    finder = head_model(head_predictor(model or Brightest(), "cpu"), SIZE, MODEL)
    return predict_files(finder, paths, out, **how)  # type: ignore[arg-type]


def _document(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("width", "height", "at"), [(90, 60, (30, 40)), (60, 150, (40, 20)), (80, 80, (61, 33))])
def test_positions_are_those_of_the_original_picture(tmp_path: Path, width: int, height: int, at: tuple[int, int]):
    outcome = _run([_photo(tmp_path / "a.png", width, height, at)], tmp_path / "out")
    assert outcome.exit_code == 0
    document = _document(tmp_path / "out" / "a.points.json")
    points = document["points"]
    assert [point["name"] for point in points] == list(acupoints.NAMES)
    assert {(point["x"], point["y"]) for point in points} == {(points[0]["x"], points[0]["y"])}
    assert (points[0]["x"], points[0]["y"]) == pytest.approx(at, abs=0.3)
    assert [point["visible"] for point in points] == [True, False] * 87
    assert points[0]["probability"] == pytest.approx(1 / (1 + np.exp(-4)), abs=1e-6)
    assert points[1] == {**points[1], "meridian": "LI", "code": "LI17L"}
    assert document["picture"] == {**document["picture"], "name": "a.png", "width": width, "height": height}
    assert document["made_by"]["checkpoint"] == MODEL["checkpoint"]


def test_the_drawn_picture_shows_the_visible_points_and_says_what_made_it(tmp_path: Path):
    _run([_photo(tmp_path / "a.png", 300, 200, (120, 80))], tmp_path / "out")
    path = tmp_path / "out" / "a.points.jpg"
    drawn = np.asarray(Image.open(path)).astype(int)
    assert drawn.shape[1] == 1200 and drawn.shape[0] > 800
    assert np.ptp(drawn[320, 480]) > 40, "a coloured dot over the white disc"
    assert read_provenance(path)["made_by"]["checkpoint"] == MODEL["checkpoint"]


def test_positions_in_a_photograph_that_is_turned_and_reduced(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 3
    photo = _photo(tmp_path / "a.jpg", 2400, 2080, (700, 400), exif=exif, quality=95)
    _run([photo], tmp_path / "out")
    document = _document(tmp_path / "out" / "a.points.json")
    assert (document["picture"]["width"], document["picture"]["height"]) == (2400, 2080)
    assert (document["points"][0]["x"], document["points"][0]["y"]) == pytest.approx((1700, 1680), abs=8)
    assert Image.open(tmp_path / "out" / "a.points.jpg").width == 1200


def test_batches_do_not_mix_pictures(tmp_path: Path):
    places = [(20 + 7 * k, 20 + 3 * k) for k in range(7)]
    photos = [_photo(tmp_path / f"{k}.png", at=place) for k, place in enumerate(places)]
    _run(photos, tmp_path / "one", batch=1)
    _run(photos, tmp_path / "three", batch=3)
    for k, place in enumerate(places):
        one, three = (_document(tmp_path / name / f"{k}.points.json") for name in ("one", "three"))
        assert one == three
        assert (one["points"][0]["x"], one["points"][0]["y"]) == pytest.approx(place, abs=0.3)


def test_equal_stems_do_not_collide(tmp_path: Path):
    photos = [_photo(tmp_path / name) for name in ("x/a.png", "y/a.jpg", "z/A.png", "z/a_2.png")]
    outcome = _run([*photos, photos[0]], tmp_path / "out")
    names = [path.name for path in outcome.written]
    assert names == ["a.points.json", "a_2.points.json", "A_3.points.json", "a_2_2.points.json"]
    assert len(list((tmp_path / "out").iterdir())) == 8


def test_bad_pictures_are_skipped(tmp_path: Path):
    good = _photo(tmp_path / "good.png")
    text = tmp_path / "text.png"
    text.write_text("no picture")
    empty = tmp_path / "empty"
    empty.mkdir()
    outcome = _run([text, good, tmp_path / "missing.jpg", empty], tmp_path / "out")
    assert outcome.exit_code == 2 and [path.name for path in outcome.written] == ["good.points.json"]
    reasons = [problem.reason for problem in outcome.problems]
    assert len(reasons) == 3
    assert any("not a readable PNG or JPEG" in reason for reason in reasons)
    assert any("no such regular file" in reason for reason in reasons)
    assert any("holds no picture" in reason for reason in reasons)


def test_a_folder_means_its_pictures(tmp_path: Path):
    for name in ("b.png", "a.jpg", "c.txt", "d.WebP"):
        _photo(tmp_path / "in" / name, format="PNG")
    outcome = _run([tmp_path / "in"], tmp_path / "out")
    assert [path.name for path in outcome.written] == ["a.points.json", "b.points.json"]
    [problem] = outcome.problems
    assert problem.path.endswith("d.WebP") and "save it as one of these" in problem.reason


def test_own_results_are_replaced_and_nothing_else(tmp_path: Path):
    photo, out = _photo(tmp_path / "a.png"), tmp_path / "out"
    first = _run([photo], out)
    assert _run([photo], out, threshold=0.999).exit_code == first.exit_code == 0
    assert not any(point["visible"] for point in _document(out / "a.points.json")["points"])
    for name, content in (("a.points.json", b'{"mine": 1}'), ("a.points.jpg", b"mine")):
        path = out / name
        before = path.read_bytes()
        path.write_bytes(content)
        outcome = _run([photo], out)
        assert outcome.exit_code == 2 and "was not written by" in outcome.problems[0].reason
        assert path.read_bytes() == content
        path.write_bytes(before)
    (out / "a.points.json").unlink()
    (out / "a.points.json").symlink_to(photo)
    assert _run([photo], out).exit_code == 2


def test_long_and_odd_names(tmp_path: Path):
    photos = [_photo(tmp_path / name) for name in ("合" * 80 + ".png", "a\nb.png")]
    outcome = _run(photos, tmp_path / "out")
    assert outcome.exit_code == 0
    assert outcome.written[1].name == "a\\nb.points.json" and all(path.is_file() for path in outcome.written)


class _Broken(Brightest):
    def forward(self, images: torch.Tensor) -> Output:
        output = super().forward(images)
        return output._replace(coordinates=output.coordinates * torch.nan)


def test_a_model_that_gives_no_numbers(tmp_path: Path):
    outcome = _run([_photo(tmp_path / "a.png")], tmp_path / "out", _Broken())
    assert outcome.exit_code == 2 and "not finite" in outcome.problems[0].reason
    assert not list((tmp_path / "out").iterdir())


def test_wrong_settings(tmp_path: Path):
    with pytest.raises(ConfigError, match="threshold 1.5"):
        _run([_photo(tmp_path / "a.png")], tmp_path, threshold=1.5)
    with pytest.raises(ConfigError, match="no pictures"):
        _run([], tmp_path)
    with pytest.raises(OutputError, match="cannot be created"):
        _run([tmp_path / "a.png"], tmp_path / "a.png" / "out")


def test_a_folder_with_everything_else_in_it(tmp_path: Path):
    folder = tmp_path / "in"
    _photo(folder / "a.png")
    for name in ("._a.png", ".DS_Store", "Thumbs.db"):
        (folder / name).write_bytes(b"x")
    (folder / "__MACOSX").mkdir()
    (folder / "loop.png").symlink_to("loop.png")
    os.mkfifo(folder / "pipe.jpg")
    outcome = _run([folder, tmp_path / "in/loop.png"], tmp_path / "out")
    assert [path.name for path in outcome.written] == ["a.points.json"]
    assert sorted(Path(problem.path).name for problem in outcome.problems) == ["loop.png", "pipe.jpg"]
    assert all("no such regular file" in problem.reason for problem in outcome.problems)


def test_a_folder_of_folders_says_what_to_give(tmp_path: Path):
    _photo(tmp_path / "in/deeper/a.png")
    [problem] = _run([tmp_path / "in"], tmp_path / "out").problems
    assert "holds no picture" in problem.reason and repr(str(tmp_path / "in/deeper")) in problem.reason


def test_a_photograph_with_a_large_profile_is_read(tmp_path: Path):
    photo = _photo(tmp_path / "a.png", icc_profile=np.random.default_rng(0).bytes(2 << 20))
    assert _run([photo], tmp_path / "out").exit_code == 0


def test_the_crop_is_part_of_the_result(tmp_path: Path):
    class Finds:
        def find(self, pixels: np.ndarray) -> list[Face]:
            x, y = pixels.shape[1] / 2, pixels.shape[0] / 2
            marks = np.array([(-8, -8), (8, -8), (0, 0), (0, 10), (-18, 0), (18, 0)]) + (x, y)
            return [Face(0.9, np.array([x, y]), 40.0, marks)]

    model = dataclasses.replace(
        head_model(head_predictor(Brightest(), "cpu"), SIZE, MODEL), cropper=FaceCropper("auto", Finds())
    )
    photo = _photo(tmp_path / "a.png", 300, 200, (170, 80))
    assert predict_files(model, [photo], tmp_path / "out").exit_code == 0
    document = _document(tmp_path / "out/a.points.json")
    assert document["crop"] == {"what": "face", "reason": "face", "faces": 1, "left": 102, "top": 48, "side": 96}
    assert (document["points"][0]["x"], document["points"][0]["y"]) == pytest.approx((170, 80), abs=0.7)
    assert "crop" not in _document(_plain(tmp_path, photo))


def _plain(folder: Path, photo: Path) -> Path:
    _run([photo], folder / "plain")
    return folder / "plain" / f"{photo.stem}.points.json"


def test_a_photograph_without_a_face_is_skipped_where_faces_are_required(tmp_path: Path):
    class Empty:
        def find(self, pixels: np.ndarray) -> list[Face]:
            return []

    model = dataclasses.replace(
        head_model(head_predictor(Brightest(), "cpu"), SIZE, MODEL), cropper=FaceCropper("face", Empty())
    )
    outcome = predict_files(model, [_photo(tmp_path / "a.png")], tmp_path / "out")
    assert outcome.exit_code == 2 and "no face was found" in outcome.problems[0].reason


class Fitted(Model):
    """Adds a fit, and puts each point at a place of its own."""

    ok = True

    def find(self, items: Sequence[Prepared]) -> list[Found]:
        places = np.stack([20.0 + 20 * (np.arange(174) % 14), 20.0 + 20 * (np.arange(174) // 14)], 1)
        fit = HeadFit(10.004, -5.0, 1.0, np.arange(522).reshape(174, 3) / 7, 1.23456, self.ok)
        return [found._replace(xy_px=places, fit=fit) for found in super().find(items)]


class Rejected(Fitted):
    ok = False


def _fitted(kind: type[Fitted]) -> Model:
    model = head_model(head_predictor(Brightest(), "cpu"), SIZE, MODEL)
    return kind(**{field.name: getattr(model, field.name) for field in dataclasses.fields(Model)})


def test_pose_and_millimetres_are_part_of_the_result(tmp_path: Path):
    photo = _photo(tmp_path / "a.png", 300, 300)
    predict_files(_fitted(Fitted), [photo], tmp_path / "out", pictures=False)
    document = _document(tmp_path / "out/a.points.json")
    assert document["pose"] == {"yaw": 10.0, "pitch": -5.0, "roll": 1.0}
    assert document["fit"] == {"residual_mm": 1.235, "ok": True}
    assert document["points"][1]["mm"] == [0.429, 0.571, 0.714]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.points.json"]
    plain = _document(_plain(tmp_path, photo))
    assert not {"pose", "fit", "crop"} & set(plain) and "mm" not in plain["points"][0]
    found = _fitted(Fitted).predict(np.zeros((300, 300, 3), np.uint8))
    assert found.fit is not None and found.fit.points_mm.shape == (174, 3)


@pytest.mark.parametrize(
    ("kind", "hidden", "shown"), [(Fitted, True, True), (Fitted, False, False), (Rejected, True, False)]
)
def test_hidden_points_are_drawn_where_a_fit_locates_them(
    kind: type[Fitted], hidden: bool, shown: bool, tmp_path: Path
):
    photo = _photo(tmp_path / "a.png", 300, 300, (280, 280))
    predict_files(_fitted(kind), [photo], tmp_path / "out", hidden=hidden)
    drawn = np.asarray(Image.open(tmp_path / "out/a.points.jpg")).astype(int)
    scale = drawn.shape[1] // 300
    for point in (0, 1):  # even points are visible, odd ones are not
        x, y = scale * (20 + 20 * point), scale * 20
        near = drawn[y - 12 : y + 13, x - 12 : x + 13]
        coloured = (np.abs(near - MERIDIAN_COLOURS[HEAD.groups[point]]).max(-1) < 60).any()
        assert coloured == (shown or point == 0)


def test_a_fit_with_numbers_that_are_not_finite_is_refused():
    found = _fitted(Fitted).find([_fitted(Fitted).prepare(Photograph(np.zeros((9, 9, 3), np.uint8), ()))])[0]
    found.check_finite()
    assert found.fit
    broken = dataclasses.replace(found.fit, points_mm=found.fit.points_mm * np.nan)
    with pytest.raises(EngineError, match="not finite"):
        found._replace(fit=broken).check_finite()
