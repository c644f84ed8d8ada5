"""The leak check: finds what tests must not share with training, and nothing else."""

import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from acusim import rig
from acusim.errors import ConfigError
from acusim.labels import dump_label, read_label
from tests.training.geometry.invented import person
from training.data.leaks import check, find
from training.data.records import HeadData
from training.data.split import SplitSettings, split

BIG = 256
"""At this size the noise of a JPEG is averaged out of a thumbnail."""


def by_person(data: HeadData, *test: str) -> dict[str, np.ndarray]:
    """Parts: the named persons are tested on."""
    tested = np.array([record.person in test for record in data.records])
    return {"train": np.flatnonzero(~tested), "test": np.flatnonzero(tested)}


def kinds(data: HeadData, parts: dict[str, np.ndarray]) -> set[str]:
    return {leak.kind for leak in find(data.records, data.targets, data.cache.thumbnails(), parts)}


def rename(root: Path, old: str, new: str, *, labels: bool = True, pictures: bool = True) -> list[Path]:
    """Gives copies of a person's files to another name, who has files of its own; returns the pictures."""
    out = []
    for path in sorted(root.glob(f"train/image/*/*_{old}_*")):
        stem = path.stem.replace(old, new)
        if pictures:
            shutil.copy(path, path.with_name(stem + path.suffix))
        if labels:
            shutil.copy(root / f"train/label/label/{path.stem}.json", root / f"train/label/label/{stem}.json")
        out.append(path.with_name(stem + path.suffix))
    return out


def test_persons_divided_by_split_pass(heads, read):
    data = read(heads(persons=6, frames=(1, 5, 9)))
    parts = split(data.records, SplitSettings(train=0.5, val=0.25, test=0.25)).indices
    check(data, parts)


def test_a_person_in_two_parts_is_refused_by_name(heads, read):
    data = read(heads(frames=(1, 5)))
    halves = {"train": np.arange(0, 8, 2), "test": np.arange(1, 8, 2)}
    with pytest.raises(ConfigError, match=r"4 persons are in two parts: .*PersonA.*\(train\) and .*PersonA.*\(test\)"):
        check(data, halves)


def test_an_augmented_variant_in_another_part_is_reported(heads, read, tmp_path):
    root = heads(frames=(1,))
    out = heads("tmp", frames=(1,), size=128).rename(tmp_path / "out")
    (out / "manifest.jsonl").write_text('{"status": "done"}\n')
    data = read(root, out)
    originals = np.array([record.variant == "" for record in data.records])
    parts = {"train": np.flatnonzero(originals), "test": np.flatnonzero(~originals)}
    assert kinds(data, parts) >= {"person", "sibling"}
    assert kinds(data, by_person(data, "persona")) == set()


def test_the_same_labels_under_two_names_are_reported(heads, read):
    root = heads(persons=3)
    rename(root, "PersonA", "PersonC", pictures=False)
    data = read(root)
    assert kinds(data, by_person(data, "personc")) == {"labels"}
    assert kinds(data, by_person(data, "persona", "personc")) == set(), "within a part nothing leaks"
    with pytest.raises(ConfigError, match="2 pairs of pictures of two names have the same acupoints"):
        check(data, by_person(data, "personc"))


def test_a_few_corrected_points_do_not_hide_the_same_labels(heads, read):
    root = heads(persons=3)
    for path in rename(root, "PersonA", "PersonC", pictures=False):
        file = root / f"train/label/label/{path.stem}.json"
        label = read_label(file)
        label.xy[np.flatnonzero(label.listed)[:3], 1] -= 0.01
        file.write_bytes(dump_label(label))
    data = read(root)
    assert kinds(data, by_person(data, "personc")) == {"labels"}


def jpeg(image: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=50)
    return Image.open(stream).convert("RGB")


