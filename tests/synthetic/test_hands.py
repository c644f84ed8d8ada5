"""Hands: points where anatomy wants them, visibility by rays, mirror images, files that can be created again."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from acusim import pictures
from synthetic import cli
from synthetic.hands.camera import frame_hand
from synthetic.hands.generate import Shot, generate, take
from synthetic.hands.hand_points import LABELS, hand_points, nail_base_mm
from synthetic.hands.labelling import PointTruth, seen_points
from synthetic.hands.plan import open_tasks, picture
from synthetic.hands.skeleton import BONES, FLAT, Pose, build_skeleton
from synthetic.hands.subject import POINTS, HandSubject, hand_subject
from synthetic.hands.surface import HandField, build_mesh, isosurface
from synthetic.scene import Scene
from synthetic.settings import HandSettings

SHAOZE, ZHONGZHU, SHANGYANG, WAILAOGONG, YAO_RADIAL, YAO_ULNAR, HEGU = range(7)
SQUARE = {"tilt": 0.0, "azimuth": 0.0, "view_deg": 30.0, "fill": 0.8, "shift": (0.0, 0.0)}


def mean_subject() -> HandSubject:
    """The hand of mean proportions, with points at the mean places."""
    return HandSubject(
        index=0,
        scale=1.0,
        breadth=1.0,
        fullness=1.0,
        fingers=(1.0,) * 5,
        tone=0.25,
        age=0.4,
        redness=0.5,
        nail_length=0.3,
        polish=None,
        sleeve=None,
        cuff_mm=80.0,
        offsets=((0.0, 0.0),) * POINTS,
    )


def shot(pose: Pose = FLAT, **placement: float) -> Shot:
    return Shot(pose, "test", placement, SQUARE, (400, 400))


@pytest.fixture(scope="module")
def flat():
    """Bones, skin field and points of the mean hand, laid flat."""
    who = mean_subject()
    bones = build_skeleton(who, FLAT)
    field = HandField(who, bones)
    return who, bones, field, *hand_points(who, bones, field)


@pytest.fixture(scope="module")
def seen() -> dict[str, PointTruth]:
    """The flat mean hand from above."""
    keys = [("L", "back"), ("R", "back"), ("L", "palm")]
    return {f"{side} {face}": take(mean_subject(), shot(), side, face)[2] for side, face in keys}


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hands") / "hands"
    arguments = ["--count", "3", "--subjects", "2", "--size", "128", "--seed", "5", "--quiet", "--workers", "1"]
    assert cli.main(["hands", "--out", str(root), *arguments]) == 0
    return root


def test_the_isosurface_of_a_ball_is_the_ball() -> None:
    axis = np.arange(-12.0, 12.5)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    vertices, faces = isosurface((np.linalg.norm(grid, axis=-1) - 9).astype(np.float32), np.full(3, -12.0), 1.0)
    assert np.abs(np.linalg.norm(vertices, axis=1) - 9).max() < 0.15
    corners = vertices[faces].astype(float)
    volume = np.einsum("nc,nc->n", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert volume == pytest.approx(4 / 3 * np.pi * 9**3, rel=0.02)  # positive: triangles face outwards
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()  # closed


def test_the_hand_has_human_proportions(flat) -> None:
    _, bones, field, *_ = flat
    mesh = build_mesh(field, bones)
    length = mesh.vertices[:, 1].max()  # from the wrist crease to the middle fingertip
    palm = mesh.vertices[np.abs(mesh.vertices[:, 1] - 78) < 7]
    palm = palm[palm[:, 0] > -42]  # without the thumb
    breadth = np.ptp(palm[:, 0])
    # Men 193 x 90, women 180 x 79 mm (US Army 1988 survey): a hand is some 0.41 to 0.49 as broad as long.
    assert 175 < length < 200 and 0.40 < breadth / length < 0.50
    assert 20 < np.ptp(palm[:, 2]) < 38
    outside = np.einsum("nc,nc->n", mesh.normals, field.gradient(mesh.vertices)) > 0.9
    assert outside.mean() > 0.99 and np.abs(field.skin(mesh.vertices)).mean() < 0.01


def test_points_lie_on_the_skin_where_anatomy_has_them(flat) -> None:
    who, bones, field, places, normals = flat
    assert np.abs(field.skin(places)).max() < 0.01
    dorsal = [ZHONGZHU, WAILAOGONG, YAO_RADIAL, YAO_ULNAR, HEGU]
    assert (normals[dorsal, 2] > 0.6).all()
    x, y = places[:, 0], places[:, 1]
    heads = bones.head
    assert heads[3][0] < x[ZHONGZHU] < heads[4][0] and 5 < heads[3][1] - y[ZHONGZHU] < 18
    assert heads[1][0] < x[WAILAOGONG] < heads[2][0] and 8 < heads[2][1] - y[WAILAOGONG] < 16
    for point, first, second in ((YAO_RADIAL, 1, 2), (YAO_ULNAR, 3, 4)):
        middle = (heads[first][1] + heads[second][1]) / 4
        assert y[point] == pytest.approx(middle, abs=1.0)
        at = [
            np.interp(y[point], (bones.base[k][1], heads[k][1]), (bones.base[k][0], heads[k][0]))
            for k in (first, second)
        ]
        assert at[0] < x[point] < at[1]
    second = (bones.base[1] + heads[1]) / 2
    assert 5 < second[0] - x[HEGU] < 18 and y[HEGU] == pytest.approx(second[1], abs=6)
    for point, finger, side in ((SHAOZE, 4, 1), (SHANGYANG, 1, -1)):
        row = BONES.index("thumb0") + 3 * finger + 2
        local = bones.rotation[row].T @ (places[point] - bones.origin[row])
        assert local[0] * side > 4 and local[2] > 1  # beside the nail, on its upper side
        assert -2.5 < local[1] - nail_base_mm(bones, finger, who.scale) < 0


def test_a_flat_hand_shows_all_points_from_the_back_and_no_dorsal_one_from_the_palm(seen) -> None:
    assert seen["L back"].visible.all() and seen["R back"].visible.all()
    assert not seen["L palm"].visible.any()


def test_the_left_hand_is_the_mirror_image_of_the_right(seen) -> None:
    left, right = seen["L back"], seen["R back"]
    # Framing sums single-precision coordinates in another order.
    np.testing.assert_allclose(left.xy, [400, 0] + right.xy * [-1, 1], atol=0.01)
    np.testing.assert_allclose(left.depth_mm, right.depth_mm, atol=0.01)
    back = seen["R back"].xy
    assert back[SHANGYANG, 0] < back[SHAOZE, 0]  # the right hand's thumb points to the left


def test_a_turn_of_the_hand_turns_its_points(seen) -> None:
    upright, turned = seen["R back"].xy, take(mean_subject(), shot(yaw=90.0), "R", "back")[2].xy
    upright, turned = upright - upright[HEGU], turned - turned[HEGU]
    quarter = upright @ np.array([[0.0, -1.0], [1.0, 0.0]])  # y points down: counter-clockwise to the eye
    scale = np.linalg.norm(turned[SHAOZE]) / np.linalg.norm(quarter[SHAOZE])
    np.testing.assert_allclose(turned, quarter * scale, atol=12)  # perspective leaves a few pixels


def test_bent_fingers_hide_the_points_at_the_nails() -> None:
    fist = Pose(((75.0, 95.0, 60.0),) * 4, (0.2,) * 4, (30.0, 10.0, 20.0, 20.0), (0.0, 0.0))
    truth = take(mean_subject(), shot(fist), "R", "back")[2]
    assert not truth.visible[[SHAOZE, SHANGYANG]].any() and truth.visible[[ZHONGZHU, WAILAOGONG]].all()


def test_visibility_is_what_rays_say() -> None:
    # A wall above x < 0 hides the first point; the second is free; the third faces away; the fourth is outside.
    wall = np.array([[-50, -50, 20], [0, -50, 20], [0, 50, 20], [-50, 50, 20]], float)
    camera = frame_hand(np.array([[-40.0, -40, 0], [40, 40, 0]]), (100, 100), fill=1.0)
    places = np.array([[-10.0, 0, 0], [10, 0, 0], [10, 5, 0], [90, 0, 0]])
    normals = np.array([[0.0, 0, 1], [0, 0, 1], [0, 0, -1], [0, 0, 1]])
    truth = seen_points(Scene(wall, np.array([[0, 1, 2], [0, 2, 3]])), camera, places, normals)
    assert truth.visible.tolist() == [False, True, False, False]
    np.testing.assert_allclose(truth.xy[1], [62.5, 50.0], atol=1e-6)


def test_projection_and_rays_agree() -> None:
    camera = frame_hand(np.array([[-40.0, -70, 0], [40, 90, 30]]), (60, 90), tilt=25, azimuth=40, shift=(0.5, -0.5))
    rays = camera.rays().reshape(90, 60, 3)
    place = camera.center + 300 * rays[17, 42].astype(float)
    np.testing.assert_allclose(camera.project(place[None])[0], [42.5, 17.5], atol=1e-3)


def test_subjects_differ_and_stay_themselves() -> None:
    people = [hand_subject(0, k) for k in range(20)]
    assert len({person.scale for person in people}) > 15 and hand_subject(0, 7) == people[7]
    assert hand_subject(1, 7) != people[7]
    assert min(p.tone for p in people) < 0.1 and max(p.tone for p in people) > 0.9


def test_files_are_labelme_files_with_the_whole_truth(hands: Path) -> None:
    stems = sorted(path.stem for path in hands.glob("*.png"))
    assert stems == ["S0000_L_back_0000", "S0000_R_back_0002", "S0001_R_back_0001"]
    for stem in stems:
        subject, side, face, number = stem.split("_")
        document = json.loads((hands / f"{stem}.json").read_text(encoding="utf-8"))
        pixels = pictures.read_rgb(hands / f"{stem}.png").pixels
        assert pixels.shape[:2] == (document["imageHeight"], document["imageWidth"]) and max(pixels.shape) == 128
        assert document["imagePath"] == f"{stem}.png" and document["imageData"] is None
        truth = document["synthetic"]
        assert (truth["subject"], truth["side"][0].upper(), truth["face"]) == (int(subject[1:]), side, face)
        points = {point["label"]: point for point in truth["points"]}
        assert set(points) == set(LABELS)
        shown = {shape["label"]: shape["points"] for shape in document["shapes"]}
        assert shown == {label: [[p["x"], p["y"]]] for label, p in points.items() if p["visible"]}
        record = pictures.read_provenance(hands / f"{stem}.png")
        assert record["generator"] == "synthetic hands" and record["picture"] == int(number)


def test_two_workers_and_a_later_run_write_the_same_bytes(hands: Path, tmp_path: Path) -> None:
    settings = HandSettings(out=tmp_path / "b", count=1, seed=5, size=128, subjects=2)
    assert generate(settings).created == 1
    grown = generate(settings.changed(count=3, workers=2))
    assert (grown.created, grown.skipped) == (2, 1)
    names = sorted(path.name for path in hands.iterdir())
    assert names == sorted(path.name for path in settings.out.iterdir())
    for name in names:
        assert (hands / name).read_bytes() == (settings.out / name).read_bytes(), name


def test_a_picture_does_not_depend_on_how_many_there_are() -> None:
    few, many = (HandSettings(out=Path("x"), count=count, face="both", subjects=5) for count in (5, 50))
    assert [picture(few, k) for k in range(5)] == [picture(many, k) for k in range(5)]
    tasks, _ = open_tasks(many)
    items = [item for task in tasks for item in task]
    assert sorted(item.number for item in items) == list(range(50))
    assert all(len({item.subject for item in task}) == 1 for task in tasks)
    assert {(item.side, item.face) for item in items if item.subject == 3} == {
        (side, face) for side in "LR" for face in ("back", "palm")
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--count", "0"], ["count = 0", "1..1000000"]),
        (["--size", "64"], ["size = 64", "128..2048"]),
        (["--side", "up"], ["'up'", "'left', 'right', 'both'"]),
        (["--face", "front"], ["'front'", "'back', 'palm', 'both'"]),
        (["--quality", "best"], ["'best'", "'draft', 'fine'"]),
        (["--subjects", "0"], ["subjects = 0"]),
        (["--views", "1"], ["--views", "--help"]),
    ],
)
def test_bad_arguments_exit_1_with_a_message(
    arguments: list[str], words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--out", str(tmp_path / "x"), *([] if "--count" in arguments else ["--count", "1"]), *arguments]
    assert cli.main(["hands", *given]) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("error: ") and all(word in errors for word in words), errors
    assert not (tmp_path / "x").exists()


def test_another_folder_or_other_arguments_are_refused(hands: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--out", str(hands), "--count", "3", "--subjects", "2", "--size", "128", "--quiet"]
    assert cli.main(["hands", *given, "--seed", "6"]) == 1
    assert "--seed was 5, now 6" in capsys.readouterr().err
    assert cli.main(["--out", str(hands), "--quiet"]) == 1  # heads do not go into a folder of hands
    assert "synthetic hands" in capsys.readouterr().err


def test_heads_is_the_name_of_the_other_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--out", str(tmp_path / "a"), "--views", "200"]
    assert cli.main(["heads", *given]) == cli.main(given) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == second and "--views" in first


def test_other_numbers_are_other_persons(tmp_path: Path) -> None:
    own = {"out": tmp_path, "count": 4, "subjects": 2, "seed": 5}
    names = [picture(HandSettings(**own, first_subject=1000), number).stem for number in range(4)]
    assert names == ["S1000_L_back_0000", "S1001_R_back_0001", "S1000_R_back_0002", "S1001_L_back_0003"]
    assert HandSettings(**own).fixed["first-subject"] == 0
    assert hand_subject(5, 1000).scale != hand_subject(5, 0).scale


def test_a_folder_without_the_number_of_its_first_person_continues(hands: Path, tmp_path: Path) -> None:
    record = json.loads((hands / "synthetic.json").read_text())
    assert "first-subject" not in record["arguments"]  # so that folders of earlier versions continue
    arguments = ["--count", "3", "--subjects", "2", "--size", "128", "--seed", "5", "--quiet", "--workers", "1"]
    assert cli.main(["hands", "--out", str(hands), *arguments, "--first-subject", "7"]) == 1


def test_masks_and_light_are_of_the_same_hand(hands: Path, tmp_path: Path) -> None:
    arguments = ["--count", "1", "--subjects", "2", "--size", "128", "--seed", "5", "--quiet", "--workers", "1"]
    kinds: dict[str, Path] = {"daylight": hands}
    for light in ("studio", "wild"):
        kinds[light] = tmp_path / light
        assert cli.main(["hands", "--out", str(kinds[light]), *arguments, "--light", light, "--masks"]) == 0
    name = picture(HandSettings(out=hands, count=1, subjects=2, seed=5), 0).stem
    labels = [json.loads((root / f"{name}.json").read_text()) for root in kinds.values()]
    assert labels[0]["shapes"] == labels[1]["shapes"] == labels[2]["shapes"]
    masks = [np.asarray(Image.open(kinds[light] / "masks" / f"{name}.png")) for light in ("studio", "wild")]
    np.testing.assert_array_equal(*masks)
    assert set(np.unique(masks[0])) == {0, 255}
    pixels = {light: np.asarray(Image.open(root / f"{name}.png")).astype(float) for light, root in kinds.items()}
    beside = pixels["studio"][masks[0] == 0]
    assert np.ptp(beside.mean(1)) > 5 and np.ptp(beside.mean(0)) < 3  # a shadow, but no colour, on the grey table
    on = masks[0] > 0
    assert abs(pixels["studio"][on].mean(0) / pixels["wild"][on].mean(0) - 1).max() > 0.1
    record = json.loads((hands / "synthetic.json").read_text())
    assert not {"light", "masks"} & record["arguments"].keys()  # so that folders of earlier versions continue
