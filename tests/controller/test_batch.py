"""The main job, run as a user runs it: layout restored, labels byte for byte, every picture says what made it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from acusim.labels import read_label
from acusim.layout import scan
from acusim.pictures import read_provenance, read_rgb
from engines.relight import engine
from synthetic.generate import generate
from synthetic.settings import HeadSettings
from tests.support import FOUR_SETS, add_sample

Run = Callable[..., object]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, command: Run) -> tuple[Path, Path]:
    """A data set of eight pictures, and an OUT with all of them; not to be written to."""
    root = tmp_path_factory.mktemp("finished") / "data"
    out = root.with_name("out")
    for model in FOUR_SETS:
        for frame in (1, 8):
            add_sample(root, f"{model}_{frame:04d}")
    command("--batch", "--engine", "relight", "--dataset", root, "--output", out, check=0)
    return root, out


@pytest.fixture
def done(finished: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """The same data set, and an OUT of this test's own."""
    root, out = finished
    return root, Path(shutil.copytree(out, tmp_path / "out"))


def test_batch_restores_the_dataset(make_dataset: Run, batch: Run, tmp_path: Path):
    root, out = make_dataset(frames=(1, 8, 73)), tmp_path / "out"
    report = json.loads(batch(root, out, "--json", apart=True).stdout)
    assert (report["created"], report["planned"], report["exit_code"]) == (12, 12, 0)
    assert report["facts"] == {"geometry depth-mm16": 12}
    before, after = scan(root), scan(out)
    assert [s.image for s in before.samples] == [s.image for s in after.samples]
    assert not after.problems
    assert (out / "map.txt").read_bytes() == (root / "map.txt").read_bytes()
    for sample in before.samples:
        assert (out / sample.label).read_bytes() == (root / sample.label).read_bytes()
        assert (out / sample.depth).read_bytes() == (root / sample.depth).read_bytes()
        one, other = read_rgb(root / sample.image).pixels, read_rgb(out / sample.image).pixels
        assert one.shape == other.shape and (one != other).any()
        record = read_provenance(out / sample.image)
        assert record["sample"] == sample.stem and record["source"] == sample.image
        assert record["recipe"]["engine"] == "relight" and record["facts"]["geometry"] == "depth-mm16"
        assert str(tmp_path) not in json.dumps(record)  # no path of this machine
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert [line["image"] for line in lines] == [s.image for s in before.samples]
    assert {line["prompt_set"] for line in lines} == {"female", "male", "bald_female", "bald_male"}
    assert (out / "contact_sheet.jpg").stat().st_size > 1000
    assert not list(out.rglob("*.part"))


def test_cameras_off_the_rig_survive_a_batch(batch: Run, tmp_path: Path):
    root, out = tmp_path / "around", tmp_path / "out"
    generate(HeadSettings(out=root, identities=1, views="1,5", size=64, cameras="around"))
    assert json.loads(batch(root, out, "--json").stdout)["created"] == 2
    for sample in scan(out).samples:
        assert (out / sample.label).read_bytes() == (root / sample.label).read_bytes()
        assert read_label(out / sample.label).camera is not None


def test_worker_count_does_not_matter(make_dataset: Run, batch: Run, tree: Run, tmp_path: Path):
    root = make_dataset(frames=(1, 8, 33))
    batch(root, tmp_path / "one", "--workers", 1)
    batch(root, tmp_path / "three", "--workers", 3)
    assert tree(tmp_path / "one") == tree(tmp_path / "three")


def test_another_seed_gives_other_pictures_and_the_same_one_the_same(
    make_dataset: Run, batch: Run, tree: Run, tmp_path: Path
):
    root = make_dataset(frames=(1,))
    for name, seed in (("a", 1), ("b", 2), ("c", 1)):
        batch(root, tmp_path / name, "--seed", seed, "--workers", 1)
    a, b, c = (tree(tmp_path / name) for name in "abc")
    pictures = [path for path in a if "/image/" in path]
    assert a == c and all(a[path] != b[path] for path in pictures)


