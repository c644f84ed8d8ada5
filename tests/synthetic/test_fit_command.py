"""``synthetic fit``: files, resuming, what is set aside, and what is never touched."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from acusim import layout, pictures
from acusim.foreground import find_foreground
from engines import relight
from engines.recipe import Recipe
from synthetic import cli

pytestmark = [pytest.mark.slow, pytest.mark.numeric]

STEMS = ("0001", "0004", "0010")


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person as AcuSim ships her: JPEG without depth."""
    root = tmp_path_factory.mktemp("data") / "root"
    line = ["--identities", "1", "--views", "1,4,10", "--size", "128", "--jpeg", "1", "--workers", "1", "--quiet"]
    assert cli.main(["--out", str(root), *line]) == 0
    return root


@pytest.fixture(scope="module")
def fitted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fitted") / "root"
    shutil.copytree(data, root)
    assert run(root) == 0
    return root


@pytest.fixture
def copy(fitted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fitted, tmp_path / "copy"))


def run(root: Path, *more: str) -> int:
    return cli.main(["fit", "--dataset", str(root), "--workers", "1", "--quiet", *more])


def maps(root: Path) -> dict[str, Path]:
    return {path.stem[-4:]: path for path in root.glob("train/depth/img_128/*.png")}


def labels(root: Path) -> dict[str, Path]:
    return {path.stem[-4:]: path for path in root.glob("train/label/label/*.json")}


def test_every_image_gets_a_depth_map_of_its_head(fitted: Path, data: Path) -> None:
    dataset = layout.scan(fitted)
    assert not dataset.problems and len(dataset) == 3
    for sample in dataset:
        assert sample.depth is not None
        values, kind = pictures.read_depth(fitted / sample.depth)
        found = find_foreground(sample.read_image(), (fitted / sample.depth).read_bytes())
        assert kind == "labels" and found.source == "silhouette" and found.depth_kind == "labels"
        assert ((values > 0) == found.mask).all()
        record = pictures.read_provenance(fitted / sample.depth)
        assert record["views"] == 3 and record["left_out"] == 0 and record["residual_px_of_512"] < 1
    assert (fitted / "depth_from_labels.png").is_file()
    assert {name: data for name, data in contents(fitted).items() if "depth" not in name} == contents(data)


