"""Instruction sets that libraries are held to, and what docs/results/reproducibility.md promises across them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import processors
from tests.outputs import STEPS
from tests.support import ROOT, UNIT, add_sample

HAS = frozenset({"SSE3", "SSSE3", "SSE41", "SSE42", "POPCNT", "AVX", "F16C", "FMA3", "AVX2", "FP16", "SSE4.1"})
"""A processor with AVX2 and without AVX-512."""


def test_what_the_processor_lacks_is_named_and_not_run():
    assert processors.environment_of("avx512", HAS) == "cannot be imitated: this processor has no AVX512_SKX"


def test_what_is_not_used_anyway_is_not_switched_off():
    lowest = processors.PROFILES["sse3"].environment(HAS)
    assert lowest["NPY_DISABLE_CPU_FEATURES"] == "SSSE3 SSE41 POPCNT SSE42 AVX F16C FMA3 AVX2"
    assert lowest["OPENCV_CPU_DISABLE"] == "SSE4.1,AVX,FP16,AVX2"
    whole = processors.PROFILES["avx2"].environment(HAS)
    assert whole["ATEN_CPU_CAPABILITY"] == "avx2" and "NPY_DISABLE_CPU_FEATURES" not in whole


def test_an_unknown_profile_is_refused(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        processors.main(["mmx"])
    assert "there is no profile mmx; there are sse3, sse42, avx2, avx512" in capsys.readouterr().err


def lowest() -> dict[str, str]:
    """The environment of the lowest profile."""
    environment = processors.environment_of("sse3", processors.features())
    if isinstance(environment, str):
        pytest.skip(environment)
    return environment


@pytest.mark.processors
def test_the_exit_code_is_that_of_the_tests(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    lowest()
    text = "import os, pytest\npytestmark = pytest.mark.numeric\n"
    text += "def test_it():\n    assert os.environ['ATEN_CPU_CAPABILITY'] == 'default'\n"
    (tmp_path / "test_one.py").write_text(text)
    more = ["--", "-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider", str(tmp_path / "test_one.py")]
    assert processors.main(["sse3", *more]) == 0 and "1 passed" in capsys.readouterr().out
    (tmp_path / "test_one.py").write_text(text.replace("'default'", "'avx512'"))
    assert processors.main(["sse3", *more]) == 1 and "1 failed" in capsys.readouterr().out


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Outputs under the lowest profile and with all that this processor has."""
    environments = {"lowest": lowest(), "whole": processors.plain_environment()}
    place = tmp_path_factory.mktemp("outputs")
    for stem in ("F_Ann_N_HA_O_0001", "M_Bob_F_HC_C_0001"):
        add_sample(place / "data", stem, size=192)
    add_sample(place / "data", "M_Dan_N_HB_C_0007", size=192, depth=False)
    for name, environment in environments.items():
        line = [sys.executable, "-m", "tests.outputs", str(place / "data"), str(place / name)]
        subprocess.run(line, cwd=ROOT, env=environment, check=True, timeout=600)
    return place / "lowest", place / "whole"


def files(out: Path, folder: str, pattern: str = "*") -> dict[str, bytes]:
    """Contents by path."""
    place = out / "files" / folder
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob(pattern) if path.is_file()}


@pytest.mark.processors
@pytest.mark.parametrize(
    ("folder", "pattern", "count"),
    [
        ("encoded", "*", 2),
        ("synthetic", "*.json", 3),
        ("synthetic/train/depth", "*", 2),
        ("relit", "*.json", 3),
        ("relit/train/depth", "*", 2),
    ],
)
def test_what_is_promised_to_be_equal_is(both: tuple[Path, Path], folder: str, pattern: str, count: int):
    one, other = (files(out, folder, pattern) for out in both)
    assert len(one) >= count and one == other


@pytest.mark.processors
@pytest.mark.parametrize(("folder", "count"), [("relit", 3), ("synthetic", 2)])
def test_pictures_are_apart_by_one_level_in_few_pixels(both: tuple[Path, Path], folder: str, count: int):
    pictures = [sorted((out / "files" / folder / "train/image").rglob("*.png")) for out in both]
    assert len(pictures[0]) == len(pictures[1]) == count
    pairs = [[np.array(Image.open(path)).astype(int) for path in pair] for pair in zip(*pictures, strict=True)]
    apart = np.stack([np.abs(one - other).max(axis=2) for one, other in pairs])
    assert apart.max() <= 1 and (apart > 0).mean() <= 1e-3


@pytest.mark.processors
@pytest.mark.parametrize(
    ("name", "largest"),
    [
        ("certificate", 1e-3),
        ("weights", 2 * STEPS * 1e-4),  # a step of AdamW moves a weight by its learning rate at most
        ("noise", 32 * UNIT),
        ("sigmas", 15 * 24 * UNIT),
    ],
)
def test_numbers_are_no_farther_apart_than_promised(both: tuple[Path, Path], name: str, largest: float):
    one, other = (np.load(out / "numbers.npz")[name] for out in both)
    assert one.shape == other.shape and np.abs(one - other).max() <= largest