def test_variants_are_data_sets_of_their_own(make_dataset: Run, batch: Run, tmp_path: Path):
    root, out = make_dataset(frames=(1, 8)), tmp_path / "out"
    batch(root, out, "--variants", 2)
    first, second = scan(out / "v01"), scan(out / "v02")
    assert (
        [s.image for s in first.samples] == [s.image for s in second.samples] == [s.image for s in scan(root).samples]
    )
    for sample in first.samples:
        assert (first.root / sample.image).read_bytes() != (second.root / sample.image).read_bytes()
        assert read_provenance(second.root / sample.image)["variant"] == 1
    assert (out / "v02/map.txt").read_bytes() == (root / "map.txt").read_bytes()
    batch(root, out, "--variants", 3)  # growing is allowed
    assert len(scan(out / "v03").samples) == 8


def test_select_limit_and_growing(make_dataset: Run, batch: Run, tmp_path: Path):
    root, out = make_dataset(frames=(1, 8)), tmp_path / "out"
    batch(root, out, "--select", "gender=F,frame=1")
    assert [s.stem for s in scan(out).samples] == ["F_Ann_N_HA_O_0001", "F_Cleo_S_HB_O_0001"]
    made = {s.stem: (out / s.image).stat().st_mtime_ns for s in scan(out).samples}
    report = json.loads(batch(root, out, "--limit", 3, "--json").stdout)
    assert (report["already"], report["created"]) == (2, 1)
    for sample in scan(out).samples:
        assert made.get(sample.stem, (out / sample.image).stat().st_mtime_ns) == (out / sample.image).stat().st_mtime_ns
    report = json.loads(batch(root, out, "--json").stdout)
    assert (report["already"], report["created"]) == (3, 5)


def test_running_again_makes_nothing(done: tuple[Path, Path], batch: Run, tree: Run):
    root, out = done
    before = tree(out)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    report = json.loads(batch(root, out, "--json").stdout)
    assert (report["already"], report["created"]) == (8, 0)
    assert tree(out) == before
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.png")} == times


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("--seed", "5"), "seed"),
        (("--set", "light_strength=0.1"), "recipe.light_strength"),
        (("--variants", "2"), "several variants"),
        (("--bald-codes", "none"), "bald codes, HB"),
    ],
)
def test_other_settings_on_a_begun_output_are_refused(
    done: tuple[Path, Path], batch: Run, tree: Run, change: tuple[str, str], named: str
):
    root, out = done
    before = tree(out)
    assert named in batch(root, out, *change, check=1).stderr
    assert tree(out) == before


def test_verify_and_repair(done: tuple[Path, Path], command: Run, tree: Run):
    _, out = done
    before = tree(out)
    assert "8 images checked, 0 damaged" in command("--verify", "--output", out, check=0).stdout
    images = sorted((out / "train/image/img_64").iterdir())
    flipped = bytearray(images[0].read_bytes())
    flipped[-20] ^= 1
    images[0].write_bytes(flipped)  # same size, other bytes
    images[1].unlink()
    (out / "train/label/label" / f"{images[2].stem}.json").write_text("{}")
    report = json.loads(command("--verify", "--output", out, "--json", check=2).stdout)
    assert sorted(fault["key"] for fault in report["faults"]) == [f"train/image/img_64/{p.name}" for p in images[:3]]
    command("--repair", "--output", out, check=0)
    assert tree(out) == before
    command("--verify", "--output", out, check=0)


def test_repair_reaches_beyond_the_last_selection(done: tuple[Path, Path], batch: Run, command: Run, tree: Run):
    root, out = done
    before = tree(out)
    batch(root, out, "--limit", 1)
    last = sorted((out / "train/image/img_64").iterdir())[-1]
    last.write_text("x")
    assert "leave out --seed" in command("--repair", "--output", out, "--seed", 5, check=1).stderr
    assert last.name in command("--repair", "--output", out, check=0).stderr
    assert tree(out) == before


def test_changed_sources_are_noticed(make_dataset: Run, batch: Run, tree: Run, tmp_path: Path):
    root, out = make_dataset(), tmp_path / "out"
    batch(root, out)
    first, second, *_ = scan(root).samples
    picture = read_rgb(root / first.image).pixels
    Image.fromarray(np.ascontiguousarray(picture[::-1])).save(root / first.image)
    label = root / second.label
    label.write_bytes(label.read_bytes().replace(b'"label"', b' "label"'))
    report = json.loads(batch(root, out, "--json").stdout)
    assert (report["already"], report["created"]) == (6, 2)
    assert (out / second.label).read_bytes() == label.read_bytes()
    for path in root.rglob("*.*"):  # touched, but the same bytes: nothing to do
        path.touch()
    assert json.loads(batch(root, out, "--json").stdout)["already"] == 8


