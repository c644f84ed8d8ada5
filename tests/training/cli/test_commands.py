"""The commands, from a data set to a report, as a user types them."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from acusim.errors import ConfigError
from acusim.weak_spots import WeakSpots
from tests.support import ROOT, add_own_sample
from training import checkpoint
from training.cli import main as cli
from training.config import experiments, load_config
from training.history import History

SETTINGS = ("model.backbone=resnet18", "model.trunk=single", "data.size=32", "train.batch_size=4", "train.epochs=1")
PERSONS = ("F_Ann_N_HA_O", "M_Bob_F_HC_C", "F_Cleo_S_HB_O", "M_Dan_N_HB_C", "F_Eve_N_HA_O")


def _sets(*more: str) -> list[str]:
    return [word for setting in (*SETTINGS, *more) for word in ("--set", setting)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heads") / "data"
    for number, model in enumerate(PERSONS):
        for frame in (1, 4, 34):
            add_own_sample(folder, f"{model}_{frame:04d}", number)
    return folder


@pytest.fixture(scope="module")
def run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch."""
    out = tmp_path_factory.mktemp("run") / "run"
    assert cli.main(["train", "--data", str(root), "--out", str(out), "--quiet", *_where(out), *_sets()]) == cli.OK
    return out


def _where(out: Path) -> list[str]:
    return ["--cache", str(out.parent / "cache"), "--workers", "1", "--device", "cpu"]


def test_a_run_says_what_made_it(run, root):
    document = json.loads((run / "data.json").read_text())
    assert sorted(document["persons"]) == ["ann", "bob", "cleo", "dan", "eve"]
    assert sorted(document["persons"].values()) == ["test", "train", "train", "train", "val"]
    assert load_config(str(run / "config.toml")).model.backbone == "resnet18"
    header, row = (run / "metrics.csv").read_text().splitlines()
    figures = header.split(",")
    assert {"train_micro", "micro", "macro", "fpr", "error_px", "log_sigma_class"} <= set(figures)
    assert any(name in figures for name in ("baseline_majority", "floor_majority"))
    assert row.startswith("1,")


def test_the_same_command_again_has_nothing_to_do(run, root, capsys):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and "tensorboard" not in path.parts}
    assert cli.main(["train", "--data", str(root), "--out", str(run), "--quiet", *_where(run), *_sets()]) == cli.OK
    assert "continuing after epoch 1" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before


def test_other_settings_are_refused(run, root, capsys):
    command = ["train", "--data", str(root), "--out", str(run), "--quiet", *_where(run), *_sets("train.lr=0.1")]
    assert cli.main(command) == cli.ERROR
    assert "config.train.lr was 5e-05, is 0.1" in capsys.readouterr().err


def test_a_warm_start_says_what_it_took(run, root, tmp_path, capsys):
    out, where = tmp_path / "child", ["--quiet", *_where(run)]
    command = ["train", "--data", str(root), "--out", str(out), *where, "--init", str(run), "--freeze", "backbone"]
    assert cli.main([*command, *_sets("model.grouping=unified")]) == cli.OK
    text = capsys.readouterr().err
    assert "initial weights from" in text and "tensors taken; new: network.branches.0." in text
    record = json.loads((out / "data.json").read_text())["init"]
    assert record["sha256"] == checkpoint.checkpoint_hash(checkpoint.find(run))
    assert load_config(str(out / "config.toml")).train.freeze == "backbone"
    assert cli.main([*command, *_sets("model.grouping=unified")]) == cli.OK  # again: nothing to do
    assert json.loads((out / "data.json").read_text())["init"] == record


def test_evaluate_reports_with_baselines(run, root, tmp_path, capsys):
    out, predictions = tmp_path / "report", tmp_path / "p.safetensors"
    command = ["evaluate", str(run), "--data", str(root), "--out", str(out), "--quiet", "--json", *_where(run)]
    assert cli.main([*command, "--predictions", str(predictions), "--weak", str(tmp_path / "weak.toml")]) == cli.OK
    results = json.loads(capsys.readouterr().out)
    assert results == json.loads((out / "results.json").read_text())
    assert results["model"]["pictures"] == 3 and results["model"]["persons"] == 1
    assert set(results["baselines"]) == {"all occluded", "per point", "per point and frame: knows the camera"}
    scored = (results["model"], *results["baselines"].values())
    assert {one["zero_fpr_threshold_from"] for one in scored} == {"other pictures"}
    assert (out / "report.html").stat().st_size > 10_000 and predictions.is_file()
    spots = WeakSpots.read(tmp_path / "weak.toml")
    assert spots.mean_mm == pytest.approx(results["model"]["figures"]["mean_mm"]["value"], abs=1e-3)
    # One person does not show what persons have in common.
    assert (spots.pictures, spots.persons) == (3, 1) and list(spots.spots["light"]) == ["original"]
    assert {spot.effect_mm for of in spots.spots.values() for spot in of.values()} == {0}


