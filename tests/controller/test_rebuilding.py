"""A ledger, a manifest or pictures that are lost: --repair finds again what verifies and makes again only the rest."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from controller import rebuilding
from controller.cli import main
from tests.support import FOUR_SETS, add_sample

Run = Callable[..., Any]
Tree = Callable[[Path], dict[str, str]]
LEDGER = ".acusim/ledger.sqlite"
IMAGES = "train/image/img_64"


def _data(root: Path) -> Path:
    """Five pictures, one of them without a label and one a JPEG; an orphaned label."""
    for number, model in enumerate(FOUR_SETS):
        add_sample(root, f"{model}_0001", extension=".png" if number else ".jpg")
    add_sample(root, "F_Zed_N_HA_O_0001")
    (root / "train/label/label/F_Zed_N_HA_O_0001.json").unlink()
    add_sample(root, "F_Zoe_N_HA_O_0001").unlink()
    return root


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The data set, and an OUT of two variants with what could be made of it; not to be written to."""
    root = _data(tmp_path_factory.mktemp("finished") / "data")
    out = root.with_name("out")
    assert main(["--batch", *_settings(root), "--output", str(out), "--quiet"]) == 2
    return root, out


def _settings(root: Path) -> list[str]:
    return ["--engine", "relight", "--workers", "1", "--variants", "2", "--seed", "3", "--dataset", str(root)]