def test_shortened_companions_are_noticed(done: tuple[Path, Path], batch: Run, tree: Run):
    root, out = done
    before = tree(out)
    first, second, *_ = scan(out).samples
    (out / first.label).write_text("{")
    (out / second.depth).write_text("x")
    (out / "contact_sheet.jpg").write_text("x")
    assert "2 images were done but are damaged" in batch(root, out).stderr
    assert tree(out) == before


def test_new_hair_codes_may_join(make_dataset: Run, batch: Run, tmp_path: Path):
    out = tmp_path / "out"
    batch(make_dataset(models=("F_Ann_N_HA_O",)), out)
    batch(make_dataset(), out)  # now with the bald ones
    assert len(scan(out).samples) == 8
    assert "bald codes, HB" in batch(make_dataset(), out, "--bald-codes", "none", check=1).stderr


def test_status(make_dataset: Run, batch: Run, command: Run, tmp_path: Path):
    root, out = make_dataset(), tmp_path / "out"
    batch(root, out, "--limit", 3)
    report = json.loads(command("--status", "--output", out, "--json", check=0).stdout)
    assert report["counts"] == {"planned": 0, "running": 0, "done": 3, "skipped": 0}
    assert report["running"] is None
    assert "3 done" in command("--status", "--output", out, check=0).stdout
    assert "no ledger" in command("--status", "--output", root, check=1).stderr


def test_own_scenes(make_dataset: Run, batch: Run, command: Run, tmp_path: Path):
    root, out, scenes = make_dataset(frames=(1,)), tmp_path / "out", tmp_path / "scenes"
    scenes.mkdir()
    Image.fromarray(np.full((50, 80, 3), (200, 40, 40), np.uint8)).save(scenes / "red.png")
    batch(root, out, "--scenes", scenes, "--set", "background=scene")
    [picture, *_] = sorted(out.glob("train/image/*/*.png"))
    record = read_provenance(picture)
    assert record["scene"].startswith("red")
    corner = read_rgb(picture).pixels[:4, :4].astype(int)
    assert (corner[..., 0] > corner[..., 1] + 80).all()
    command("--reproduce", picture, check=0)


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        ((), 1, "nothing to do"),
        (("--batch",), 1, "--output"),
        (("--batch", "--output", "{out}"), 1, "--dataset"),
        (("--batch", "--output", "{out}", "--dataset", "{full}/none"), 1, "not a folder"),
        (("--batch", "--output", "{out}", "--dataset", "{data}/train"), 1, "not an AcuSim dataset root"),
        (("--batch", "--output", "{data}/out", "--dataset", "{data}"), 1, "one is in the other"),
        (("--batch", "--output", "{data}", "--dataset", "{data}"), 1, "one is in the other"),
        (("--batch", "--output", "{full}", "--dataset", "{data}"), 1, "no ledger of this program"),
        (("--batch", "--output", "{out}", "--dataset", "{data}", "--set", "steps=zero"), 1, "steps"),
        (("--batch", "--output", "{out}", "--dataset", "{data}", "--set", "stepz=1"), 1, "stepz"),
        (("--batch", "--output", "{out}", "--dataset", "{data}", "--variants", "0"), 1, "--variants 0"),
        (("--batch", "--output", "{out}", "--dataset", "{data}", "--limit", "0"), 1, "--limit 0"),
        (("--batch", "--output", "{out}", "--dataset", "{data}", "--size", "100"), 1, "size 100"),
        (("--batch", "--output", "{out}", "--dataset", "{data}", "--select", "hair=XX"), 1, "matches none"),
        (("--batch", "--output", "{out}", "--dataset", "{data}", "--workers", "0"), 1, "--workers 0"),
        (("--batch", "--output", "{out}", "--dataset", "{data}", "--scenes", "{out}"), 1, "scene"),
        (("--batch", "--output", "{out}", "--dataset", "{data}", "--engine", "warp"), 1, "warp"),
        (("--verify", "--status", "--output", "{out}"), 1, "choose one"),
    ],
)
def test_usage_errors(make_dataset: Run, command: Run, tmp_path: Path, arguments: tuple, code: int, named: str):
    root, full, out = make_dataset(frames=(1,)), tmp_path / "full", tmp_path / "out"
    full.mkdir()
    (full / "thesis.txt").write_text("mine")
    filled = [text.format(data=root, out=out, full=full) for text in arguments]
    if "--engine" not in filled and "--batch" in filled:
        filled += ["--engine", "relight"]
    assert named in command(*filled, check=code).stderr
    assert not out.exists() and (full / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        (("--server", "http://127.0.0.1:9"), "does ComfyUI run there?"),
        (("--engine", "comfyui", "--server", "127.0.0.1:9"), "does ComfyUI run there?"),
        (("--engine", "embedded", "--models", "{empty}", "--device", "cpu"), "v1-5-pruned-emaonly.safetensors"),
        (("--engine", "embedded", "--models", "{empty}", "--gpus", "2"), "v1-5-pruned-emaonly.safetensors"),
    ],
)
def test_an_engine_that_is_not_there_is_exit_code_3(
    make_dataset: Run, command: Run, tmp_path: Path, engine: tuple, message: str
):
    root, out, empty = make_dataset(frames=(1,)), tmp_path / "out", tmp_path / "empty"
    empty.mkdir()
    filled = [text.format(empty=empty) for text in engine]
    done = command("--batch", "--dataset", root, "--output", out, *filled, check=3)
    assert message in done.stderr and not list(out.glob("train/**/*.png"))


