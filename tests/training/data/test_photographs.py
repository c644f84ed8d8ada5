"""Photographs: upright, converted or refused; and points that keep their place through the letterbox."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from acusim.errors import PictureError
from training.data.photographs import Square, crop_square, letterbox, read_photograph, whole_square
from training.inference.drawing import _disc, draw_points

ORIENTATION = 0x0112


def _bytes(image: Image.Image, format: str = "PNG", **how: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **how)  # type: ignore[arg-type]
    return out.getvalue()


def _corners() -> np.ndarray:
    """Upright [16, 24]: red upper left, green upper right, blue lower left, white lower right."""
    out = np.zeros((16, 24, 3), np.uint8)
    out[:8, :12], out[:8, 12:], out[8:, :12], out[8:, 12:] = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
    return out


STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}
"""How a camera stores an upright picture under each orientation, by the EXIF standard's words (which of the stored
rows and columns is the upright picture's top and left)."""


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_a_photograph_is_turned_upright(orientation: int, format: str):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](_corners())))
    photograph = read_photograph(_bytes(stored, format, exif=exif), "a")
    assert np.abs(photograph.pixels[2::10, 3::16].astype(int) - _corners()[2::10, 3::16]).max() < 40
    assert photograph.size_px == (24, 16)
    assert bool(photograph.notes) == (orientation != 1)


