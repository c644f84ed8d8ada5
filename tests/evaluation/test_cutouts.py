"""How the foreground of a labelled picture is found, and that nothing is believed that does not hold the points."""

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from acusim.errors import LabelError, PictureError
from acusim.keypoint_metrics import mask_iou
from acusim.keypoints import KeypointPicture, open_keypoints
from evaluation.cutouts import cut_out_subject, read_mask, segmented
from synthetic.hands.generate import generate
from synthetic.settings import HandSettings
from tests.keypoint_files import SIZE, add_coco, add_labelme, labelme, patch


def png(pixels: np.ndarray, **how: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", **how)  # type: ignore[arg-type]
    return buffer.getvalue()


def picture_of(root: Path, outline: bool = True, **changes: object) -> KeypointPicture:
    add_labelme(root, "a.png", outline=outline, **changes)
    found = open_keypoints(root)
    assert found is not None
    return found.pictures[0]


def box_mask() -> np.ndarray:
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[20:60, 30:70] = 255
    return mask


def test_the_label_s_outline(tmp_path: Path):
    picture = picture_of(tmp_path)
    cut = cut_out_subject(picture, png(patch(0)), None)
    outline = picture.points.covered(*SIZE)
    assert outline is not None and cut.source == "label"
    assert (cut.alpha[~outline] == 0).all() and (cut.alpha[outline] > 0).mean() > 0.9
    assert (cut.pixels[~outline] == 0).all()
    solid = cut.alpha == 255
    np.testing.assert_array_equal(cut.pixels[solid], patch(0)[solid])
    again = Image.open(io.BytesIO(cut.data))
    assert again.mode == "RGBA" and again.size == SIZE


def test_a_mask_goes_before_the_outline_and_alpha_before_both(tmp_path: Path):
    picture = picture_of(tmp_path)
    cut = cut_out_subject(picture, png(patch(0)), png(box_mask()))
    assert cut.source == "mask" and (cut.alpha > 0).sum() <= (box_mask() > 0).sum()
    layers = np.dstack([patch(0), box_mask()])
    cut = cut_out_subject(picture, png(layers), png(np.full(SIZE[::-1], 255, np.uint8)))
    assert cut.source == "alpha" and cut.data == png(layers)
    np.testing.assert_array_equal(cut.alpha, box_mask())


def test_an_opaque_alpha_channel_says_nothing(tmp_path: Path):
    opaque = np.dstack([patch(0), np.full(SIZE[::-1], 255, np.uint8)])
    assert cut_out_subject(picture_of(tmp_path), png(opaque), None).source == "label"


def test_a_uniform_background(tmp_path: Path):
    pixels = np.full((*SIZE[::-1], 3), 230, np.uint8)
    pixels[15:70, 25:80] = patch(3)[15:70, 25:80] // 2
    cut = cut_out_subject(picture_of(tmp_path, outline=False), png(pixels), None)
    assert cut.source == "uniform background"
    assert abs(int((cut.alpha >= 128).sum()) - 55 * 55) < 250


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (png(np.zeros(SIZE[::-1], np.uint8)), "its mask is empty"),
        (png(np.full((10, 10), 255, np.uint8)), "its mask is 10 x 10, the picture 96 x 80"),
        (b"no picture", "not a readable"),
        (png(np.full(SIZE[::-1], 255, np.uint8)), "its mask covers the whole picture"),
        (png(np.pad(np.full((6, 6), 255, np.uint8), ((0, 74), (0, 90)))), "its mask holds 0 of 2 visible points"),
    ],
)
def test_a_wrong_mask_is_refused(tmp_path: Path, mask: bytes, reason: str):
    with pytest.raises(PictureError, match=reason):
        cut_out_subject(picture_of(tmp_path), png(patch(0)), mask)


def test_masks_of_any_kind(tmp_path: Path):
    width, height = SIZE
    for values in (box_mask(), box_mask() // 255, box_mask().astype(np.uint16) * 257, np.dstack([box_mask()] * 3)):
        np.testing.assert_array_equal(read_mask(png(values), width, height), box_mask() > 0)


def test_nothing_found_is_an_error_that_says_what_to_do(tmp_path: Path):
    with pytest.raises(PictureError, match="draw a mask and save it as masks/a.png"):
        noise = np.random.default_rng(0).integers(0, 256, (*SIZE[::-1], 3), np.uint8)
        cut_out_subject(picture_of(tmp_path, outline=False), png(noise), None)


def test_a_label_of_another_size_is_refused(tmp_path: Path):
    picture = picture_of(tmp_path)
    with pytest.raises(LabelError, match="this one is 48 x 40"):
        cut_out_subject(picture, png(patch(0)[:40, :48]), None)


def turned(pixels: np.ndarray, turns: int = 1, orientation: int = 6) -> bytes:
    """A JPEG that lies on its side, with the EXIF tag that turns it upright."""
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.rot90(pixels, turns)).save(buffer, "JPEG", quality=95, exif=exif)
    return buffer.getvalue()


def test_a_photograph_is_turned_upright(tmp_path: Path):
    cut = cut_out_subject(picture_of(tmp_path), turned(patch(0)), None)
    assert cut.pixels.shape == (SIZE[1], SIZE[0], 3)
    solid = cut.alpha == 255
    assert abs(cut.pixels[solid].astype(int) - patch(0)[solid]).mean() < 12
    flat = labelme("a.png", imageWidth=SIZE[1], imageHeight=SIZE[0], shapes=[])
    (tmp_path / "a.json").write_text(json.dumps(flat))
    found = open_keypoints(tmp_path)
    assert found is not None
    with pytest.raises(LabelError, match="labelled without its EXIF turn"):
        cut_out_subject(found.pictures[0], turned(patch(0)), None)


def test_a_turned_picture_of_coco_must_tell_which_way_up_its_labels_are(tmp_path: Path):
    add_coco(tmp_path, ["a.png"])
    found = open_keypoints(tmp_path)
    assert found is not None
    [picture] = found.pictures
    assert cut_out_subject(picture, turned(patch(0)), None).pixels.shape == (SIZE[1], SIZE[0], 3)  # by the stated size
    with pytest.raises(PictureError, match="which way up"):
        cut_out_subject(picture, turned(patch(0)[::-1, ::-1], turns=0, orientation=3), None)


def test_segmentation_of_a_hand_on_a_table(tmp_path: Path):
    generate(HandSettings(out=tmp_path, count=1, size=192, seed=5, masks=True))
    found = open_keypoints(tmp_path)
    assert found is not None and not found.problems
    [picture] = found.pictures
    assert picture.mask is not None
    pixels = np.asarray(Image.open(tmp_path / picture.image))
    mask = read_mask((tmp_path / picture.mask).read_bytes(), *picture.size)
    assert mask_iou(segmented(pixels), mask) > 0.8
    seen = np.floor(picture.points.xy).astype(int)
    near = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
    assert near[seen[:, 1], seen[:, 0]].all()  # the generator's own points are on its mask