def test_settings_can_be_corrected_as_long_as_nothing_was_made(make_dataset: Run, command: Run, tmp_path: Path):
    root, out = make_dataset(frames=(1,)), tmp_path / "out"
    command("--batch", "--dataset", root, "--output", out, "--server", "127.0.0.1:9", check=3)
    corrected = ("--batch", "--dataset", root, "--output", out, "--engine", "relight", "--variants", 2)
    command(*corrected, check=0)
    assert json.loads(command("--status", "--output", out, "--json", check=0).stdout)["counts"]["done"] == 8
    assert "created with other settings" in command(*corrected, "--seed", 1, check=1).stderr


def test_no_out_is_finished_by_an_engine_that_creates_other_pixels(
    done: tuple[Path, Path], command: Run, monkeypatch: pytest.MonkeyPatch
):
    root, out = done
    before = engine.ALGORITHM
    monkeypatch.setattr(engine, "ALGORITHM", "other")
    refused = command("--batch", "--engine", "relight", "--dataset", root, "--output", out, "--variants", 2, check=1)
    assert f"relight: {before} -> other" in refused.stderr


def test_options_that_the_engine_does_not_use_are_reported(make_dataset: Run, command: Run, tmp_path: Path):
    root, out = make_dataset(frames=(1,)), tmp_path / "out"
    done = command("--batch", "--dataset", root, "--output", out, "--engine", "relight", "--server", "x", check=0)
    assert "engine relight does not use --server" in done.stderr


def test_check_names_a_data_set_that_is_none(command: Run, tmp_path: Path):
    done = command("--check", "--dataset", tmp_path / "none", "--engine", "relight", check=3)
    assert "is not a folder" in done.stdout.replace("\n", " ")


def test_check_lists_what_is_missing_and_makes_nothing(make_dataset: Run, command: Run, tmp_path: Path):
    root, out = make_dataset(frames=(1,)), tmp_path / "out"
    arguments = ("--check", "--dataset", root, "--output", out)
    report = json.loads(command(*arguments, "--server", "127.0.0.1:9", "--json", check=3).stdout)
    assert not report["ok"]
    assert any("127.0.0.1:9" in check["found"] and check["ok"] is False for check in report["checks"])
    assert any(check["ok"] for check in report["checks"]), "what can be checked without the server is checked"
    table = command(*arguments, "--server", "127.0.0.1:9", check=3).stdout
    assert "what to do" in table and "missing" in table
    assert "ok" in command(*arguments, "--engine", "relight", check=0).stdout
    assert not out.exists()


def test_module_form_and_help(command: Run):
    text = command("--help", check=0).stdout
    for option in ("--batch", "--select", "--bald-codes", "--reproduce", "exit codes", "130"):
        assert option in text
