"""The table of tolerances: its page, its limits, and the paths of other places."""

import numpy as np
import pytest

from acusim import tolerances
from acusim.errors import LabelError, shown
from acusim.labels import XY_RANGE, dump_label, empty_label, parse_label
from acusim.tolerances import (
    OUTSIDE,
    OUTSIDE_CLIPPED,
    TABLE,
    Change,
    clip_points,
    comparable_id,
    local_path,
    notes_of,
    whole_number,
)
from tests.support import ROOT


def test_the_page_shows_the_table() -> None:
    page = (ROOT / "docs" / "results" / "tolerances.md").read_text(encoding="utf-8")
    assert tolerances.as_markdown() in page, f"docs/results/tolerances.md should contain:\n{tolerances.as_markdown()}"


def test_every_row_is_in_the_table_once() -> None:
    rows = [value for value in vars(tolerances).values() if isinstance(value, tolerances.Tolerance)]
    assert len(rows) == len(TABLE) and set(rows) == set(TABLE)
    assert len({row.note for row in TABLE if row.note}) == sum(bool(row.note) for row in TABLE)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(96, 96), (96.0, 96), (-3.0, -3), (96.5, None), (float("nan"), None), (float("inf"), None), ("96", None),
     (True, None), (None, None), ([96], None)],
)  # fmt: skip
def test_whole_numbers(value: object, expected: int | None) -> None:
    assert whole_number(value) == expected and type(whole_number(value)) is type(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(7, 7), (7.0, 7), ("7", 7), (" 007 ", 7), ("a7", "a7"), ("", None), (7.5, None), (None, None), (False, None),
     ({}, None), ("9" * 40, "9" * 40)],
)  # fmt: skip
def test_ids(value: object, expected: object) -> None:
    assert comparable_id(value) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.jpg", ("a.jpg", False)),
        ("./sub/../a.jpg", ("a.jpg", False)),
        ("sub\\deep\\a.jpg", ("sub/deep/a.jpg", False)),
        ("D:\\hands\\2024\\a.jpg", ("a.jpg", True)),
        ("d:a.jpg", ("a.jpg", True)),
        ("\\\\server\\share\\a.jpg", ("a.jpg", True)),
        ("//server/a.jpg", ("a.jpg", True)),
        ("/home/me/a.jpg", ("a.jpg", True)),
        ("file:///C:/x/a.jpg", ("a.jpg", True)),
        ("..\\images\\a.jpg", ("a.jpg", True)),
        ("sub/../../a.jpg", ("a.jpg", True)),
        ("C:\\AcuSim\\test\\image\\img_512\\F.png", ("test/image/img_512/F.png", True)),
        ("../../image/img_512/F.png", ("F.png", True)),
        ("/", ("", True)),
        ("..", ("", True)),
        ("", ("", False)),
    ],
)
def test_paths_of_any_system_become_local(path: str, expected: tuple[str, bool]) -> None:
    assert local_path(path) == expected


def test_a_path_counts_from_its_folder() -> None:
    assert local_path("../img/a.jpg", "json") == ("img/a.jpg", False)
    assert local_path("../../a.jpg", "json") == ("a.jpg", True)
    assert local_path("E:/a.jpg", "json") == ("a.jpg", True)


def test_points_up_to_the_limit_are_moved_and_noted() -> None:
    xy = np.array([[10, 20], [-0.96, 20], [10, 80.8], [np.nan, np.nan], [96, 80]])
    changes: list[Change] = []
    moved, fault = clip_points(xy, (96, 80), "abcde", "p.jpg", changes.append)
    assert not fault
    np.testing.assert_array_equal(moved, [[10, 20], [0, 20], [10, 80], [np.nan, np.nan], [96, 80]])
    assert [change.detail for change in changes] == ["b at (-0.96, 20) to (0, 20)", "c at (10, 80.8) to (10, 80)"]
    assert all(change.tolerance is OUTSIDE_CLIPPED and change.path == "p.jpg" for change in changes)


@pytest.mark.parametrize(("point", "share"), [((-0.97, 20), "1.01"), ((10, 82), "2.5"), ((1e9, 0), "1.04e+09")])
def test_points_beyond_the_limit_are_refused_with_all_numbers(point: tuple[float, float], share: str) -> None:
    _, fault = clip_points(np.array([point]), (96, 80), ["SI1"], "p.jpg", [].append)
    assert fault == (
        f"SI1 at ({point[0]:g}, {point[1]:g}) is outside the picture of 96 x 80, by {share} % of the side; "
        "up to 1 % is moved to the edge"
    )


def test_acusim_labels_keep_what_the_released_files_hold() -> None:
    label = empty_label()
    label.listed[0] = True
    label.xy[0], label.n[0], label.h_m[0] = (0.5, 1.00146484375), -0.5, 0.9
    assert parse_label(dump_label(label)).xy[0].tolist() == [0.5, 1.00146484375]
    assert XY_RANGE == (-OUTSIDE, 1 + OUTSIDE)
    label.xy[0, 1] = 1.0101
    with pytest.raises(LabelError, match=r"y = 1\.0101 is outside -0\.01\.\.1\.01"):
        parse_label(dump_label(label))


def test_notes_count_and_name_the_first() -> None:
    changes = [Change(OUTSIDE_CLIPPED, f"{k}.jpg", "moved") for k in range(7)]
    assert notes_of([]) == []
    (note,) = notes_of(changes)
    assert note == f"{OUTSIDE_CLIPPED.note} (7): " + "; ".join(f"{k}.jpg: moved" for k in range(5)) + "; and 2 more"


def test_any_value_can_be_shown() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert shown(deep) == "a list that cannot be printed" and shown(10**5000) == "a int that cannot be printed"