def test_persons_of_the_training_are_not_new(run, root, tmp_path, capsys):
    command = ["evaluate", str(run), "--data", str(root), "--out", str(tmp_path), "--quiet", *_where(run)]
    assert cli.main([*command, "--part", "new"]) == cli.ERROR
    assert "by part there are: train 9, val 3, test 3" in capsys.readouterr().err


def test_new_persons_are_measured_without_baselines_and_that_is_reported(run, tmp_path, capsys):
    other = tmp_path / "other"
    add_own_sample(other, "M_Zoe_N_HA_O_0001", 9)
    command = ["evaluate", str(run), "--data", str(other), "--out", str(tmp_path / "r"), "--quiet", "--part", "new"]
    assert cli.main([*command, *_where(run)]) == cli.OK
    assert "no baseline is known" in capsys.readouterr().err


def test_persons_that_training_left_out_are_new(root, tmp_path, capsys):
    out, where = tmp_path / "run", ["--quiet", *_where(tmp_path)]
    command = ["train", "--config", "acusim", "--data", str(root), "--out", str(out), *where]
    assert cli.main([*command, *_sets("data.test=0", "data.persons=0.5")]) == cli.OK
    assert "train 6 of 2 persons" in capsys.readouterr().err, "two of four, three pictures each"
    [row] = csv.DictReader((out / "metrics.csv").read_text().splitlines())
    command = ["evaluate", str(out), "--data", str(root), "--out", str(tmp_path / "report"), *where, "--json"]
    for part, pictures in (("train", 6), ("new", 6), ("val", 3)):
        assert cli.main([*command, "--part", part]) == cli.OK
        results = json.loads(capsys.readouterr().out)
        assert results["model"]["pictures"] == pictures
    # Baselines are those of the persons that the network was trained on, in training and here.
    known = results["baselines"]["per point"]["figures"]["micro"]["value"]
    assert known == pytest.approx(float(row["floor_majority"]), abs=1e-6)


def test_a_training_person_under_another_name_is_reported(run, root, tmp_path, capsys):
    persons = json.loads((run / "data.json").read_text())["persons"]
    twin = next(person for person, part in persons.items() if part == "train").title()
    renamed = tmp_path / "renamed"
    for path in sorted(root.rglob(f"*_{twin}_*")):
        place = renamed / path.relative_to(root).parent / path.name.replace(twin, "Zora")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    command = ["evaluate", str(run), "--data", str(root), "--data", str(renamed), "--out", str(tmp_path / "report")]
    assert cli.main([*command, "--part", "new", "--quiet", *_where(run)]) == cli.OK
    text = capsys.readouterr().err
    assert "not independent of the training's" in text and "Zora" in text and "one head" in text


