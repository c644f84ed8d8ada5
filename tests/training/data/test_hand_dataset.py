"""Subjects, parts, squares: who is where, points that follow their picture, siblings that stay together."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from acusim.errors import ConfigError
from synthetic.hands.generate import generate
from synthetic.settings import HandSettings as SyntheticSettings
from tests.training.labelme_files import PLACES, document, pixels
from tests.training.point_masks import write_mask
from training.config import load_config
from training.data.hand_augmentation import VARIANTS, Augmentation, augmented, turned
from training.data.hand_dataset import (
    HandRecord,
    HandSettings,
    read_hands,
    rows_of,
    split_subjects,
    thumbnail_distance,
)
from training.data.hand_loader import _digest, load_hands
from training.data.hand_squares import make_squares
from training.tasks.hand_config import HandConfig
from training.tasks.hand_points import read_points


def records(count: int) -> list[HandRecord]:
    return [HandRecord(f"{k}.png", f"{k}.json", f"s{k % count}", None, None, (40, 50)) for k in range(3 * count)]


def spotted(places: dict[str, tuple[float, float]], width: int = 80, height: int = 100) -> np.ndarray:
    """A grey picture with a red 5 x 5 spot centred on each place, which is the middle of a pixel."""
    out = np.full((height, width, 3), 90, np.uint8)
    for x, y in places.values():
        out[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3] = (255, 0, 0)
    return out


def spot_middles(picture: np.ndarray, near: np.ndarray, reach: float) -> np.ndarray:
    """[P, 2] centroid of the red around each place."""
    y, x = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]] + 0.5
    weight = np.clip(picture[..., 0].astype(float) - picture[..., 1] - 40, 0, None)
    out = []
    for place in near:
        here = weight * (np.hypot(x - place[0], y - place[1]) < reach)
        out.append([(here * x).sum() / here.sum(), (here * y).sum() / here.sum()])
    return np.array(out)


SPOTS = {"2": (60.5, 30.5), "5": (50.5, 55.5), "8": (20.5, 25.5), "4": (35.5, 45.5), "6": (33.5, 68.5)}
SPOTS |= {"7": (52.5, 72.5), "3": (20.5, 55.5)}
SPOT_XY = np.array([SPOTS[label] for label in ("2", "5", "8", "4", "6", "7", "3")])


def test_what_names_and_flags_say(make_hand, tmp_path: Path) -> None:
    make_hand("S0007_R_palm_0003")
    make_hand("S0007_L_back_0004")
    make_hand("somebody", document("somebody.png", flags={"left hand": True, "palm": False}))
    make_hand("nobody")
    data = read_hands(tmp_path)
    message = {record.image: (record.subject, record.side, record.face) for record in data.records}
    assert message == {
        "S0007_L_back_0004.png": ("s0007", "left", "back"),
        "S0007_R_palm_0003.png": ("s0007", "right", "palm"),
        "nobody.png": ("nobody.png", None, None),
        "somebody.png": ("somebody.png", "left", "back"),
    }
    own = read_hands(tmp_path, HandSettings(subject=r"^(?P<subject>[a-z]+body)$"))
    assert {record.subject for record in own.records} >= {"somebody", "nobody"}


def test_labels_that_a_point_mask_doubts_have_no_position(make_hand, tmp_path: Path) -> None:
    for name in ("a/whole", "a/some", "b/rejected", "b/other", "b/damaged"):
        make_hand(name)
    before = _digest(read_hands(tmp_path))
    everything = dict.fromkeys((*PLACES, "wrist"), True)  # a point that the mapping does not have
    write_mask(tmp_path, "a/whole.png", everything)
    assert _digest(read_hands(tmp_path)) == before
    write_mask(tmp_path, "a/some.png", everything | {"5": False})
    write_mask(tmp_path, "b/rejected.png", everything, accept=False)
    write_mask(tmp_path, "b/other.png", everything, sha="0" * 64)
    (tmp_path / "point_masks/b/damaged.png.json").write_text("{")
    data = read_hands(tmp_path)
    assert [record.image for record in data.records] == ["a/some.png", "a/whole.png"]
    assert data.rejected == 1 and [problem.path for problem in data.problems] == ["b/damaged.png", "b/other.png"]
    assert "it is of another picture" in data.problems[1].reason
    assert data.notes == (
        "1 augmented pictures are not used: their point masks mark labels that may be false",
        "2 of 2 pictures have a point mask; 1 points are not trusted",
    )
    assert "1 rejected by their point masks" in data.describe()
    doubted = data.points.index_of("5")
    squares = make_squares(data, np.arange(2), Augmentation())
    assert squares.visible.all() and squares.measured.sum() == squares.known.sum() == 14 * len(VARIANTS) - len(VARIANTS)
    assert not squares.measured[squares.row == 0, doubted].any()
    assert (squares.xy[~squares.known] == 0).all() and squares.xy[squares.known].all()


def test_the_mask_of_a_variant_is_in_its_own_folder(make_hand, tmp_path: Path) -> None:
    for name in ("v01/a", "v02/a", "v02/b"):
        make_hand(name)
    write_mask(tmp_path / "v01", "a.png", dict.fromkeys(PLACES, True), accept=False)
    write_mask(tmp_path / "v02", "a.png", dict.fromkeys(PLACES, False))
    data = read_hands(tmp_path)
    assert [record.image for record in data.records] == ["v02/a.png", "v02/b.png"] and data.rejected == 1
    assert data.trusted.sum(1).tolist() == [0, 7]
    assert "1 of 2 pictures have a point mask; 7 points are not trusted" in data.notes


def test_names_that_disagree_or_are_none_of_the_labels_trust_nothing(make_hand, tmp_path: Path) -> None:
    make_hand("a")
    make_hand("b")
    index = read_points().index_of("5")
    other = next(label for label in read_points().points[index].labels if label != "5")
    write_mask(tmp_path, "a.png", dict.fromkeys(PLACES, True) | {"5": False, other: True})
    write_mask(tmp_path, "b.png", {f"1: {name}": True for name in PLACES})
    data = read_hands(tmp_path)
    assert [record.image for record in data.records] == ["a.png"] and not data.trusted[0, index]
    assert "it is about other points, such as '1: 2'" in data.problems[0].reason


@pytest.mark.parametrize("kind", ["file", "link to nothing", "not to be read"])
def test_a_folder_of_masks_that_cannot_be_read_trusts_nothing(
    make_hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    make_hand("a")
    folder = tmp_path / "point_masks"
    if kind == "file":
        folder.write_text("")
    elif kind == "link to nothing":
        folder.symlink_to("gone")
    else:
        folder.mkdir()
        real = os.lstat

        def lstat(path: Path) -> os.stat_result:
            if Path(path).parent == folder:
                raise PermissionError(errno.EACCES, "Permission denied")
            return real(path)

        monkeypatch.setattr(os, "lstat", lstat)
    data = read_hands(tmp_path)
    monkeypatch.undo()
    assert not data.records and "point mask 'a.png.json': " in data.problems[0].reason
    assert ("Permission denied" if kind == "not to be read" else "is not a folder") in data.problems[0].reason


def test_a_folder_of_rejected_pictures_says_so(make_hand, tmp_path: Path) -> None:
    make_hand("a")
    write_mask(tmp_path, "a.png", dict.fromkeys(PLACES, True), accept=False)
    config = load_config("hand_light")
    assert isinstance(config, HandConfig)
    with pytest.raises(ConfigError, match=r"1 pictures are rejected by their point masks"):
        load_hands(tmp_path, config)


def test_pictures_without_all_points_are_left_out_or_kept(make_hand, tmp_path: Path) -> None:
    make_hand("a")
    make_hand("b", document("b.png", {label: PLACES[label] for label in ("2", "3")}))
    make_hand("c", "{")
    data = read_hands(tmp_path)
    assert [record.image for record in data.records] == ["a.png"] and data.left_out == ("b.png",)
    assert data.describe() == (
        "1 pictures of 1 subjects; 1 left out for missing points, 1 pictures and 0 other files skipped"
    )
    kept = read_hands(tmp_path, HandSettings(missing="keep"))
    assert kept.visible.tolist() == [[True] * 7, [True, False, False, False, False, False, True]]
    assert (kept.xy[1][~kept.visible[1]] == 0).all()
    squares = make_squares(kept, np.arange(2), Augmentation())
    assert (squares.xy[~squares.visible] == 0).all() and squares.visible[squares.row == 1].sum() == 2 * len(VARIANTS)


def test_copies_under_two_names_are_one_subject(make_hand, tmp_path: Path) -> None:
    picture = pixels(99)
    make_hand("anna", picture=picture)
    make_hand("berta.jpg", picture=np.clip(picture.astype(int) + 9, 0, 255).astype(np.uint8), quality=90)
    make_hand("carla")
    data = read_hands(tmp_path)
    subjects = [record.subject for record in data.records]
    assert subjects[0] == subjects[1] != subjects[2]
    assert any("anna.png and berta.jpg share a picture" in note for note in data.notes)


def test_thumbnails_know_copies_from_others() -> None:
    ramp = (np.ones((32, 32)) * np.arange(32) * 4).astype(np.uint8)
    distance = thumbnail_distance(np.stack([ramp, ramp + np.uint8(20), ramp.T, np.full_like(ramp, 7)]))
    assert distance[0, 1] < 1e-3  # brightness is taken out
    assert distance[0, 2] == pytest.approx(np.sqrt(2), abs=1e-3)  # unrelated
    assert (distance[3] == 2).all()  # flat: like nothing


@pytest.mark.parametrize(("subjects", "wanted"), [(10, (7, 1, 2)), (3, (1, 1, 1)), (100, (70, 10, 20))])
def test_subjects_are_divided_and_never_their_pictures(subjects: int, wanted: tuple[int, int, int]) -> None:
    parts = split_subjects(records(subjects), HandSettings())
    assert tuple(list(parts.values()).count(part) for part in ("train", "val", "test")) == wanted
    rows = rows_of(records(subjects), parts)
    assert sorted(np.concatenate(list(rows.values()))) == list(range(3 * subjects))
    known = [{records(subjects)[k].subject for k in part} for part in rows.values()]
    assert not known[0] & known[1] and not known[0] & known[2] and not known[1] & known[2]
    assert split_subjects(records(subjects)[::-1], HandSettings()) == parts
    if subjects == 100:
        assert split_subjects(records(subjects), HandSettings(seed=1)) != parts


def test_too_few_subjects_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 persons cannot be divided into 3 parts"):
        split_subjects(records(2), HandSettings())
    assert set(split_subjects(records(2), HandSettings(val=0, test=0.3)).values()) == {"train", "test"}


@pytest.mark.parametrize(
    "wrong", [{"subject": "("}, {"subject": "S(.*)"}, {"missing": "guess"}, {"train": 0.9}, {"val": -0.1, "test": 0.4}]
)
def test_wrong_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match="subject|missing|train|val"):
        HandSettings(**wrong)


@pytest.mark.parametrize("degrees", [0, 10, -35, 90, 180])
def test_points_turn_with_their_picture(degrees: float) -> None:
    out, moved, inside = turned(spotted(SPOTS), SPOT_XY, np.ones(7, bool), degrees)
    assert out.shape == (100, 80, 3)
    found = spot_middles(out, moved[inside], 5)
    np.testing.assert_allclose(found, moved[inside], atol=0.1)
    if degrees == 90:  # counter-clockwise: what was right of the middle is above it
        np.testing.assert_allclose(moved[0] - [40, 50], [30.5 - 50, -(60.5 - 40)], atol=1e-9)
    if degrees == 10:
        assert (out[0, 0] == 255).all()  # white comes in


def test_a_turn_that_loses_a_point_is_drawn_again() -> None:
    corner = np.array([[1.0, 1.0], [79.0, 1.0]])
    for seed in range(6):
        name, settings = f"{seed}.png", Augmentation(turn_deg=180)
        _, moved = augmented(spotted({}), corner, np.ones(2, bool), "turned", settings, name)
        assert ((moved >= 0) & (moved <= (80, 100))).all()


def test_variants_are_the_same_every_time_and_differ_between_pictures() -> None:
    picture = pixels(1)
    for variant in VARIANTS[1:]:
        first, again, other = (
            augmented(picture, SPOT_XY / 2, np.ones(7, bool), variant, Augmentation(), name)[0] for name in "aab"
        )
        assert (first == again).all() and (first != other).any() and (first != picture).any()


def test_squares_hold_the_points_and_lead_back(make_hand, tmp_path: Path) -> None:
    name = "S0001_L_back_0001"
    wide = {label: (y, x) for label, (x, y) in SPOTS.items()}
    make_hand(name, document(f"{name}.png", SPOTS, imageWidth=80, imageHeight=100), spotted(SPOTS))
    make_hand("wide", document("wide.png", wide, imageWidth=100, imageHeight=80), spotted(wide, 100, 80))
    data = read_hands(tmp_path)
    squares = make_squares(data, np.arange(2), Augmentation(seed=4))
    assert squares.pixels.shape == (8, 224, 224, 3) and not squares.problems
    assert squares.row.tolist() == [0] * 4 + [1] * 4 and squares.variant.tolist() == [0, 1, 2, 3] * 2
    for k in range(8):
        np.testing.assert_allclose(spot_middles(squares.pixels[k], squares.xy[k], 10), squares.xy[k], atol=0.5)
    # 100 pixels become 224; the shorter side, 179 pixels, is padded with zeros.
    np.testing.assert_allclose(squares.xy[0], SPOT_XY * [179 / 80, 2.24] + [22, 0], atol=1e-3)
    assert (squares.pixels[0, :, :22] == 0).all() and (squares.pixels[4, :22] == 0).all()
    for k in (0, 4):
        back = squares.transforms[k].to_picture(squares.transforms[k].to_square(data.xy[squares.row[k]]))
        np.testing.assert_allclose(back, data.xy[squares.row[k]], atol=1e-9)
        np.testing.assert_allclose(squares.transforms[k].to_picture(squares.xy[k]), data.xy[squares.row[k]], atol=0.01)


def test_a_picture_that_is_gone_later_is_reported(make_hand, tmp_path: Path) -> None:
    make_hand("a")
    make_hand("b")
    data = read_hands(tmp_path)
    (tmp_path / "a.png").unlink()
    squares = make_squares(data, np.arange(2))
    assert squares.row.tolist() == [1] and squares.problems[0].path == "a.png"


def test_synthetic_hands_are_read_as_they_were_made(tmp_path: Path) -> None:
    generate(SyntheticSettings(out=tmp_path / "hands", count=2, seed=2, size=128, subjects=2, face="both", side="left"))
    data = read_hands(tmp_path / "hands", HandSettings(missing="keep"))
    assert not data.problems and not data.notes
    assert [(record.subject, record.side) for record in data.records] == [("s0000", "left"), ("s0001", "left")]
