"""Batches over labelme folders and COCO data sets: names and labels kept, the gate on their points, all resumed."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from acusim.pictures import read_provenance
from acusim.point_mask import mask_path, parse_point_mask
from tests.keypoint_files import POINTS, SIZE, add_coco, add_labelme, coco

Run = Callable[..., object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A labelme folder of a PNG and, in a folder below, a JPEG."""
    root = tmp_path / "hands"
    add_labelme(root, "S1.png")
    add_labelme(root, "more/S2.jpg", 1)
    return root


def manifest(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def test_a_labelme_folder_keeps_names_and_labels(folder: Path, batch: Run, tree: Run, tmp_path: Path):
    out = tmp_path / "out"
    before = tree(folder)
    report = json.loads(batch(folder, out, "--json", apart=True).stdout)
    assert (report["created"], report["exit_code"], report["prompt_sets"]) == (2, 0, {"any": 2})
    assert report["facts"] == {"foreground label": 2, "geometry silhouette-inflation": 2}
    assert tree(folder) == before
    for name in ("S1", "more/S2"):
        assert (out / f"{name}.json").read_bytes() == (folder / f"{name}.json").read_bytes()
    for name in ("S1.png", "more/S2.jpg"):
        one, other = (np.asarray(Image.open(root / name)) for root in (folder, out))
        assert one.shape == other.shape and abs(one.astype(int) - other).mean() > 2
        record = read_provenance(out / name)
        assert (record["sample"], record["source"]) == (name, name)
        assert record["facts"]["foreground"] == "label"
        assert str(tmp_path) not in json.dumps(record)
    assert [line["image"] for line in manifest(out)] == ["S1.png", "more/S2.jpg"]
    assert not (out / "map.txt").exists()


def test_any_number_of_workers_and_runs_gives_the_same(folder: Path, batch: Run, tree: Run, tmp_path: Path):
    batch(folder, tmp_path / "one", "--workers", 1)
    batch(folder, tmp_path / "two", "--workers", 2, "--limit", 1)
    batch(folder, tmp_path / "two", "--workers", 2)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_what_changed_or_is_gone_is_made_again(folder: Path, batch: Run, tmp_path: Path):
    out = tmp_path / "out"
    batch(folder, out)
    report = json.loads(batch(folder, out, "--json", apart=True).stdout)
    assert (report["created"], report["already"]) == (0, 2)
    (folder / "masks").mkdir()
    Image.new("L", SIZE, 255).crop((0, 0, *SIZE)).save(folder / "masks" / "S1.png")
    report = json.loads(batch(folder, out, "--json", apart=True, check=2).stdout)
    assert report["already"] == 1  # a mask of the whole picture leaves no background
    (out / "more" / "S2.jpg").unlink()
    (folder / "masks" / "S1.png").unlink()
    report = json.loads(batch(folder, out, "--json", apart=True).stdout)
    assert report["created"] == 2


def test_verify_repair_reproduce(folder: Path, batch: Run, command: Run, tree: Run, tmp_path: Path):
    out = tmp_path / "out"
    batch(folder, out)
    made = tree(out)
    (out / "S1.json").write_text("{}")
    assert "S1.json: not the bytes" in command("--verify", "--output", out, check=2).stdout
    (out / ".acusim" / "ledger.sqlite").unlink()
    command("--repair", "--output", out, check=0)
    assert tree(out) == made
    command("--reproduce", out / "S1.png", check=0)
    command("--reproduce", out / "more" / "S2.jpg", check=0)


def test_the_gate_certifies_the_points(folder: Path, batch: Run, tmp_path: Path):
    out = tmp_path / "out"
    report = json.loads(batch(folder, out, "--gate", "--json", apart=True).stdout)
    assert report["gate"]["planned"] == 2
    assert all(line["attempts"][0]["accept"] for line in manifest(out))


def test_a_coco_data_set_keeps_its_file(batch: Run, command: Run, tmp_path: Path):
    root, out = tmp_path / "coco", tmp_path / "out"
    add_coco(root, ["a.png", "b.png"])
    batch(root, out, "--variants", 2)
    document = (root / "annotations" / "hands.json").read_bytes()
    for variant in ("v01", "v02"):
        assert (out / variant / "annotations" / "hands.json").read_bytes() == document
        assert sorted(os.listdir(out / variant / "images")) == ["a.png", "b.png"]
    command("--verify", "--output", out, check=0)
    (out / "v02" / "annotations" / "hands.json").unlink()
    assert "v02/annotations/hands.json" in command("--verify", "--output", out, check=2).stdout
    batch(root, out, "--variants", 2)
    command("--verify", "--output", out, check=0)
    (out / ".acusim" / "ledger.sqlite").unlink()
    assert "4 images by manifest" in command("--repair", "--output", out, check=0).stderr


def test_a_changed_annotation_is_noticed_and_out_is_a_data_set(batch: Run, tmp_path: Path):
    root, out = tmp_path / "coco", tmp_path / "out"
    add_coco(root, ["a.png", "b.png"])
    batch(root, out, "--variants", 2)
    again = json.loads(batch(out, tmp_path / "again", "--json", apart=True).stdout)
    assert again["created"] == 4  # each variant's file names its own pictures
    document = coco(["a.png", "b.png"])
    document["annotations"][0]["segmentation"][0][0] += 4
    (root / "annotations" / "hands.json").write_text(json.dumps(document))
    report = json.loads(batch(root, out, "--variants", 2, "--json", apart=True).stdout)
    assert (report["created"], report["already"]) == (2, 2)


def test_one_bad_picture_is_skipped_with_its_reason(folder: Path, batch: Run, tmp_path: Path):
    add_labelme(folder, "bad.png", 2, imagePath="../../etc/passwd.png")
    (folder / "masks").mkdir()
    Image.new("L", (5, 5), 255).save(folder / "masks" / "S1.png")
    out = tmp_path / "out"
    batch(folder, out, check=2)
    reasons = {line["image"]: str(line.get("reason", "")) for line in manifest(out)}
    assert "leads out of the folder" in reasons["bad.json"]
    assert "its mask is 5 x 5, the picture 96 x 80" in reasons["S1.png"]
    assert reasons["more/S2.jpg"] == ""


def test_links_that_lead_out_are_not_read(folder: Path, batch: Run, tmp_path: Path):
    outside = tmp_path / "outside"
    add_labelme(outside, "secret.png")
    (folder / "link.png").symlink_to(outside / "secret.png")
    (folder / "link.json").symlink_to(outside / "secret.json")
    out = tmp_path / "out"
    batch(folder, out, check=2)
    assert not (out / "link.png").exists() and not (out / "secret.png").exists()


@pytest.mark.parametrize(
    "option",
    [("--select", "gender=F"), ("--persons", 1), ("--size", 64), ("--geometry", "labels"), ("--bald-codes", "HA")],
)
def test_options_of_sample_ids_are_refused(folder: Path, batch: Run, tmp_path: Path, option: tuple[str, object]):
    answer = batch(folder, tmp_path / "out", *option, check=1)
    assert option[0] in answer.stderr and "AcuSim" in answer.stderr
    assert not (tmp_path / "out").exists()


def test_own_prompts_go_before_the_shipped_set(folder: Path, batch: Run, tmp_path: Path):
    prompts = tmp_path / "prompts.toml"
    prompts.write_text(
        '[[set]]\nname = "woman"\ngender = "F"\npositive = "a woman"\n'
        '[[set]]\nname = "hand"\npositive = ["a hand, {hair}, daylight"]\n'
    )
    out = tmp_path / "out"
    batch(folder, out, "--prompts", prompts)
    assert {line["prompt_set"] for line in manifest(out)} == {"hand"}
    assert read_provenance(out / "S1.png")["positive"] == "a hand, daylight"


def test_a_point_mask_of_other_points(tmp_path: Path):
    assert mask_path("more/S2.jpg") == "point_masks/more/S2.jpg.json"
    document = {"format": 1, "image": "S1.png", "image_sha256": "0", "accept": True, "reason": "", "tolerance_mm": 5.0}
    point = {"name": "tip", "displacement_px": [0, 0], "excluded_px": 1.0, "excluded_mm": 1.0, "trusted": True}
    mask = parse_point_mask(json.dumps(document | {"points": [point]}).encode(), tuple(POINTS))
    assert mask.names == tuple(POINTS) and mask.trusted.tolist() == [True, False]