CHANGES = {
    "nothing": lambda image: image,
    "jpeg": jpeg,
    "smaller and back": lambda image: image.resize((150, 150), Image.Resampling.BOX).resize((BIG, BIG)),
    "brighter": lambda image: image.point([min(255, round(1.1 * value + 8)) for value in range(256)] * 3),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_same_pictures_under_two_names_are_reported(heads, read, change):
    root = heads(persons=3, size=BIG)
    for path in rename(root, "PersonA", "PersonC", labels=False):
        CHANGES[change](Image.open(path).convert("RGB")).save(path)
    data = read(root, size=BIG)
    assert kinds(data, by_person(data, "personc")) == {"pictures"}


def test_one_view_that_looks_alike_is_not_enough_but_one_equal_picture_is(heads, read):
    root = heads(persons=3, frames=(1, 5, 9), size=BIG)
    first = rename(root, "PersonA", "PersonC", labels=False)
    originals = {path: path.read_bytes() for path in first}
    for path in first[1:]:  # of three views one stays the copy
        Image.fromarray(np.flip(np.asarray(Image.open(path)), (0, 1))).save(path)
    data = read(root, size=BIG)
    assert kinds(data, by_person(data, "personc")) == {"pictures"}, "the copy is exact"
    jpeg(Image.open(first[0])).save(first[0])
    data = read(root, size=BIG)
    assert kinds(data, by_person(data, "personc")) == set(), "as two heads from the back may be"
    first[1].write_bytes(originals[first[1]])
    jpeg(Image.open(first[1])).save(first[1])
    data = read(root, size=BIG)
    assert kinds(data, by_person(data, "personc")) == {"pictures"}, "two of three views"


def test_black_pictures_and_empty_labels_are_near_nothing(heads, read):
    root = heads(persons=2)
    for path in root.glob("train/image/*/*"):
        Image.new("RGB", (64, 64)).save(path)
    for path in root.glob("train/label/label/*"):
        path.write_text('{"label": []}')
    data = read(root)
    assert kinds(data, by_person(data, "personb")) == set()


def test_chunks_make_no_difference(heads, read, monkeypatch):
    root = heads(persons=5)
    rename(root, "PersonA", "PersonC")
    rename(root, "PersonB", "PersonE")
    data = read(root)
    parts = by_person(data, "personc", "persone", "persond")
    thumbnails = data.cache.thumbnails()
    whole = find(data.records, data.targets, thumbnails, parts)
    monkeypatch.setattr("training.data.leaks._CHUNK", 2)
    assert set(find(data.records, data.targets, thumbnails, parts)) == set(whole)
    assert len([leak for leak in whole if leak.kind == "labels"]) == 4


def test_pictures_in_no_part_are_not_looked_at(heads, read):
    data = read(heads())
    parts = {"train": np.array([0, 1]), "test": np.array([2])}
    records = [replace(record, person="persona") if i > 3 else record for i, record in enumerate(data.records)]
    assert find(records, data.targets, data.cache.thumbnails(), parts) == []


HALF_A = (1, 3, 5, 37, 109)
HALF_B = (2, 4, 36, 38, 110)
"""Views that no picture of the first half has."""


def relabel(root: Path, name: str, points: np.ndarray, jitter: float = 0.0) -> None:
    """Gives a person's pictures the labels of a head in space, moved by up to ``jitter`` of the picture."""
    random = np.random.default_rng(ord(name[-1]))
    for file in sorted(root.glob(f"train/label/label/*_{name}_*")):
        label = read_label(file)
        exact = rig.project(points, int(file.stem[-4:]), 1.0)[0]
        label.xy[:] = np.where(label.listed[:, None], exact + random.uniform(-jitter, jitter, exact.shape), np.nan)
        label.xy[:] = label.xy.clip(0, 1)
        file.write_bytes(dump_label(label))


def test_a_renamed_person_with_relit_pictures_and_jittered_labels_is_reported(heads, read):
    root = heads(persons=4)
    for number, name in enumerate(("PersonA", "PersonB", "PersonC", "PersonD")):
        relabel(root, name, person(number % 3), jitter=0.3 / 512)
    data = read(root)
    assert kinds(data, by_person(data, "persond")) == {"heads"}
    assert kinds(data, by_person(data, "persona", "persond")) == set(), "within a part nothing leaks"
    assert kinds(data, by_person(data, "personc")) == set(), "different heads are not accused"
    with pytest.raises(ConfigError, match=r"1 pairs of persons of two names have the same head.*PersonA.*PersonD"):
        check(data, by_person(data, "persond"))


def test_a_person_under_two_names_in_disjoint_views_is_reported(heads, read):
    root = heads(persons=3, frames=(*HALF_A, *HALF_B))
    for number, name in enumerate(("PersonA", "PersonB", "PersonC")):
        relabel(root, name, person(number % 2), jitter=0.3 / 512)
    for path in [*root.glob("train/*/*/*")]:
        frame = int(path.stem[-4:])
        if frame in (HALF_A if "PersonC" in path.name else HALF_B):
            path.unlink()
    data = read(root)
    frames = {
        name: {record.id.frame for record in data.records if record.person == name} for name in ("persona", "personc")
    }
    assert not frames["persona"] & frames["personc"]
    assert kinds(data, by_person(data, "personc")) == {"heads"}
    assert kinds(data, by_person(data, "personb")) == set()


def transformed(root: Path, stems: list[Path], scale: float, shift: tuple[float, float], noise: float = 0.0) -> None:
    """Moves and scales labels, as if the picture had been cropped anew."""
    random = np.random.default_rng(5)
    for picture in stems:
        path = root / f"train/label/label/{picture.stem}.json"
        label = read_label(path)
        xy = 0.5 + scale * (label.xy - 0.5) + np.array(shift) + random.normal(0, noise, label.xy.shape)
        path.write_bytes(dump_label(replace(label, xy=np.where(label.listed[:, None], xy, label.xy))))


@pytest.mark.parametrize(
    ("scale", "shift", "noise"),
    [(1.0, (1 / 512, 0.0), 0.0), (0.97, (0.01, -0.004), 0.0), (1.03, (0.0, 0.02), 0.0005)],
)
def test_a_renamed_person_whose_pictures_were_cropped_anew_is_reported(heads, read, scale, shift, noise):
    root = heads(persons=4, frames=(1, 4, 34))
    stems = rename(root, "PersonA", "PersonC", pictures=False)
    transformed(root, stems, scale, shift, noise)
    data = read(root)
    found = kinds(data, by_person(data, "personc"))
    assert "moved" in found and found <= {"moved", "heads"}
    assert kinds(data, by_person(data, "personb")) == set()


def test_untrusted_labels_prove_no_head(heads, read):
    root = heads(persons=2)
    for name in ("PersonA", "PersonB"):
        relabel(root, name, person(0), jitter=0.3 / 512)
    data = read(root)
    parts = by_person(data, "personb")
    assert kinds(data, parts) == {"heads"}
    targets = replace(data.targets, trusted=np.zeros_like(data.targets.trusted))
    assert find(data.records, targets, data.cache.thumbnails(), parts) == []


def test_variants_under_one_name_are_one_person(heads, read):
    root = heads(persons=2)
    for path in rename(root, "PersonA", "PersonA", labels=False, pictures=False):
        stem = path.stem.replace("_HA_", "_HC_")
        shutil.copy(path, path.with_name(stem + path.suffix))
        shutil.copy(root / f"train/label/label/{path.stem}.json", root / f"train/label/label/{stem}.json")
    data = read(root)
    assert len(data) == 6
    assert kinds(data, by_person(data, "personb")) == set()