def _relit(root: Path, folder: Path) -> Path:
    """The output of a controller: darker pictures with the same labels."""
    shutil.copytree(root, folder)
    for path in (folder / "train/image/img_32").iterdir():
        Image.fromarray(np.array(Image.open(path)) // 2).save(path)
    (folder / "manifest.jsonl").write_text(json.dumps({"status": "done"}) + "\n")
    return folder


def test_augmented_pictures_alone_are_enough_to_train_and_to_measure(root, tmp_path, capsys):
    relit, out, where = _relit(root, tmp_path / "relit"), tmp_path / "run", ["--quiet", *_where(tmp_path)]
    command = ["train", "--config", "acusim", "--data", str(relit), "--out", str(out), *where]
    assert cli.main([*command, *_sets("data.test=0")]) == cli.OK
    text = capsys.readouterr().err
    assert "val uses originals, but there are augmented pictures alone: it uses these" in text
    assert "train 12 of 4 persons" in text
    # No test part, and the run knows all persons: what chose the best epoch is all there is to measure.
    command = ["evaluate", str(out), "--data", str(relit), "--out", str(tmp_path / "report"), *where, "--json"]
    assert cli.main(command) == cli.OK
    printed = capsys.readouterr()
    assert "no picture in --data is of the run's test persons" in printed.err and "(val)" in printed.err
    results = json.loads(printed.out)
    assert results["metadata"]["part"] == "val" and results["model"]["pictures"] == 3


def test_a_run_of_augmented_pictures_is_measured_on_others(root, tmp_path, capsys):
    """What it was trained with need not be among what it is measured on."""
    relit = _relit(root, tmp_path / "relit")
    sets = _sets("data.train_pictures=augmented", "data.val_pictures=augmented")
    out = tmp_path / "run"
    where = ["--quiet", *_where(tmp_path)]
    assert cli.main(["train", "--data", str(root), "--data", str(relit), "--out", str(out), *where, *sets]) == cli.OK
    command = ["evaluate", str(out), "--data", str(root), "--out", str(tmp_path / "report"), *where, "--json"]
    assert cli.main(command) == cli.OK
    assert json.loads(capsys.readouterr().out)["model"]["pictures"] == 3
    assert cli.main([*command, "--pictures", "augmented"]) == cli.ERROR
    assert "no such picture" in capsys.readouterr().err


def test_predict_skips_a_bad_picture(run, root, tmp_path, capsys):
    bad = tmp_path / "notes.png"
    bad.write_text("not a picture")
    good = next((root / "train/image/img_32").glob("F_Ann*_0001.png"))
    assert cli.main(["predict", str(run), str(good), str(bad), "--out", str(tmp_path / "p"), "--device", "cpu"]) == 2
    assert "notes.png" in capsys.readouterr().err
    found = json.loads((tmp_path / "p" / f"{good.stem}.points.json").read_text())
    assert len(found["points"]) == 174 and found["made_by"]["sha256"]
    assert Image.open(tmp_path / "p" / f"{good.stem}.points.jpg").width >= 32


def test_predict_equals_evaluate(run, root, tmp_path):
    """Two ways to look at one picture say the same of it."""
    from training.eval.predictions import Predictions

    stored = tmp_path / "p.safetensors"
    command = ["evaluate", str(run), "--data", str(root), "--out", str(tmp_path / "r"), "--quiet", "--part", "val"]
    assert cli.main([*command, "--predictions", str(stored), *_where(run)]) == cli.OK
    person = next(k for k, part in json.loads((run / "data.json").read_text())["persons"].items() if part == "val")
    pictures = sorted(p for p in (root / "train/image/img_32").iterdir() if person in p.stem.lower())
    out = ["--out", str(tmp_path / "p"), "--device", "cpu", "--crop", "none"]
    assert cli.main(["predict", str(run), *map(str, pictures), *out]) == 0
    evaluated = Predictions.load(stored)
    for row, picture in enumerate(pictures):
        points = json.loads((tmp_path / "p" / f"{picture.stem}.points.json").read_text())["points"]
        assert np.allclose([point["probability"] for point in points], evaluated.probability[row], atol=1e-5)
        assert np.allclose([(point["x"], point["y"]) for point in points], 32 * evaluated.xy[row], atol=2e-3)


def test_predictions_go_to_coco_and_come_back(run, root, tmp_path, capsys):
    command = ["evaluate", str(run), "--data", str(root), "--quiet", "--json", "--part", "val", *_where(run)]
    assert cli.main([*command, "--out", str(tmp_path / "own"), "--coco", str(tmp_path / "coco")]) == cli.OK
    own = json.loads(capsys.readouterr().out)["model"]["figures"]
    results = tmp_path / "coco" / "results.json"
    again = [*command, "--out", str(tmp_path / "again"), "--results"]
    assert cli.main([*again, str(results)]) == cli.OK
    other = json.loads(capsys.readouterr().out)["model"]["figures"]
    for name in ("micro", "macro", "fpr", "mean_px", "mean_mm"):
        assert other[name]["value"] == pytest.approx(own[name]["value"], rel=1e-5), name
    annotations = json.loads((tmp_path / "coco" / "annotations.json").read_text())
    assert len(annotations["images"]) == 3 and annotations["images"][0]["file_name"].startswith("train/image/img_32/")
    entries = json.loads(results.read_text())
    results.write_text(json.dumps(entries[:2]))
    assert cli.main([*again, str(results)]) == cli.ERROR
    assert "picture 3 has none" in capsys.readouterr().err


def test_export_is_checked_against_the_network(run, tmp_path, capsys):
    target = tmp_path / "model.onnx"
    assert cli.main(["export", str(run), "--onnx", str(target)]) == cli.OK
    assert "largest difference in onnxruntime" in capsys.readouterr().err and target.stat().st_size > 1e6


def test_describe_counts_the_true_parameters(capsys):
    assert cli.main(["describe", "--json"]) == cli.OK
    found = json.loads(capsys.readouterr().out)
    # 49.03 M of the specified list, without the 27 uncertainty weights of the loss; 22.4 GMAC for the backbone.
    assert found["parameters"]["total"] == 9216 * 1920 + 13_239_963 - 27 + 18_092_928
    backbone = next(layer for layer in found["layers"] if layer["name"] == "backbone")
    assert backbone["flops"] / 2e9 == pytest.approx(22.4, abs=0.05)


@pytest.mark.parametrize("name", experiments())
def test_every_experiment_is_a_configuration(name):
    assert load_config(name).name == name


def test_the_rows_of_table_2_can_be_named():
    singles, pairs = ("A0", "A1", "A2", "A3", "B1", "C1", "acusim"), ("A1+D1", "A1+C1", "A1+B1", "A2+C1", "A2+B1")
    rows = (*singles, *pairs, "A0+B1+C1", "A1+B1+C1", "A2+B1+C1")
    assert len({load_config(row).hash for row in rows}) == len(rows)
    assert load_config("A0+B0+C0+D0").hash == load_config().hash


@pytest.mark.parametrize(("arguments", "message"), [
    (["--config", "A9"], "'A9' is neither an experiment"),
    (["--config", "A1+A2"], "A1 and A2 both set model.grouping"),
    (["--set", "train.epochs=0"], "outside 1..100000"),
    (["--set", "train.epoch=3"], "did you mean 'epochs'"),
    (["--set", "epochs=3"], "section.name=value"),
    (["--set", "model.backbone=resnet19"], "backbone = 'resnet19' is not one of light, tiny, resnet18"),
    (["--set", "data.val=0.9", "--set", "data.test=0.5"], "leave too little to train on"),
    (["--device", "tpu"], "--device 'tpu'"),
])  # fmt: skip
def test_wrong_settings_are_reported(root, tmp_path, capsys, arguments, message):
    command = ["train", "--data", str(root), "--out", str(tmp_path / "run"), "--quiet", *_where(tmp_path), *_sets()]
    assert cli.main([*command, *arguments]) == cli.ERROR
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_root_without_labels_is_reported(root, tmp_path, capsys):
    pictures = tmp_path / "only" / "train/image/img_32"
    pictures.mkdir(parents=True)
    for picture in (root / "train/image/img_32").iterdir():
        (pictures / picture.name).write_bytes(picture.read_bytes())
    command = ["train", "--data", str(tmp_path / "only"), "--out", str(tmp_path / "run"), "--quiet", *_where(tmp_path)]
    assert cli.main([*command, *_sets()]) == cli.ERROR
    assert "label" in capsys.readouterr().err


def test_one_person_under_two_names_is_refused(root, tmp_path, capsys):
    """The same pictures under another name would be in training and test at once."""
    twins = tmp_path / "twins"
    shutil.copytree(root, twins)
    for path in sorted(twins.rglob("F_Ann_*")):
        path.with_name(path.name.replace("Ann", "Zora")).write_bytes(path.read_bytes())
    command = ["train", "--data", str(twins), "--out", str(tmp_path / "run"), "--quiet", *_where(tmp_path)]
    seed = next(seed for seed in range(50) if len(set(_parts(twins, seed))) == 2)
    assert cli.main([*command, *_sets(f"data.split_seed={seed}")]) == cli.ERROR
    reported = capsys.readouterr().err
    assert "one head" in reported and "F_Ann" in reported and "F_Zora" in reported


def _parts(root: Path, seed: int) -> tuple[str, str]:
    """The parts that Ann and Zora are in."""
    from types import SimpleNamespace

    from acusim.sample_id import SampleId
    from training.data.split import SplitSettings, assign

    ids = {SampleId.parse(path.stem) for path in (root / "train/image/img_32").iterdir()}
    records = [SimpleNamespace(id=one, person=one.name.casefold()) for one in ids]
    persons = assign(records, SplitSettings(seed=seed))  # type: ignore[arg-type]
    return persons["ann"], persons["zora"]


def test_two_processes_train_what_one_does(tmp_path):
    """By torchrun, which needs no GPU for it: the toy task has no batch norm, so the weights must agree."""
    script = tmp_path / "line.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path\n"
        "from tests.training.test_loop import Line, shared\n"
        "shared(Path(sys.argv[1]))\n"
    )
    environment = {"OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    for command, out in (([sys.executable], "one"), (launch, "two")):
        done = subprocess.run(
            [*command, str(script), str(tmp_path / out)], capture_output=True, text=True, timeout=300, env=environment
        )
        assert done.returncode == 0, done.stderr[-2000:]
    assert {path.name for path in tmp_path.glob("*of*")} == {"one-0of1", "two-0of2", "two-1of2"}
    from training.checkpoint import find, load

    one, two = (load(find(tmp_path / name, "last"), with_optimizer=True) for name in ("one", "two"))
    # AdamW's steps hardly tell the size of a gradient; its moments do.
    assert all(np.allclose(value, two.optimizer[key], rtol=1e-4, atol=1e-7) for key, value in one.optimizer.items())
    assert all(np.allclose(value, two.model[key], atol=1e-6) for key, value in one.model.items())
    assert one.state["history"][-1]["train_loss"] == pytest.approx(two.state["history"][-1]["train_loss"], rel=1e-5)


@pytest.fixture(autouse=True)
def no_curves(monkeypatch):
    monkeypatch.setattr(History, "_curves", lambda *_: b"")


@pytest.mark.parametrize("place", ["", "train", "train/image", "train/image/img_32", "train/label/label"])
def test_train_takes_links_that_lead_in_circles_for_what_they_are(root, tmp_path, place, capsys):
    """Wherever below a root: reported, and the rest is trained on."""
    data, out = tmp_path / "data", tmp_path / "run"
    shutil.copytree(root, data)
    for name in ("loop", "v01", "F_Loop_N_HA_O_0001.png", "F_Loop_N_HA_O_0001.json"):
        (data / place / name).symlink_to(name)
    (data / place / "up").symlink_to("..")
    (data / "map.txt").unlink()
    (data / "map.txt").symlink_to("map.txt")
    code = cli.main(["train", "--data", str(data), "--out", str(out), "--quiet", *_where(out), *_sets()])
    assert code == (cli.PROBLEMS if place == "train/image/img_32" else cli.OK)
    reported = capsys.readouterr().err
    assert "Traceback" not in reported and (out / "metrics.csv").is_file()
    assert ("img_32/F_Loop_N_HA_O_0001.png: not a regular file: a link that leads back to itself" in reported) == bool(
        code
    )


@pytest.mark.parametrize("option", ["--data", "--out"])
def test_train_names_a_root_or_run_that_leads_to_itself(root, tmp_path, option, capsys):
    (tmp_path / "loop").symlink_to("loop")
    places = {"--data": str(root), "--out": str(tmp_path / "run"), option: str(tmp_path / "loop")}
    words = [word for pair in places.items() for word in pair]
    assert cli.main(["train", *words, "--quiet", *_where(tmp_path / "run"), *_sets()]) == cli.ERROR
    reported = capsys.readouterr().err
    assert "loop" in reported and "Traceback" not in reported


def test_train_says_which_folder_to_give(root, tmp_path, capsys):
    shutil.copytree(root, tmp_path / "outer/ACUSIM")
    for given, wanted in ((tmp_path / "outer", tmp_path / "outer/ACUSIM"), (root / "train", root)):
        line = ["train", "--data", str(given), "--out", str(tmp_path / "run"), *_where(tmp_path / "run"), *_sets()]
        assert cli.main(line) == cli.ERROR
        assert f"give {str(wanted)!r}" in capsys.readouterr().err


def test_a_checkpoint_that_is_not_there_names_those_that_are_without_litter(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run", symlinks=True)
    for name in ("._last", ".DS_Store", "Thumbs.db"):
        (tmp_path / "run/checkpoints" / name).write_bytes(b"x")
    shutil.rmtree(tmp_path / "run/checkpoints/best", ignore_errors=True)
    with pytest.raises(ConfigError) as error:
        checkpoint.find(tmp_path / "run", "epoch_0099")
    assert "there are " in str(error.value) and not any(name in str(error.value) for name in ("._", ".DS", "Thumbs"))


def test_a_file_that_can_no_longer_be_read_is_no_traceback(tmp_path, monkeypatch, capsys):
    from training.cli import train

    def lost(_: object) -> int:
        raise OSError(40, "Too many levels of symbolic links", "a/b")

    monkeypatch.setattr(train, "run", lost)
    assert cli.main(["train", "--data", "x", "--out", "y"]) == cli.ERROR
    assert capsys.readouterr().err == "error: 'a/b': a link that leads back to itself\n"