def test_what_a_camera_may_write_is_converted():
    grey = np.full((8, 8), 200, np.uint8)
    cmyk = read_photograph(_bytes(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"), "a")
    assert cmyk.pixels[4, 4, 0] > 200 and cmyk.pixels[4, 4, 1:].max() < 60 and "CMYK" in cmyk.notes[0]
    sixteen = read_photograph(_bytes(Image.fromarray(grey.astype(np.uint16) * 257)), "a")
    assert (sixteen.pixels == 200).all() and "16 bits reduced to 8" in sixteen.notes
    clear = read_photograph(_bytes(Image.new("RGBA", (8, 8), (255, 255, 255, 0))), "a")
    assert not clear.pixels.any()


def test_of_an_mpo_file_the_first_picture_is_taken():
    first, second = Image.new("RGB", (32, 32), (200, 0, 0)), Image.new("RGB", (32, 32), (0, 200, 0))
    photograph = read_photograph(_bytes(first, "MPO", save_all=True, append_images=[second]), "a")
    assert photograph.pixels[5, 5, 0] > 150 and "MPO" in photograph.notes[0]


def _large_png(width: int, height: int) -> bytes:
    """The header of a picture that is never decoded."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return start + struct.pack(">I", 99) + b"IDAT"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"This is a text, renamed.\n", "not a readable PNG or JPEG"),
        (b"", "not a readable PNG or JPEG"),
        (_large_png(10_000, 10_000), "more than 64 megapixels"),
        (_large_png(60_000, 60_000), "more than 64 megapixels"),
        (_bytes(Image.fromarray(_corners()))[:-30], "damaged or cut off"),
        (
            _bytes(Image.fromarray(_corners()), save_all=True, append_images=[Image.fromarray(_corners()[::-1])]),
            "several frames",
        ),
    ],
)
def test_what_is_no_photograph_is_refused_with_its_name(data: bytes, reason: str):
    with pytest.raises(PictureError, match=rf"'photo.png'.*{reason}"):
        read_photograph(data, "photo.png")


def test_a_large_jpeg_is_read_reduced_and_points_stay():
    point = np.array([517.3, 403.9])
    large = draw_points(np.zeros((800, 1200, 3), np.uint8), [point], [126], scale=1, legend=False)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = _bytes(Image.fromarray(np.rot90(large)), "JPEG", quality=95, exif=exif)
    photograph = read_photograph(data, "a", enough=200)
    assert (photograph.reduced, photograph.size_px, photograph.pixels.shape) == (4, (1200, 800), (200, 300, 3))
    assert _centroid(photograph.pixels) * 4 == pytest.approx(point, abs=0.2)
    assert read_photograph(data, "a", enough=201).reduced == 2
    assert read_photograph(data, "a").reduced == 1


def test_a_size_that_does_not_divide_is_not_reduced():
    data = _bytes(Image.new("RGB", (801, 1202)), "JPEG")
    assert read_photograph(data, "a", enough=100).reduced == 1


def _centroid(picture: np.ndarray) -> np.ndarray:
    weight = (picture[..., 1].astype(float) - 14).clip(0)
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]] + 0.5
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


@pytest.mark.parametrize(
    ("shape", "size"), [((700, 500), 224), ((333, 1024), 256), ((97, 61), 224), ((512, 512), 512), ((150, 150), 384)]
)
def test_a_dot_keeps_its_place(shape: tuple[int, int], size: int):
    height, width = shape
    for share in ((0.31, 0.62), (0.5, 0.5), (0.77, 0.24)):
        point = np.array(share) * (width, height)
        picture = np.full((height, width, 3), 100, np.uint8)
        _disc(picture, point, 8, (200, 200, 200))
        square, transform = letterbox(picture, size, fill=100)
        assert square.shape == (size, size, 3)
        weight = square[..., 1].astype(float) - 100
        y, x = np.mgrid[:size, :size] + 0.5
        centroid = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
        assert centroid == pytest.approx(transform.to_square(point), abs=0.05)


def test_transform_goes_there_and_back():
    random = np.random.default_rng(0)
    for height, width, size in random.integers(1, 9000, (200, 3)):
        _, transform = letterbox(np.zeros((1 + height % 90, 1 + width % 90, 3), np.uint8), 1 + int(size) % 999)
        points = random.uniform(-100, 9000, (50, 2))
        assert transform.to_picture(transform.to_square(points)) == pytest.approx(points, abs=1e-6)


def test_letterbox_by_hand():
    picture = np.full((4, 8, 3), 200, np.uint8)
    square, transform = letterbox(picture, 4, fill=7)
    assert square[:, 0, 0].tolist() == [7, 200, 200, 7]
    assert transform.to_square((8, 4)).tolist() == [4, 3]
    assert transform.from_unit((0.5, 0.5)).tolist() == [4, 2]
    same, plain = letterbox(picture[:, :4], 4)
    assert (same == 200).all() and plain.offset == (0, 0) and plain.scale == (1, 1)


@pytest.mark.parametrize(
    ("square", "size"),
    [
        (Square(100, 60, 200), 96),  # shrunk
        (Square(100, 60, 301), 128),  # by no whole number
        (Square(150, 100, 90), 128),  # enlarged
        (Square(-60, -40, 400), 128),  # beyond the left and the top
        (Square(120, 80, 400), 100),  # beyond the right and the bottom
        (Square(-100, -200, 800), 200),  # around the picture
    ],
)
def test_points_of_a_cropped_square_map_back(square: Square, size: int):
    """Known dots are found in the square, and their places map back to within a tenth of a pixel of the original."""
    dots = np.array([(173.0, 126.5), (214.25, 154.0), (160.5, 171.75)])
    width, height = 400, 300
    radius = 4 * max(1.0, square.side / size)  # of dots wide enough to have a centre in the square
    for dot in dots:
        picture = np.zeros((height, width, 3), np.uint8)
        _disc(picture, dot, radius, (255, 255, 255))
        found, transform = crop_square(picture, square, size)
        weight = found[..., 0].astype(float)
        rows, columns = np.mgrid[:size, :size] + 0.5
        centre = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
        assert transform.to_picture(centre) == pytest.approx(dot, abs=0.1)
        assert transform.to_square(dot) == pytest.approx(centre, abs=0.1)


def test_shrinking_averages_areas_and_the_edge_is_repeated():
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    found, _ = crop_square(picture, Square(20, 12, 32), 8)
    means = picture[12:44, 20:52].reshape(8, 4, 8, 4, 3).mean((1, 3))
    assert np.abs(found - means).max() <= 1
    beyond, _ = crop_square(picture, Square(-10, 40, 40), 40)
    assert (beyond[:20, :10] == picture[40:, :1]).all() and (beyond[20:, 10:] == picture[59, :30]).all()
    for away in (Square(500, 500, 16), Square(-500, -500, 16)):
        corner = picture[-1, -1] if away.left > 0 else picture[0, 0]
        assert (crop_square(picture, away, 8)[0] == corner).all()


def test_the_whole_square_of_a_square_picture_is_its_letterbox():
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    one, two = crop_square(picture, whole_square(picture), 32), letterbox(picture, 32)
    assert (one[0] == two[0]).all() and one[1] == two[1]
    assert whole_square(np.zeros((30, 50, 3), np.uint8)) == Square(0, -10, 50)


def test_a_square_without_area_is_refused():
    picture = np.zeros((8, 8, 3), np.uint8)
    for square, size in ((Square(0, 0, 0), 8), (Square(0, 0, 8), 0)):
        with pytest.raises(ValueError, match="expected"):
            crop_square(picture, square, size)
