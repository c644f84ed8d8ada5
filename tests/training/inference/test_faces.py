"""MediaPipe's detectors on a photograph that scikit-image ships, and on nothing."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from training.inference.face_crop import head_square
from training.inference.faces import FaceFinder

EYES = np.array([(197.0, 107.0), (248.0, 107.0)])
"""Of scikit-image's astronaut, a public-domain photograph of NASA's: pixels, read off by eye, within some 6."""


@pytest.fixture(scope="module")
def finder() -> Iterator[FaceFinder]:
    finder = FaceFinder()
    yield finder
    finder.close()


def _astronaut() -> np.ndarray:
    from skimage.data import astronaut

    return astronaut()


def test_nothing_is_found_where_there_is_nothing(finder: FaceFinder):
    for shape in ((300, 200, 3), (8, 900, 3), (1, 1, 3)):
        assert finder.find(np.full(shape, 128, np.uint8)) == []


def test_a_face_is_found_with_its_marks(finder: FaceFinder):
    face, *others = finder.find(_astronaut())
    assert not others and face.confidence > 0.5
    assert face.marks[:2] == pytest.approx(EYES, abs=8)
    left, top, side = head_square(face, 512)
    assert left < 150 and left + side > 300 and top < 20 and top + side > 190, "hair, ears and chin are within"
    assert side < 330


def test_several_faces_come_by_size_and_wide_pictures_keep_places(finder: FaceFinder):
    photo = _astronaut()[0:240, 100:340]
    picture = np.full((300, 420, 3), 90, np.uint8)
    picture[:180, :180] = cv2.resize(photo, (180, 180), interpolation=cv2.INTER_AREA)
    picture[60:, 180:] = photo
    found = finder.find(picture)
    assert len(found) == 2 and found[0].side > 1.1 * found[1].side
    assert found[0].marks[:2] == pytest.approx(EYES - (100, 0) + (180, 60), abs=10)
    assert found[1].marks[:2] == pytest.approx((EYES - (100, 0)) * 0.75, abs=10)


def test_a_small_face_is_found_by_the_other_detector(finder: FaceFinder):
    picture = np.full((900, 1400, 3), 90, np.uint8)
    picture[300:620, 700:1020] = _astronaut()[:320, 60:380]
    face = finder.find(picture)[0]
    assert face.marks[:2] == pytest.approx(EYES - (60, 0) + (700, 300), abs=15)