def test_a_second_run_makes_nothing_and_a_lost_map_alone(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(copy)
    assert run(copy) == 0
    assert contents(copy) == before and "0 depth maps made" in capsys.readouterr().out
    maps(copy)["0004"].unlink()
    assert run(copy) == 0
    assert contents(copy) == before and "1 depth maps made" in capsys.readouterr().out


def test_other_labels_make_other_maps(copy: Path) -> None:
    before = contents(copy)
    path = labels(copy)["0001"]
    document = json.loads(path.read_text())
    del document["label"][0]
    path.write_text(json.dumps(document))
    assert run(copy) == 0
    assert all(path.read_bytes() != before[str(path.relative_to(copy))] for path in maps(copy).values())


def test_the_data_sets_own_maps_are_never_written_over(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = pictures.encode_depth(np.where(np.eye(128) > 0, 800, 0).astype(np.uint16))
    small = pictures.encode_depth(np.where(np.eye(64) > 0, 800, 0).astype(np.uint16))
    files = {"0001": own, "0004": b"no picture", "0010": small}
    for name, data in files.items():
        maps(copy)[name].write_bytes(data)
    assert run(copy) == 2
    assert {name: path.read_bytes() for name, path in maps(copy).items()} == files
    reported = capsys.readouterr()
    assert "1 existed already" in reported.out and "2 images were set aside" in reported.out
    assert "64 x 64, its picture 128 x 128" in reported.err and "remove it to have one fitted" in reported.err


def test_damaged_maps_that_were_fitted_are_made_again(copy: Path) -> None:
    before = contents(copy)
    maps(copy)["0001"].write_bytes(b"")
    whole = maps(copy)["0004"].read_bytes()
    maps(copy)["0004"].write_bytes(whole[: len(whole) // 2])
    assert run(copy) == 0
    assert contents(copy) == before


def test_a_copy_has_all_and_leaves_the_data_set_alone(data: Path, fitted: Path, tmp_path: Path) -> None:
    before = contents(data)
    assert run(data, "--output", str(tmp_path / "new")) == 0
    assert contents(data) == before
    made = contents(tmp_path / "new")
    del made["synthetic.json"]
    wanted = contents(fitted)
    del wanted["synthetic.json"]
    assert made == wanted
    assert run(data, "--output", str(tmp_path / "new")) == 0


def test_a_copy_follows_the_data_set(data: Path, tmp_path: Path) -> None:
    root, new = Path(shutil.copytree(data, tmp_path / "root")), tmp_path / "new"
    assert run(root, "--output", str(new)) == 0
    before = contents(new)
    path = labels(root)["0001"]
    document = json.loads(path.read_text())
    del document["label"][0]
    path.write_text(json.dumps(document))
    image = next(root.glob("train/image/img_128/*0010.jpg"))
    Image.open(image).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(image)
    assert run(root, "--output", str(new)) == 0
    made = contents(new)
    changed = {name for name in made if made[name] != before[name]} - {"depth_from_labels.png"}
    wanted = (labels(new)["0001"], *new.glob("train/image/*/*0010.jpg"), *maps(new).values())
    assert changed == {str(path.relative_to(new)) for path in wanted}
    assert labels(new)["0001"].read_bytes() == path.read_bytes()


def test_places_that_are_no_copy_are_refused(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in (data, data / "new", data.parent):
        assert run(data, "--output", str(place)) == 1
        assert "is ROOT, in it, or around it" in capsys.readouterr().err
    (tmp_path / "mine.txt").write_text("mine")
    assert run(data, "--output", str(tmp_path)) == 1
    assert "--output" in (error := capsys.readouterr().err) and "is not empty" in error
    assert run(tmp_path / "nowhere") == 1
    assert "nowhere" in capsys.readouterr().err


def test_bad_items_are_set_aside_with_their_reasons(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(shutil.copytree(data, tmp_path / "root"))
    image = {path.stem[-4:]: path for path in root.glob("train/image/img_128/*")}
    labels(root)["0010"].write_bytes(labels(root)["0001"].read_bytes())  # contradicts the others
    Image.new("RGB", (128, 64)).save(image["0004"])
    assert run(root) == 2
    reported = capsys.readouterr()
    assert "2 images were set aside" in reported.out
    assert "px of 512 off the head of the other views" in reported.err and "128 x 64" in reported.err
    assert list(maps(root)) == ["0001"]


def test_labels_of_nobody_are_set_aside(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = Path(shutil.copytree(data, tmp_path / "root"))
    for path in labels(root).values():
        path.write_text('{"label": []}')
    labels(root)["0001"].write_text("{")
    labels(root)["0010"].write_bytes(b"")  # cannot even be copied
    assert run(root, "--output", str(tmp_path / "copy")) == 2
    assert not maps(tmp_path / "copy") and len(labels(tmp_path / "copy")) == 2
    assert run(root) == 2
    error = capsys.readouterr().err
    assert "0 acupoints are seen" in error and "not a JSON file" in error
    assert not maps(root)


def test_a_folder_of_maps_that_leads_elsewhere_is_not_written_to(data: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(data, tmp_path / "root"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.rmtree(root / "train/depth")
    (root / "train/depth").symlink_to(elsewhere)
    assert run(root) == 1
    assert not list(elsewhere.rglob("*"))


def test_two_workers_make_the_same_bytes(data: Path, fitted: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(data, tmp_path / "root"))
    assert cli.main(["fit", "--dataset", str(root), "--workers", "2", "--quiet"]) == 0
    assert contents(root) == contents(fitted)


def test_relight_takes_the_map(fitted: Path) -> None:
    sample = layout.scan(fitted)[0]
    assert sample.depth is not None

    def relit(geometry: str, depth: bool = True) -> np.ndarray:
        recipe = Recipe(engine="relight", geometry=geometry)  # type: ignore[arg-type]
        return relight(fitted / sample.image, fitted / sample.depth if depth else None, recipe=recipe, seed=3)

    assert (relit("auto") == relit("labels")).all()
    assert (relit("silhouette") == relit("auto", depth=False)).all()
    assert (relit("auto") != relit("silhouette")).any()