@pytest.fixture
def done(finished: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """The same data set, and an OUT of this test's own."""
    return finished[0], Path(shutil.copytree(finished[1], tmp_path / "out"))


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Runs the command and returns its JSON, with what it said on standard error under ``said``."""

    def run(*arguments: object, code: int) -> dict[str, Any]:
        capsys.readouterr()
        got = main([*map(str, arguments), "--json"])
        message = capsys.readouterr()
        assert got == code, message.err
        assert "Traceback" not in message.err
        return {**(json.loads(message.out) if message.out else {}), "printed": message.err}

    return run


def _execute(ledger: Path, *statements: str) -> None:
    with sqlite3.connect(ledger) as database:
        for statement in statements:
            database.execute(statement)
    database.close()


def _overwrite(path: Path, at: int, data: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[at : at + len(data)] = data
    path.write_bytes(content)


def _replace_by(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no database at all\n" * 99),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "cut within the header": lambda path: path.write_bytes(path.read_bytes()[:70]),
    "cut after a page": lambda path: path.write_bytes(path.read_bytes()[:4096]),
    "cut in the middle": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 + 100]),
    "cut by one byte": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "a page overwritten": lambda path: _overwrite(path, 8192, b"\xa5" * 4096),
    "another version of the format": lambda path: _overwrite(path, 18, b"\x09\x09"),
    "a folder": lambda path: _replace_by(path, Path.mkdir),
    "a link": lambda path: _replace_by(path, lambda link: link.symlink_to("/nowhere/at/all")),
    "another program's": lambda path: _replace_by(path, lambda new: _execute(new, "CREATE TABLE files (name)")),
    "without tables": lambda path: _replace_by(path, lambda new: _execute(new, "VACUUM")),
    "other columns": lambda path: _execute(path, "ALTER TABLE items RENAME COLUMN stamp TO mark"),
    "rows gone": lambda path: _execute(path, "DELETE FROM items", "DELETE FROM meta"),
    "no identity": lambda path: _execute(path, "DELETE FROM meta WHERE name = 'identity'"),
    "identity no JSON": lambda path: _execute(path, "UPDATE meta SET value = '{' WHERE name = 'identity'"),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_ledger_is_refused_by_all_and_rebuilt_by_repair(
    done: tuple[Path, Path], report: Run, tree: Tree, how: str
):
    root, out = done
    before = tree(out)
    DAMAGE[how](out / LEDGER)
    damaged = (out / LEDGER).read_bytes() if (out / LEDGER).is_file() else None
    for line in (["--batch", *_settings(root)], ["--dry-run", *_settings(root)], ["--verify"], ["--status"]):
        assert f"--repair --output {out}" in report(*line, "--output", out, code=1)["printed"], line
    assert tree(out) == before
    found = report("--repair", "--output", out, code=2)
    assert found["created"] == 0 and found["already"] == 8 and found["planned"] == 10
    assert found["rebuilt"] == {"by manifest": 8, "skipped": 2}
    assert "the ledger is rebuilt: 8 images by manifest.jsonl" in found["printed"]
    assert tree(out) == before
    aside = out / ".acusim/ledger.damaged-1.sqlite"
    assert os.path.lexists(aside) == (how != "gone")
    if damaged is not None and "identity" not in how:
        assert aside.read_bytes() == damaged
    again = report("--batch", *_settings(root), "--output", out, code=2)
    assert again["created"] == 0 and again["rebuilt"] == {} and tree(out) == before
    report("--verify", "--output", out, code=0)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE items SET record = '{' WHERE state = 'done'", "cannot be read"),
        ("UPDATE items SET record = NULL WHERE state = 'done'", "cannot be read"),
        ("UPDATE items SET record = '[]' WHERE state = 'done'", "cannot be read"),
        ("UPDATE items SET record = '{}' WHERE state = 'done'", "is incomplete"),
        ("UPDATE items SET sha256 = NULL WHERE state = 'done'", "is incomplete"),
    ],
)
def test_a_damaged_record_in_the_ledger(done: tuple[Path, Path], report: Run, tree: Tree, statement: str, message: str):
    root, out = done
    before = tree(out)
    _execute(out / LEDGER, "UPDATE items SET record = '{\"attempts\": []}' WHERE state = 'set aside'", statement)
    for line in (("--batch", *_settings(root)), ("--verify",)):
        refused = report(*line, "--output", out, code=1)
        assert message in refused["printed"] and "--repair" in refused["printed"]
    assert tree(out) == before
    assert report("--repair", "--output", out, code=2)["created"] == 0
    assert tree(out) == before


def _half_a_line(path: Path) -> None:
    text = path.read_bytes()
    path.write_bytes(text[: text.rindex(b'"status"')])


MANIFESTS: dict[str, tuple[Callable[[Path], object], int]] = {
    "gone": (Path.unlink, 8),
    "empty": (lambda path: path.write_bytes(b""), 8),
    "half a last line": (_half_a_line, 1),
    "no text": (lambda path: path.write_bytes(b"\xff\xfe\x00" * 500), 8),
    "a folder": (lambda path: _replace_by(path, Path.mkdir), 8),
    "lines of others": (lambda path: path.write_text('[]\n{"image": 3}\n7\n{"image": "x", "status": "fine"}\n'), 8),
    "paths that lead out": (
        lambda path: path.write_text('{"image": "../../etc/passwd", "status": "done", "sha256": "0"}\n'),
        8,
    ),
}
"""What becomes of the manifest, and how many pictures it does not know any more."""


@pytest.mark.parametrize("ledger", ["whole", "gone"])
@pytest.mark.parametrize("how", MANIFESTS)
def test_a_damaged_manifest(done: tuple[Path, Path], report: Run, tree: Tree, how: str, ledger: str):
    """With the ledger it is simply written anew, without it the pictures' own records count."""
    _, out = done
    before = tree(out)
    damage, unknown = MANIFESTS[how]
    damage(out / "manifest.jsonl")
    if ledger == "gone":
        (out / LEDGER).unlink()
    if how == "a folder":
        (out / "manifest.jsonl").rmdir()  # nothing is written over a folder
    found = report("--repair", "--output", out, code=2)
    assert found["created"] == 0 and tree(out) == before
    if ledger == "gone":
        assert found["rebuilt"]["by record"] == unknown and found["rebuilt"].get("by manifest", 0) == 8 - unknown


def test_everything_gone_but_the_pictures(done: tuple[Path, Path], report: Run, tree: Tree):
    """Then the command line has to say the settings, and they are held against the pictures."""
    root, out = done
    before = tree(out)
    shutil.rmtree(out / ".acusim")
    (out / "manifest.jsonl").unlink()
    assert "--repair" in report("--batch", *_settings(root), "--output", out, code=1)["printed"]
    assert "with --dataset" in report("--repair", "--output", out, code=1)["printed"]
    for wrong, message in (
        (("--seed", 4), "seed is "),
        (("--set", "light_strength=0.1"), "recipe is "),
        (("--bald-codes", "none"), "bald is True"),
        (("--gate",), "no gate was used"),
    ):
        refused = report("--repair", *_settings(root), "--output", out, *wrong, code=1)["printed"]
        assert "were created with other settings" in refused and message in refused
    found = report("--repair", *_settings(root), "--output", out, code=0)
    assert found["created"] == 0 and found["rebuilt"] == {"by record": 8}
    again = report("--batch", *_settings(root), "--output", out, code=2)
    assert again["created"] == 0 and again["already"] == 8 and tree(out) == before


def test_settings_that_are_kept_are_not_changed_on_the_way(done: tuple[Path, Path], report: Run, tree: Tree):
    root, out = done
    before = tree(out)
    (out / LEDGER).write_text("damaged")
    refused = report("--repair", *_settings(root), "--output", out, "--seed", 4, code=1)
    assert "seed: 3 -> 4" in refused["printed"] and tree(out) == before
    assert (out / LEDGER).read_text() == "damaged", "it is put aside when the new one is whole"


@pytest.mark.parametrize("manifest", [True, False])
def test_altered_and_missing_files_are_made_again(done: tuple[Path, Path], report: Run, tree: Tree, manifest: bool):
    _, out = done
    before = tree(out)
    first, second = (sorted((out / variant / IMAGES).glob("*.png")) for variant in ("v01", "v02"))
    _overwrite(first[0], first[0].stat().st_size // 2, b"\x55\xaa")
    first[1].unlink()
    (out / "v01/train/label/label" / f"{first[2].stem}.json").write_text("{}")
    (out / "v02/train/depth/img_64" / f"{second[0].stem}.png").unlink()
    Image.new("RGB", (64, 64), "red").save(second[1])
    shutil.copy(first[2], second[2])
    if not manifest:
        (out / "manifest.jsonl").unlink()
    (out / LEDGER).unlink()
    assert report("--repair", "--output", out, code=2)["created"] == 6
    assert tree(out) == before


def test_a_picture_that_kept_its_record_but_not_its_pixels(done: tuple[Path, Path], report: Run, tree: Tree):
    """The manifest knows better than the record inside, also for a JPEG, which has no checksum."""
    _, out = done
    before = tree(out)
    [path] = (out / "v01" / IMAGES).glob("*.jpg")
    with Image.open(path) as image:
        image.convert("L").convert("RGB").save(path, comment=image.info["comment"])
    (out / LEDGER).unlink()
    found = report("--repair", "--output", out, code=2)
    assert found["created"] == 1 and "it was altered" in found["printed"] and tree(out) == before


def test_pictures_newer_than_the_manifest(done: tuple[Path, Path], report: Run, tree: Tree):
    """A batch that was killed after a source had changed leaves a manifest from before it."""
    root, out = done
    data = Path(shutil.copytree(root, out.with_name("data")))
    source = data / IMAGES / "M_Bob_F_HC_C_0001.png"
    old = (out / "manifest.jsonl").read_bytes()
    with Image.open(source) as image:
        image.transpose(Image.Transpose.ROTATE_180).save(source)
    report("--batch", *_settings(data), "--output", out, code=2)
    before = tree(out)
    (out / "manifest.jsonl").write_bytes(old)
    (out / LEDGER).unlink()
    found = report("--repair", "--output", out, code=2)
    assert found["created"] == 0 and found["rebuilt"]["by record"] == 2 and tree(out) == before


def test_a_source_that_changed_since_is_made_again(done: tuple[Path, Path], report: Run):
    root, out = done
    data = Path(shutil.copytree(root, out.with_name("data")))
    with Image.open(data / IMAGES / "M_Bob_F_HC_C_0001.png") as image:
        image.transpose(Image.Transpose.ROTATE_180).save(data / IMAGES / "M_Bob_F_HC_C_0001.png")
    shutil.rmtree(out / ".acusim")
    assert report("--repair", *_settings(data), "--output", out, code=2)["created"] == 2


def test_what_the_data_set_lost_stays(done: tuple[Path, Path], report: Run, tree: Tree):
    """A picture whose source is gone is still done, and in the manifest."""
    root, out = done
    before = tree(out)
    data = Path(shutil.copytree(root, out.with_name("data")))
    (data / IMAGES / "M_Bob_F_HC_C_0001.png").unlink()
    for lost in (("manifest.jsonl",), ()):
        shutil.rmtree(out / ".acusim")
        for name in lost:
            (out / name).unlink()
        assert report("--repair", *_settings(data), "--output", out, code=0 if lost else 2)["created"] == 0
        report("--batch", *_settings(data), "--output", out, code=2)
        assert {path: value for path, value in tree(out).items() if path != "contact_sheet.jpg"} == {
            path: value for path, value in before.items() if path != "contact_sheet.jpg"
        }


def test_repair_notes_what_a_killed_batch_did_not(done: tuple[Path, Path], report: Run, tree: Tree):
    """A ledger that is whole but older than OUT, such as one from a backup."""
    _, out = done
    before = tree(out)
    _execute(out / LEDGER, "UPDATE items SET state = 'running', sha256 = NULL, record = NULL WHERE key LIKE 'v01/%'")
    found = report("--repair", "--output", out, code=2)
    assert found["created"] == 0 and found["rebuilt"] == {"by manifest": 4} and tree(out) == before


def test_a_repair_that_dies_halfway_is_run_again(
    done: tuple[Path, Path], report: Run, tree: Tree, monkeypatch: pytest.MonkeyPatch
):
    _, out = done
    before = tree(out)
    (out / LEDGER).write_text("damaged")
    rename = os.rename

    for count in (0, 1):
        calls: list[object] = []

        def killed(source: Path, target: Path, count: int = count, calls: list[object] = calls) -> None:
            if len(calls) == count:
                raise SystemExit(9)
            calls.append(source)
            rename(source, target)

        monkeypatch.setattr(rebuilding.os, "rename", killed)
        with pytest.raises(SystemExit):
            main(["--repair", "--output", str(out), "--quiet"])
        monkeypatch.setattr(rebuilding.os, "rename", rename)
    assert report("--repair", "--output", out, code=2)["created"] == 0
    assert tree(out) == before


def test_what_a_worker_set_aside_comes_back_too(report: Run, tree: Tree, tmp_path: Path):
    """It is tried again, as by every run, and set aside with the same words."""
    root, out = _data(tmp_path / "data"), tmp_path / "out"
    source = root / IMAGES / "M_Dan_N_HB_C_0001.png"
    source.write_bytes(source.read_bytes()[:200])
    report("--batch", *_settings(root), "--output", out, code=2)
    before = tree(out)
    for lost in ((LEDGER,), (LEDGER, "manifest.jsonl")):
        for name in lost:
            (out / name).unlink()
        found = report("--repair", "--output", out, code=2)
        assert found["created"] == 0 and len(found["skipped"]) == 4 and tree(out) == before


def test_growth_is_not_asked_for_by_a_repair(report: Run, tmp_path: Path):
    """Of two pictures that were asked for one is lost; the others of the data set were not asked for."""
    root, out = _data(tmp_path / "data"), tmp_path / "out"
    line = ("--engine", "relight", "--workers", 1, "--dataset", root, "--output", out)
    report("--batch", *line, "--limit", 2, code=0)
    made = sorted((out / IMAGES).iterdir())
    made[0].unlink()
    (out / LEDGER).unlink()
    (out / "manifest.jsonl").unlink()
    assert report("--repair", "--output", out, code=0)["created"] == 1
    assert sorted((out / IMAGES).iterdir()) == made


def test_a_folder_of_somebody_else_is_not_repaired(report: Run, tmp_path: Path):
    root, out = _data(tmp_path / "data"), tmp_path / "out"
    (out / IMAGES).mkdir(parents=True)
    Image.new("RGB", (64, 64)).save(out / IMAGES / "F_Ann_N_HA_O_0001.png")
    for line in (("--batch", *_settings(root)), ("--repair", *_settings(root))):
        printed = report(*line, "--output", out, code=1)["printed"]
        assert "holds files but no ledger of this program" in printed and "--repair" not in printed
    assert "was not created by --batch" in report("--repair", "--output", out, code=1)["printed"]
