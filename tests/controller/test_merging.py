"""Several OUTs of one data set become one."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.cli import main
from controller.ledger import LEDGER_FILE, STATE_FOLDER, Ledger

Tree = Callable[[Path], dict[str, str]]


@pytest.fixture
def batch(make_dataset: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Creates an OUT of a data set in eight samples."""
    root = make_dataset(frames=(1, 8))

    def create(name: str, *more: str) -> Path:
        out = tmp_path / name
        line = ["--batch", "--engine", "relight", "--workers", "1", "--dataset", str(root), "--output", str(out)]
        assert main([*line, *more]) in (0, 2)
        return out

    return create


def _merge(out: Path, *others: Path) -> int:
    return main(["--output", str(out), *(word for other in others for word in ("--merge", str(other)))])


def test_two_halves_are_the_whole(
    batch: Callable[..., Path], tmp_path: Path, tree: Tree, capsys: pytest.CaptureFixture
):
    whole = batch("whole")
    halves = [batch("first", "--select", "frame=1"), batch("second", "--select", "frame=8")]
    before = [tree(half) for half in halves]
    assert _merge(tmp_path / "out", *halves) == 0
    assert "8 images copied, 0 were there, 0 refused" in capsys.readouterr().out
    assert tree(tmp_path / "out") == tree(whole) and [tree(half) for half in halves] == before
    assert _merge(tmp_path / "out", *halves) == 0
    assert "0 images copied, 8 were there, 0 refused" in capsys.readouterr().out
    assert main(["--verify", "--output", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    batch("out")
    assert "(8 from before)" in capsys.readouterr().out
    # Into one that exists, as well.
    assert _merge(halves[0], halves[1]) == 0 and tree(halves[0]) == tree(whole)


def test_other_settings_are_refused(batch: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture):
    halves = [batch("first", "--select", "frame=1"), batch("second", "--select", "frame=8", "--seed", "5")]
    assert _merge(tmp_path / "out", *halves) == 1
    message = capsys.readouterr().err
    assert "were created with other settings (seed: 0 and 5); nothing was merged" in message
    assert not list((tmp_path / "out").glob("[!.]*"))
    assert main(["--output", str(tmp_path / "out"), "--merge", str(tmp_path / "nothing")]) == 1
    assert "holds no ledger" in capsys.readouterr().err


def test_what_does_not_verify_is_left_out(
    batch: Callable[..., Path], tmp_path: Path, tree: Tree, capsys: pytest.CaptureFixture
):
    halves = [batch("first", "--select", "frame=1"), batch("second", "--select", "frame=8")]
    altered, gone = sorted(halves[1].glob("train/image/*/*"))[:2]
    altered.write_bytes(altered.read_bytes()[:-9])
    label = halves[1] / "train/label/label" / f"{gone.stem}.json"
    label.unlink()
    assert _merge(tmp_path / "out", *halves) == 2
    printed = capsys.readouterr().out
    assert "6 images copied, 0 were there, 2 refused" in printed
    assert f"{altered.relative_to(halves[1])}" in printed and "is not what was written" in printed
    assert label.name in printed
    batch("out")
    assert tree(tmp_path / "out") == tree(batch("whole"))


def test_another_image_of_the_same_sample_does_not_take_its_place(batch: Callable[..., Path], tmp_path: Path):
    first = batch("first", "--limit", "2")
    shutil.copytree(first, tmp_path / "second")
    with Ledger(tmp_path / "second" / STATE_FOLDER / LEDGER_FILE) as ledger:
        entry = next(ledger.done())
        ledger._many("UPDATE items SET sha256 = ? WHERE key = ?", [("0" * 64, entry.key)])
        ledger.commit()
    kept = (first / entry.key).read_bytes()
    assert _merge(first, tmp_path / "second") == 2 and (first / entry.key).read_bytes() == kept


def test_skipped_items_come_along(batch: Callable[..., Path], tmp_path: Path, tree: Tree):
    half = batch("first", "--select", "frame=1")
    broken = next((tmp_path / "data").glob("train/image/*/*0008*"))
    broken.write_bytes(b"no image")
    other = batch("second", "--select", "frame=8")
    assert _merge(tmp_path / "out", half, other) == 0
    manifest = (tmp_path / "out" / "manifest.jsonl").read_text()
    assert manifest.count('"done"') == 7 and manifest.count('"set aside"') == 1
    assert tree(tmp_path / "out") == tree(batch("whole"))


def test_a_folder_inside_the_data_set_or_another_out_is_refused(
    batch: Callable[..., Path], tmp_path: Path, tree: Tree, capsys: pytest.CaptureFixture
):
    first = batch("first", "--limit", "1")
    with Ledger(first / STATE_FOLDER / LEDGER_FILE, read_only=True) as ledger:
        root = Path(ledger.get_meta("settings")["dataset"])
    before = tree(first), tree(root)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "letter.txt").touch()
    for out, words in (
        (root / "extra", "are the same or one is in the other"),
        (first / "sub", "are the same or one is in the other"),
        (first, "are the same or one is in the other"),
        (foreign, "holds files but no ledger of this program"),
    ):
        assert _merge(out, first) == 1
        assert words in capsys.readouterr().err
    assert (tree(first), tree(root)) == before and [path.name for path in foreign.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"label": "IMAGE"}, "is no place for a label"),
        ({"label": "recipe.toml"}, "is no place for a label"),
        ({"label": "models.json"}, "is no place for a label"),
        ({"label": ".acusim/settings.json"}, "is no place for a label"),
        ({"label": "../label.json"}, "is no place for a label"),
        ({"label": 5}, "is another's, or not as it was written"),
        ({"image": "../../evil.png"}, "is another's, or not as it was written"),
    ],
)
def test_a_ledger_that_names_other_places_overwrites_nothing(
    changes: dict[str, object],
    words: str,
    batch: Callable[..., Path],
    tree: Tree,
    capsys: pytest.CaptureFixture,
):
    first, second = batch("first", "--select", "frame=1"), batch("second", "--select", "frame=8")
    before = tree(first)
    with sqlite3.connect(second / STATE_FOLDER / LEDGER_FILE) as database:
        [(key, text)] = database.execute("SELECT key, record FROM items ORDER BY key LIMIT 1").fetchall()
        image = next(first.glob("train/image/*/*")).relative_to(first).as_posix()
        record = json.loads(text) | {name: image if value == "IMAGE" else value for name, value in changes.items()}
        database.execute("UPDATE items SET record = ? WHERE key = ?", (json.dumps(record), key))
    assert _merge(first, second) in (1, 2)
    printed = capsys.readouterr()
    assert words in printed.out + printed.err
    after = tree(first)
    assert {place: after[place] for place in before if place != "manifest.jsonl" and not place.endswith(".jpg")} == {
        place: digest for place, digest in before.items() if place != "manifest.jsonl" and not place.endswith(".jpg")
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [("identity", []), ("bald codes", None), ("bald codes", 5), ("settings", {"variants": "x"}), ("settings", {})],
)
def test_a_ledger_whose_settings_are_damaged_is_named(
    name: str, value: object, batch: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture
):
    first = batch("first", "--limit", "1")
    with sqlite3.connect(first / STATE_FOLDER / LEDGER_FILE) as database:
        database.execute("UPDATE meta SET value = ? WHERE name = ?", (json.dumps(value), name))
    assert _merge(tmp_path / "out", first) == 1
    assert str(first) in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert main(["--status", "--output", str(first)]) == (1 if name == "settings" else 0)
