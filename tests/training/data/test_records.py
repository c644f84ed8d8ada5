"""Dataset roots to records and targets: known answers, then everything that can be wrong with a root."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from acusim import acupoints, rig
from acusim.errors import ConfigError, LabelError, LayoutError
from acusim.files import sha256
from acusim.labels import dump_label, read_label
from acusim.pictures import encode, read_rgb
from acusim.point_mask import PointMask, dump_point_mask
from acusim.sample_id import SampleId
from acusim.selection import parse_selection
from tests.support import add_sample
from tests.training.data.heads import SIZE, add, head
from training.data import head_points
from training.data.head_points import depth_at
from training.data.point_trust import read_mask
from training.data.reading import view_bias
from training.data.records import Targets
from training.data.sources import all_have


def mask_of(image: Path, label: Path, *, accept: bool = True, untrusted: int | None = None) -> PointMask:
    """A point mask that trusts every listed point but one."""
    listed = read_label(label).listed
    trusted = listed.copy()
    if untrusted is not None:
        trusted[untrusted] = False
    nothing = np.full(acupoints.COUNT, 0.0)
    return PointMask(
        "train/image/img_64/x.png",
        sha256(image.read_bytes()),
        accept,
        "" if accept else "moved",
        5.0,
        listed,
        np.zeros((acupoints.COUNT, 2)),
        nothing,
        nothing,
        trusted,
    )


def files(root: Path, stem: str, extension: str = ".png") -> tuple[Path, Path, Path]:
    """Picture, label and point mask of a sample."""
    train = root / "train"
    mask = train / "label/mask" / f"{stem}.json"
    mask.parent.mkdir(exist_ok=True)
    return train / f"image/img_64/{stem}{extension}", train / f"label/label/{stem}.json", mask


def test_targets_are_the_label_in_the_networks_order(heads, read):
    data = read(heads(persons=1, frames=(5,)))
    label = read_label(next((heads(persons=1, frames=(5,)) / "train/label/label").iterdir()))
    assert len(data) == 1 and data.targets.frame.tolist() == [5]
    assert (data.targets.visible[0] == label.listed).all() and 20 < label.listed.sum() < 174
    assert np.allclose(data.targets.xy[0][label.listed], label.xy[label.listed], atol=1e-7)
    assert (data.targets.xy[0][~label.listed] == 0).all()
    assert data.targets.trusted.all()
    assert np.isnan(data.targets.depth_mm).all(), "frame 5 has no true depth in its label, and there is no map"
    record = data.records[0]
    assert (record.person, record.variant, record.split_folder, record.root) == ("persona", "", "train", 0)
    assert not record.bald and not data.problems


def test_pixels_are_those_of_the_projects_own_decoder(tmp_path, read):
    root = tmp_path / "data"
    for number, (mode, extension) in enumerate((("RGB", ".png"), ("RGBA", ".png"), ("L", ".png"), ("RGB", ".jpg"))):
        path = add(root, f"F_Ann{number}_N_HA_O_0001", number, extension=extension)
        picture = Image.open(path).convert(mode)
        if mode == "RGBA":
            picture.putalpha(Image.fromarray(np.arange(SIZE, dtype=np.uint8)[None].repeat(SIZE, 0) * 4))
        picture.save(path)
    data = read(root)
    assert len(data) == 4
    for index, record in enumerate(data.records):
        assert (data.cache[index] == read_rgb(root / record.image).pixels).all(), record.image


def test_depth_is_of_the_map_else_of_the_label_where_that_is_true(tmp_path, read):
    root = tmp_path / "data"
    for frame in (1, 2, 19):
        add_sample(root, f"F_Ann_N_HA_O_{frame:04d}")
    (root / "train/depth/img_64/F_Ann_N_HA_O_0019.png").unlink()
    add_sample(root, "F_Bea_N_HA_O_0002", depth=False)
    data = read(root, frames=(1, 2, 19))
    by_stem = dict(zip((str(r.id) for r in data.records), range(4), strict=True))
    depth, visible = data.targets.depth_mm, data.targets.visible
    drawn = np.asarray(Image.open(root / "train/depth/img_64/F_Ann_N_HA_O_0002.png"), float)
    row = by_stem["F_Ann_N_HA_O_0002"]
    known = np.isfinite(depth[row])
    assert known.any() and (known <= visible[row]).all()
    x, y = (data.targets.xy[row][known] * SIZE).astype(int).T
    hit = drawn[y, x] > 0
    assert hit.any() and (depth[row][known][hit] == drawn[y, x][hit]).all()
    row = by_stem["F_Ann_N_HA_O_0019"]
    _, true_depth = rig.project(acupoints.positions_mm(), 19, 1.0)
    assert np.allclose(depth[row][visible[row]], true_depth[visible[row]], atol=0.01)
    assert np.isnan(depth[by_stem["F_Bea_N_HA_O_0002"]]).all(), "h is not the depth in frame 2"


def _with_camera(path: Path, camera: rig.Camera) -> None:
    path.write_bytes(dump_label(replace(read_label(path), camera=camera)))


def test_cameras_are_those_of_the_labels_else_of_the_rig(tmp_path, read):
    root = tmp_path / "data"
    for stem in ("F_Ann_N_HA_O_0005", "F_Bea_N_HA_O_0005"):
        add_sample(root, stem, depth=False)
    before = read(root)
    label = root / "train/label/label/F_Bea_N_HA_O_0005.json"
    own = rig.camera_at(rig.rotation_of(33, -5, 12), [3, -4, 1200], 3.5)
    _with_camera(label, own)
    data = read(root)
    assert before.digest != data.digest and data.targets.frame.tolist() == [5, 5]
    for row, camera in enumerate((rig.camera(5), own)):
        assert np.array_equal(data.targets.rotation[row], camera.R)
        assert np.array_equal(data.targets.translation_mm[row], camera.t_mm)
        assert data.targets.focal[row] == camera.focal
    assert np.isnan(data.targets.depth_mm[0]).all(), "frame 5 of the released files has no true depth"
    listed = read_label(label).listed
    assert np.allclose(data.targets.depth_mm[1][listed], 1000 * read_label(label).h_m[listed])


def test_a_depth_map_is_believed_about_the_distance_of_the_labels_camera(tmp_path, read, monkeypatch):
    root = tmp_path / "data"
    add_sample(root, "F_Ann_N_HA_O_0005")
    path = root / "train/depth/img_64/F_Ann_N_HA_O_0005.png"
    drawn = np.asarray(Image.open(path))
    Image.fromarray(np.where(drawn > 0, drawn + 500, 0).astype(np.uint16)).save(path)
    assert np.isnan(read(root).targets.depth_mm).all(), "farther than a head before the rig's cameras"
    nominal = rig.camera(5)
    _with_camera(
        root / "train/label/label/F_Ann_N_HA_O_0005.json",
        rig.camera_at(nominal.R, nominal.t_mm + [0, 0, 500], rig.FOCAL * (1 + 500 / nominal.t_mm[2])),
    )
    label = read_label(root / "train/label/label/F_Ann_N_HA_O_0005.json")
    of_label, visible = (values[0] for values in (read(root).targets.depth_mm, read(root).targets.visible))
    assert np.allclose(of_label[label.listed], 1000 * label.h_m[label.listed]), "a true depth of the label comes first"
    monkeypatch.setattr(head_points, "depth_of_label", lambda *_: np.full(174, np.nan, np.float32))
    depth = read(root).targets.depth_mm[0]
    x, y = (read(root).targets.xy[0][visible] * SIZE).astype(int).T
    hit = (drawn[y, x] > 0) & np.isfinite(depth[visible])
    assert hit.sum() > visible.sum() / 2 and (depth[visible][hit] == drawn[y, x][hit] + 500).all()


def test_targets_without_cameras_are_of_the_rig(heads, read):
    given = read(heads(persons=1, frames=(1, 5))).targets
    made = Targets(given.xy, given.visible, given.trusted, given.depth_mm, given.frame)
    assert np.array_equal(made.rotation, given.rotation) and made.rotation.shape == (2, 3, 3)
    assert np.array_equal(made.translation_mm, given.translation_mm) and made.translation_mm.dtype == np.float64
    assert made.focal.tolist() == [rig.FOCAL] * 2
    own = replace(made, focal=np.array([3.0, 4.0]))
    assert own.take(np.array([1])).focal.tolist() == [4.0]
    assert np.array_equal(own.take(np.array([1])).rotation[0], rig.camera(5).R)
    on_device = own.to_torch("cpu").take(torch.tensor([1]))
    assert on_device.focal.tolist() == [4.0] and on_device.rotation.shape == (1, 3, 3)
    with pytest.raises(ConfigError, match="focal"):
        replace(made, focal=np.array([3.0]))


def test_depth_of_the_nearest_pixel_that_has_one():
    values = np.zeros((8, 8), np.float32)
    values[2, 3], values[2, 5], values[6, 6] = 800, 900, 5
    xy = np.array([[3.5, 2.5], [4.4, 2.5], [4.6, 2.5], [6.5, 6.5], [0.5, 7.5], [3.5, 2.5]], np.float32) / 8
    visible = np.array([True] * 5 + [False])
    expected = [800, 800, 900, np.nan, np.nan, np.nan]  # 5 mm from the camera is no head
    assert np.array_equal(depth_at(values, xy, visible), np.array(expected, np.float32), equal_nan=True)


def test_no_depth_where_one_surface_ends_before_another():
    values = np.full((8, 128), 900, np.float32)  # a pixel is 2.5 mm wide
    values[:, 64:] = 960
    xy = np.array([[63.5, 4.5], [64.5, 4.5], [62.5, 4.5], [66.5, 4.5]], np.float32) / (128, 8)
    found = depth_at(values, xy.astype(np.float32), np.ones(4, bool))
    assert np.array_equal(found, np.array([np.nan, np.nan, 900, 960], np.float32), equal_nan=True)
    values[:, 64:] = 915  # steep, but one surface
    assert depth_at(values, xy.astype(np.float32), np.ones(4, bool)).tolist() == [900, 915, 900, 915]


def test_two_starts_give_the_same_digest_and_a_changed_label_another(heads, read):
    root = heads()
    first = read(root)
    assert read(root).digest == first.digest
    label = root / "train/label/label/F_PersonA_N_HA_O_0001.json"
    label.write_bytes(label.read_bytes() + b"\n")
    assert read(root).digest != first.digest


def test_frames_and_selection_choose_and_the_bias_is_reported(heads, read):
    root = heads(frames=(1, 5, 20))
    assert {r.id.frame for r in read(root).records} == {1, 5}, "20 is not among the kept frames"
    assert {r.id.frame for r in read(root, frames=(20,)).records} == {20}
    chosen = read(root, selection=parse_selection("gender=F,frame=1"))
    assert {(r.id.gender, r.id.frame) for r in chosen.records} == {("F", 1)}
    # Kept azimuths: ring 0 and 1 0..100 and 290..350 (but 46 is dropped), ring 3 0..100 and 290..350, and frame 108.
    records: Any = [SimpleNamespace(id=SimpleNamespace(frame=frame)) for frame in (*rig.KEPT_FRAMES, 1)]
    [said] = view_bias(records)
    assert said.startswith("45 frames: 27 from the subject's left, 15 from the right, 3 from")
    assert read(root).notes[0].startswith("2 frames: ") and view_bias([]) == []
    with pytest.raises(ConfigError, match="145"):
        read(root, frames=(145,))


def test_a_person_is_a_name_whatever_its_spelling_on_disk():
    persons = [SampleId.parse(f"F_{name}_N_HA_O_0001").person for name in ("Zoe\u0301", "ZOÉ", "zoe")]
    assert persons == ["zoé", "zoé", "zoe"]


def test_hair_that_means_bald_is_reported_from_labels_or_given(make_dataset, read):
    root = make_dataset(frames=(1, 37, 109))
    message = {r.id.hair for r in read(root).records if r.bald}
    given = {r.id.hair for r in read(root, bald_codes="HA,HC").records if r.bald}
    assert message == {"HB"} and given == {"HA", "HC"}


# -- augmented roots and masks --


def augmented(root: Path, out: Path, tint: int) -> None:
    """A copy of a data set with other pictures that say what made them."""
    shutil.copytree(root, out)
    for number, path in enumerate(sorted(out.glob("train/image/*/*"))):
        record = {"program": "acusim-augment", "source_sha256": "0" * 64}
        path.write_bytes(encode(head(10_000 * tint + number), ".png", record))


def test_augmented_variants_keep_their_person_and_are_reported_apart(heads, read, tmp_path):
    root, out = heads(persons=2), tmp_path / "out"
    for number in (1, 2):
        augmented(root, out / f"v{number:02d}", number)
    single = tmp_path / "single"
    augmented(root, single, 3)
    data = read(root, out, single)
    assert sorted({r.variant for r in data.records}) == ["", "out/v01", "out/v02", "single"]
    assert {r.person for r in data.records} == {"persona", "personb"} and len(data) == 16
    for index, record in enumerate(data.records):
        path = (root, out, single)[record.root] / record.image
        assert (data.cache[index] == read_rgb(path).pixels).all()


def test_a_manifest_tells_that_a_root_is_augmented(heads, read):
    root = heads(persons=1)
    assert {r.variant for r in read(root).records} == {""}
    (root / "manifest.jsonl").write_text(json.dumps({"status": "done", "image": "x"}) + "\n")
    assert {r.variant for r in read(root).records} == {"data"}


def test_masks_reject_pictures_and_mistrust_points(heads, read):
    root = heads(persons=3, frames=(1,))
    stems = [f"{'FMF'[k]}_Person{'ABC'[k]}_N_HA_O_0001" for k in range(3)]
    paths = [files(root, stem) for stem in stems]
    point = int(np.flatnonzero(read_label(paths[0][1]).listed)[3])
    paths[0][2].write_bytes(dump_point_mask(mask_of(*paths[0][:2], untrusted=point)))
    paths[1][2].write_bytes(dump_point_mask(mask_of(*paths[1][:2], accept=False)))
    data = read(root)
    assert [r.person for r in data.records] == ["persona", "personc"]
    assert data.rejected == 1 and not data.problems and any("point masks reject" in note for note in data.notes)
    assert np.flatnonzero(~data.targets.trusted[0]).tolist() == [point]
    assert data.targets.visible[0, point], "visibility is as the label says"
    assert data.targets.trusted[1].all()
    digest = data.digest
    paths[0][2].write_bytes(dump_point_mask(mask_of(*paths[0][:2])))
    assert read(root).digest != digest, "a mask is part of what is trained on"


def test_a_mask_of_another_picture_sets_it_aside(heads, read):
    root = heads(persons=2, frames=(1,))
    image, label, mask = files(root, "F_PersonA_N_HA_O_0001")
    mask.write_bytes(dump_point_mask(mask_of(image, label)))
    other = files(root, "M_PersonB_N_HA_O_0001")[2]
    other.write_text("{")
    read(root)
    image.write_bytes(encode(head(99), ".png"))
    with pytest.raises(LayoutError, match="another picture"):
        read(root)
    with pytest.raises(LabelError, match="another picture"):
        read_mask(mask, read_label(label).listed, "0" * 64)


def test_a_point_that_the_mask_does_not_know_is_not_trusted(heads, tmp_path):
    root = heads(persons=1, frames=(1,))
    image, label, mask_file = files(root, "F_PersonA_N_HA_O_0001")
    mask = mask_of(image, label)
    missing = int(np.flatnonzero(mask.listed)[0])
    mask.listed[missing] = False
    mask_file.write_bytes(dump_point_mask(mask))
    found = read_mask(mask_file, read_label(label).listed, sha256(image.read_bytes()))
    assert not found.trusted[missing] and found.trusted.sum() == acupoints.COUNT - 1 and found.rejected is None


def test_a_folder_of_variants_must_be_nothing_else(heads, read, tmp_path):
    out = tmp_path / "out"
    for number in (1, 2):
        augmented(heads(persons=2), out / f"v{number:02d}", number)
    (out / "v02").rename(tmp_path / "elsewhere")
    (out / "v02").symlink_to(tmp_path / "elsewhere")
    data = read(out)
    assert {record.variant for record in data.records} == {"out/v01"}
    assert "out: v02 is a link and is not read" in data.notes
    shutil.copytree(tmp_path / "elsewhere" / "train", out / "train")
    with pytest.raises(LayoutError, match="pictures of its own .*and variants"):
        read(out)


def test_depth_maps_that_tell_nothing_are_reported(tmp_path, read):
    root = tmp_path / "data"
    for frame in (1, 5, 9):
        add_sample(root, f"F_Ann_N_HA_O_{frame:04d}")
    maps = root / "train/depth/img_64"
    (maps / "F_Ann_N_HA_O_0005.png").write_bytes(b"no picture")
    Image.fromarray(np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)).save(maps / "F_Ann_N_HA_O_0009.png")
    drawn = np.asarray(Image.open(maps / "F_Ann_N_HA_O_0001.png"))
    Image.fromarray(np.where(drawn, drawn + 100, 0).astype(np.uint16)).save(maps / "F_Ann_N_HA_O_0001.png")
    data = read(root)
    assert len(data) == 3 and [problem.is_image for problem in data.problems] == [False]
    assert "not a readable PNG" in data.problems[0].reason
    assert any(note.startswith("1 depth maps are relative") for note in data.notes)
    assert any("depth maps and labels differ by" in note for note in data.notes)
    assert np.isnan(data.targets.depth_mm[data.targets.frame != 1]).all()
    assert (read(root).targets.depth_mm[0] == data.targets.depth_mm[0])[np.isfinite(data.targets.depth_mm[0])].all()


# -- sizes --


def test_larger_pictures_are_averaged_and_points_stay(tmp_path, read):
    root = tmp_path / "data"
    path = add(root, "F_Ann_N_HA_O_0001", 1, size=128)
    data = read(root)
    pixels = read_rgb(path).pixels.astype(float)
    mean = pixels.reshape(SIZE, 2, SIZE, 2, 3).mean((1, 3))
    assert np.abs(data.cache[0] - mean).max() <= 0.5
    assert any("size 128 is reduced" in note for note in data.notes)


def test_smaller_pictures_are_refused(heads, read):
    with pytest.raises(LayoutError, match="no pictures of size 128 or larger; there are 64"):
        read(heads(), size=128)


def test_splits_of_several_sizes_are_all_read(heads, read, tmp_path):
    root = heads(persons=1, frames=(1,))
    other = heads("other", persons=2, frames=(5,), size=128)
    (other / "train").rename(root / "test")
    data = read(root)
    assert [(r.split_folder, r.side) for r in data.records] == [("test", 128), ("test", 128), ("train", 64)]
    # Read larger, the smaller split would be left out: whoever wants all of it must ask.
    assert all_have([root], 64, 64) and not all_have([root], 128, 64)
    assert all_have([root], 128, 128) and not all_have([root], 256, 128), "the other is too small for either"


@pytest.mark.parametrize(
    ("shape", "reason"),
    [((48, 64, 3), "64 x 48 pixels; a picture of a head is square"), ((32, 32, 3), "32 x 32 pixels in a folder")],
)
def test_a_picture_of_another_size_than_its_folder_is_set_aside(heads, read, shape, reason):
    root = heads()
    path = root / "train/image/img_64/F_PersonA_N_HA_O_0001.png"
    Image.fromarray(np.full(shape, 9, np.uint8)).save(path)
    data = read(root)
    (problem,) = data.problems
    assert reason in problem.reason and problem.path == "data/train/image/img_64/F_PersonA_N_HA_O_0001.png"
    assert len(data) == 7 == len(data.cache) == len(data.targets)
    for index, record in enumerate(data.records):
        assert (data.cache[index] == read_rgb(root / record.image).pixels).all()


# -- what is wrong with a root --


def test_a_root_without_labels_is_refused(heads, read):
    root = heads()
    shutil.rmtree(root / "train/label")
    with pytest.raises(LayoutError, match="no usable picture.*no label"):
        read(root)


def test_a_root_without_pictures_is_refused(heads, read, tmp_path):
    root = heads()
    shutil.rmtree(root / "train/image/img_64")
    with pytest.raises(LayoutError, match="not an AcuSim dataset root"):
        read(root)
    with pytest.raises(LayoutError, match="is not a folder"):
        read(tmp_path / "nowhere")


def test_labels_without_pictures_and_pictures_without_labels_are_reported(heads, read):
    root = heads()
    (root / "train/image/img_64/F_PersonA_N_HA_O_0001.png").unlink()
    (root / "train/label/label/M_PersonB_N_HA_O_0001.json").unlink()
    data = read(root)
    reasons = {problem.path.split("/")[-1]: problem.reason for problem in data.problems}
    assert "orphan" in reasons["F_PersonA_N_HA_O_0001.json"] and "no label" in reasons["M_PersonB_N_HA_O_0001.png"]
    assert len(data) == 6


def test_an_unknown_name_sets_the_label_aside_and_another_order_does_not_matter(heads, read):
    root = heads()
    expected = read(root).targets
    (root / "map.txt").write_text("".join(f"{name}\n" for name in reversed(acupoints.NAMES)), "utf-8")
    for label in (root / "train/label/label").iterdir():
        document = json.loads(label.read_bytes())
        document["label"].reverse()
        label.write_text(json.dumps(document), "utf-8")
    data = read(root)
    assert (data.targets.xy == expected.xy).all() and any("another order" in note for note in data.notes)
    label = root / "train/label/label/F_PersonA_N_HA_O_0001.json"
    label.write_bytes(label.read_bytes().replace(b'"name": "', b'"name": "X', 1))
    (root / "map.txt").write_text("XLI17\n")
    data = read(root)
    assert len(data) == 7 and "is not one of AcuSim's 174 names" in data.problems[0].reason
    assert any("names that are not among AcuSim's 174, such as 'XLI17'" in note for note in data.notes)


def test_a_damaged_picture_is_set_aside_and_comes_back_when_mended(heads, read):
    root = heads()
    path = root / "train/image/img_64/F_PersonA_N_HA_O_0001.png"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    data = read(root)
    assert len(data) == 7 and "damaged or cut off" in data.problems[0].reason
    path.write_bytes(whole)
    assert len(read(root)) == 8


def test_links_that_lead_out_are_never_followed(heads, read, tmp_path):
    root = heads(persons=2, frames=(1,))
    image, label, mask = files(root, "F_PersonA_N_HA_O_0001")
    outside = tmp_path / "outside.json"
    outside.write_bytes(dump_point_mask(mask_of(image, label, accept=False)))
    mask.symlink_to(outside)
    data = read(root)
    assert [r.person for r in data.records] == ["personb"] and "leads out" in data.problems[0].reason
    mask.unlink()
    secret = tmp_path / "secret.png"
    shutil.move(image, secret)
    image.symlink_to(secret)
    data = read(root)
    assert [r.person for r in data.records] == ["personb"] and "leads out" in data.problems[0].reason


def test_the_same_picture_twice_counts_once_and_a_root_twice_is_refused(heads, read, tmp_path):
    root = heads(persons=2)
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    data = read(root, copy)
    assert len(data) == 4 and len(data.problems) == 4
    assert data.problems[0].reason.startswith("the same picture as data/train/image")
    with pytest.raises(ConfigError, match="named twice"):
        read(root, tmp_path / "copy" / ".." / "data")


def test_targets_go_to_torch_and_batches_are_taken(heads, read):
    import torch

    data = read(heads())
    tensors = data.targets.to_torch("cpu")
    batch = tensors.take(torch.tensor([3, 1]))
    assert torch.equal(batch.xy, torch.from_numpy(data.targets.xy[[3, 1]])) and batch.visible.dtype == torch.bool
    assert data.targets.take(np.array([2])).frame.tolist() == [data.targets.frame[2]]


@pytest.mark.parametrize("kind", ["a link to itself", "a pipe", "a folder"])
def test_a_mask_that_is_no_file_is_not_taken_for_full_trust(heads, read, kind):
    root = heads(persons=2, frames=(5,))
    _, _, mask = files(root, "F_PersonA_N_HA_O_0005")
    if kind == "a link to itself":
        mask.symlink_to(mask.name)
    elif kind == "a pipe":
        os.mkfifo(mask)
    else:
        mask.mkdir()
    data = read(root)
    [problem] = data.problems
    assert len(data.records) == 1 and "not a regular file" in problem.reason and problem.is_image


def test_a_map_that_cannot_be_read_is_reported(heads, read, monkeypatch):
    root = heads(persons=2, frames=(5,))
    (root / "map.txt").write_text("x")
    really = open

    def guarded(path, *how, **more):
        if str(path).endswith("map.txt"):
            raise PermissionError(13, "Permission denied")
        return really(path, *how, **more)

    monkeypatch.setattr("builtins.open", guarded)
    data = read(root)
    assert len(data.records) == 2 and any("map.txt cannot be read: Permission denied" in note for note in data.notes)
