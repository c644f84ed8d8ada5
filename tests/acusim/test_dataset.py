"""The Python interface to a dataset, as a notebook uses it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import acusim
from acusim import acupoints
from acusim.errors import LabelError, LayoutError, PictureError
from tests.support import ROOT, add_sample, draw_head


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three samples of side 64, one of them without depth and one also of side 32."""
    for frame in (1, 8):
        add_sample(tmp_path / "data", f"F_Ann_N_HA_O_{frame:04d}")
    add_sample(tmp_path / "data", "M_Bob_F_HC_0001", depth=False)
    add_sample(tmp_path / "data", "F_Ann_N_HA_O_0001", size=32)
    return tmp_path / "data"


def test_a_dataset_is_a_sequence_of_samples(root: Path):
    dataset = acusim.open_dataset(root)
    assert len(dataset) == 3 and not dataset.problems
    assert [str(sample.id) for sample in dataset] == ["F_Ann_N_HA_O_0001", "F_Ann_N_HA_O_0008", "M_Bob_F_HC_0001"]
    assert dataset[0] == dataset.samples[0] and dataset[-1].id.name == "Bob" and len(dataset[:2]) == 2
    with pytest.raises(IndexError):
        dataset[3]
    assert repr(dataset) == f"Dataset(root={root!r}, sizes={{'train': (32, 64)}})"
    assert [sample.size for sample in acusim.open_dataset(str(root), 32)] == [32]


def test_a_sample_reads_what_was_drawn(root: Path):
    sample = acusim.open_dataset(root)[1]
    pixels, distance_mm = draw_head(64, (8 % 7) / 7)
    image, label, depth = sample.read_image(), sample.read_label(), sample.read_depth()
    assert image.dtype == np.uint8 and (image == pixels).all()
    assert depth is not None and depth.dtype == np.uint16 and (depth == distance_mm).all()
    assert label.xy.shape == (174, 2) and label.listed.any()
    assert ((label.xy[label.listed] > 0) & (label.xy[label.listed] < 1)).all()
    assert len(label.listed) == acupoints.COUNT
    assert acusim.open_dataset(root)[2].read_depth() is None


def test_a_damaged_file_is_named_when_it_is_read(root: Path):
    sample = acusim.open_dataset(root)[0]
    for path, read, kind in (
        (sample.image, sample.read_image, PictureError),
        (sample.label, sample.read_label, LabelError),
        (sample.depth, sample.read_depth, PictureError),
    ):
        (root / str(path)).write_bytes(b"damaged")
        with pytest.raises(kind, match="F_Ann_N_HA_O_0001"):
            read()


def test_transparent_pixels_are_black(root: Path):
    sample = acusim.open_dataset(root)[0]
    Image.fromarray(np.full((64, 64, 4), (255, 255, 255, 0), np.uint8)).save(root / sample.image)
    assert not sample.read_image().any()


def test_a_sample_reads_nothing_outside_its_root(root: Path):
    sample = acusim.open_dataset(root)[0]
    with pytest.raises(LayoutError, match="not a plain relative path"):
        replace(sample, image="../outside.png").read_image()
    with pytest.raises(LayoutError, match="has no dataset root; take it from acusim.open_dataset"):
        replace(sample, root=None).read_image()


def test_a_folder_that_is_not_a_dataset_is_refused_with_a_hint(root: Path):
    with pytest.raises(LayoutError, match="is not an AcuSim dataset root: .*give '.*data'"):
        acusim.open_dataset(root / "train/label/label")
    with pytest.raises(LayoutError, match="no split of .* has pictures of size 512; there are train: 32, 64"):
        acusim.open_dataset(root, 512)


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, acusim; assert not {'numpy', 'PIL', 'pydantic', 'filelock'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
