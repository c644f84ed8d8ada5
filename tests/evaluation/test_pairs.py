"""Pairing by stem, and what is reported of the rest."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from acusim.errors import ConfigError, LayoutError
from acusim.selection import parse_selection
from evaluation.pairs import ensure_pairs, pair_up

MakeDataset = Callable[..., Path]
SHAPE = "train/image/img_64"


@pytest.fixture
def roots(make_dataset: MakeDataset) -> tuple[Path, Path]:
    """Two equal data sets of four models in two frames."""
    return make_dataset(name="a"), make_dataset(name="b")


def test_pairs_are_found_by_stem_whatever_the_extension(roots: tuple[Path, Path], make_dataset: MakeDataset):
    original, _ = roots
    augmented = make_dataset(name="jpg", extension=".jpg")
    got = pair_up(original, augmented)
    assert len(got.pairs) == 8 and not got.problems
    assert all(Path(pair.original).stem == Path(pair.augmented).stem for pair in got.pairs)
    assert {pair.prompt_set for pair in got.pairs} == {"female", "male", "bald_female", "bald_male"}
    assert {pair.bald for pair in got.pairs if pair.id.hair == "HB"} == {True}


def test_missing_and_extra_pictures_are_reported(roots: tuple[Path, Path]):
    original, augmented = roots
    (augmented / SHAPE / "F_Ann_N_HA_O_0001.png").unlink()
    (original / SHAPE / "M_Bob_F_HC_C_0008.png").unlink()
    got = pair_up(original, augmented)
    reasons = {problem.path: problem.reason for problem in got.problems}
    assert len(got.pairs) == 6
    assert reasons[f"{SHAPE}/F_Ann_N_HA_O_0001.png"] == "no augmented picture of this stem"
    assert reasons[f"{SHAPE}/M_Bob_F_HC_C_0008.png"] == "no original of this stem"


def test_absent_labels_are_reported_and_the_pair_stays(roots: tuple[Path, Path]):
    original, augmented = roots
    shutil.rmtree(original / "train/label")
    shutil.rmtree(augmented / "train/label")
    got = pair_up(original, augmented)
    assert len(got.pairs) == 8 and all(pair.label is None for pair in got.pairs)
    assert len(got.problems) == 8 and all("no label" in problem.reason for problem in got.problems)


def test_variants_are_pairs_of_their_own(roots: tuple[Path, Path], tmp_path: Path):
    original, augmented = roots
    for name in ("v01", "v02"):
        shutil.copytree(augmented, tmp_path / "variants" / name)
    got = pair_up(original, tmp_path / "variants")
    assert len(got.pairs) == 16 and {pair.variant for pair in got.pairs} == {"v01/", "v02/"}
    assert got.pairs[0].augmented.startswith(f"v01/{SHAPE}/")
    shutil.copytree(augmented / "train", tmp_path / "variants" / "train")
    with pytest.raises(LayoutError, match=r"pictures of its own \(train/image\) and variants \(v01/\)"):
        pair_up(original, tmp_path / "variants")


@pytest.mark.parametrize("status", ["skipped", "set aside"])
def test_a_manifest_lists_prompt_sets_and_why_a_picture_is_missing(roots: tuple[Path, Path], status: str):
    original, augmented = roots
    gone = f"{SHAPE}/F_Ann_N_HA_O_0001.png"
    (augmented / gone).unlink()
    lines = [
        {"status": "done", "image": f"{SHAPE}/F_Ann_N_HA_O_0008.png", "prompt_set": "mine"},
        {"status": status, "image": gone, "reason": "too dark"},
    ]
    text = "\n".join(map(json.dumps, lines)) + '\n{"broken\n[1]\n'
    (augmented / "manifest.jsonl").write_text(text)
    got = pair_up(original, augmented)
    assert [pair.prompt_set for pair in got.pairs if str(pair.id) == "F_Ann_N_HA_O_0008"] == ["mine"]
    assert [p.reason for p in got.problems] == ["no augmented picture: it was skipped (too dark)"]
    assert got.notes == ["manifest.jsonl: 2 lines are damaged and were left out"]


def test_a_root_of_another_program(roots: tuple[Path, Path]):
    original, augmented = roots
    (augmented / SHAPE / "holiday.png").write_bytes(b"x")
    (augmented / SHAPE / "notes.txt").write_bytes(b"x")
    got = pair_up(original, augmented)
    reasons = "\n".join(problem.reason for problem in got.problems)
    assert "'holiday'" in reasons and "not an image" in reasons
    assert any("missing" in note for note in got.notes)


def test_a_link_out_of_the_root_is_not_followed(roots: tuple[Path, Path]):
    original, augmented = roots
    target = augmented / SHAPE / "M_Bob_F_HC_C_0001.png"
    target.unlink()
    target.symlink_to(original / SHAPE / "M_Bob_F_HC_C_0001.png")
    got = pair_up(original, augmented)
    assert len(got.pairs) == 7
    assert any("leads out of the dataset root" in problem.reason for problem in got.problems)


def test_a_selection_concerns_both_sides(roots: tuple[Path, Path]):
    got = pair_up(*roots, selected=parse_selection("gender=F,frame=1"))
    assert [str(pair.id) for pair in got.pairs] == ["F_Ann_N_HA_O_0001", "F_Cleo_S_HB_O_0001"] and not got.problems


def test_nothing_to_measure_is_an_error(roots: tuple[Path, Path], make_dataset: MakeDataset, tmp_path: Path):
    original, _ = roots
    with pytest.raises(ConfigError, match="the same folder"):
        pair_up(original, original)
    other = make_dataset(models=("F_Zoe_N_HA_O",), name="z")
    with pytest.raises(LayoutError, match="no picture of"):
        ensure_pairs(pair_up(original, other), original, other)
    (tmp_path / "flat").mkdir()
    with pytest.raises(LayoutError, match="not an AcuSim dataset root"):
        pair_up(original, tmp_path / "flat")


def test_junk_files_and_circles_are_no_pairs(roots: tuple[Path, Path]):
    original, augmented = roots
    for root in roots:
        for folder in ("", SHAPE, "train/label/label"):
            for path in [path for path in (root / folder).iterdir() if path.is_file()]:
                path.with_name(f"._{path.name}").write_bytes(b"x")
            (root / folder / "Thumbs.db").write_bytes(b"x")
            (root / folder / "loop").symlink_to("loop")
    got = pair_up(original, augmented)
    assert len(got.pairs) == 8
    assert {Path(problem.path).name for problem in got.problems} == {"loop"}
    assert sum("files of operating systems" in note for note in got.notes) == 2, "one for each root"


def test_variants_that_are_links_are_reported(roots: tuple[Path, Path], tmp_path: Path):
    original, augmented = roots
    shutil.copytree(augmented, tmp_path / "variants/v01")
    (tmp_path / "variants/v02").symlink_to("v02")
    (tmp_path / "variants/v03").symlink_to("v01")
    got = pair_up(original, tmp_path / "variants")
    assert len(got.pairs) == 8
    reasons = {problem.path: problem.reason for problem in got.problems}
    assert "leads back to itself" in reasons["v02"] and "a link" in reasons["v03"]


def test_both_roots_report_what_to_give(roots: tuple[Path, Path], tmp_path: Path):
    original, augmented = roots
    shutil.move(augmented, tmp_path / "outer/OUT")
    with pytest.raises(LayoutError, match=f"give '{tmp_path}/outer/OUT'"):
        pair_up(original, tmp_path / "outer")
    with pytest.raises(LayoutError, match=f"give '{original}'"):
        pair_up(original / "train", tmp_path / "outer/OUT")
