"""What predict and coco skip is listed with its reasons in a table, and their progress goes to files, too."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from acusim import plain_progress
from acusim.errors import ConfigError
from acusim.layout import Problem
from acusim.plain_progress import PlainProgress
from tests.support import add_sample
from tests.training.tiny_model import Brightest
from training.cli import main as cli
from training.io.skipped import SkippedFiles, beside


def _rows(path: Path) -> list[list[str]]:
    header, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
    assert header == ["path", "reason"]
    return rows


@pytest.fixture
def predict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command ``predict`` with a model that needs no training."""

    class Stand:
        kind = "head"
        network = Brightest()
        template = None
        config = type("Config", (), {"data": type("Data", (), {"size": 32})})
        made_by: dict[str, Any] = {"run": "none"}

    monkeypatch.setattr("training.runs.open_run", lambda *_: Stand())

    def run(*images: Path | str) -> int:
        line = ["predict", str(tmp_path / "run"), *map(str, images), "--out", str(tmp_path / "out"), "--device", "cpu"]
        return cli.main(line)

    return run


def _picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((40, 30, 3), 240, np.uint8)).save(path)
    return path


def test_every_skipped_picture_is_in_the_table(tmp_path: Path, predict: Callable[..., int], capsys: Any):
    good = _picture(tmp_path / "good.png")
    bad = [tmp_path / f"bad{number:02d}.png" for number in range(12)]
    for path in bad:
        path.write_text("no picture")
    (tmp_path / "none").mkdir()
    assert predict(good, *bad, tmp_path / "none") == cli.PROBLEMS
    rows = dict(_rows(tmp_path / "out/skipped.csv"))
    assert set(rows) == {str(path) for path in [*bad, tmp_path / "none"]}
    assert "not a readable PNG or JPEG" in rows[str(bad[0])] and "holds no picture" in rows[str(tmp_path / "none")]
    message = capsys.readouterr().err
    assert f"all 13 with their reasons: {tmp_path / 'out/skipped.csv'}" in message


def test_several_commands_into_one_folder_share_the_table(tmp_path: Path, predict: Callable[..., int]):
    first, second, good = tmp_path / "a.png", tmp_path / "b.png", _picture(tmp_path / "c.png")
    for path in (first, second):
        path.write_text("no picture")
    assert predict(first) == predict(second) == cli.PROBLEMS
    assert [row[0] for row in _rows(tmp_path / "out/skipped.csv")] == [str(first), str(second)]
    assert predict(good) == cli.OK, "what others skipped does not count"
    _picture(first)
    assert predict(first, second) == cli.PROBLEMS
    assert [row[0] for row in _rows(tmp_path / "out/skipped.csv")] == [str(second)]
    _picture(second)
    assert predict(second) == cli.OK
    assert not (tmp_path / "out/skipped.csv").exists()


def test_a_table_of_somebody_else_is_not_replaced(tmp_path: Path, predict: Callable[..., int], capsys: Any):
    (tmp_path / "out").mkdir()
    for content in ("my,own\n1,2\n", "", "\x00\xff"):
        (tmp_path / "out/skipped.csv").write_text(content)
        assert predict(_picture(tmp_path / "a.png")) == cli.ERROR
        assert "was not written by this program" in capsys.readouterr().err
        assert (tmp_path / "out/skipped.csv").read_text() == content
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["skipped.csv"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_command_that_is_cut_off_writes_the_table(
    tmp_path: Path, predict: Callable[..., int], monkeypatch: pytest.MonkeyPatch, error: Any, capsys: Any
):
    (tmp_path / "a.png").write_text("no picture")

    def broken(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(Brightest, "forward", broken)
    code = predict(tmp_path / "a.png", _picture(tmp_path / "b.png"))
    assert code == (cli.INTERRUPTED if error is KeyboardInterrupt else cli.ERROR)
    assert "Traceback" not in capsys.readouterr().err
    assert [row[0] for row in _rows(tmp_path / "out/skipped.csv")] == [str(tmp_path / "a.png")]


@pytest.mark.parametrize("value", ["=1+1", "a,b", 'a "b"', "ä\u2028ö", "@x"])
def test_cells_come_back_as_they_were_written(tmp_path: Path, value: str):
    """A second command keeps what a first one wrote, and no cell is run by a spreadsheet."""
    SkippedFiles(tmp_path / "t.csv").write([Problem(value, value, True)], [value])
    first = (tmp_path / "t.csv").read_bytes()
    SkippedFiles(tmp_path / "t.csv").write([], ["other"])
    assert (tmp_path / "t.csv").read_bytes() == first
    assert not any(line.startswith(("=", "@")) for line in first.decode().splitlines())


def test_a_link_is_not_followed(tmp_path: Path):
    (tmp_path / "t.csv").symlink_to(tmp_path / "elsewhere.csv")
    with pytest.raises(ConfigError):
        SkippedFiles(tmp_path / "t.csv")


def test_coco_export_lists_what_it_leaves_out(tmp_path: Path, capsys: Any):
    root, out = tmp_path / "data", tmp_path / "new" / "labels.json"
    for frame in range(1, 13):
        add_sample(root, f"F_Ann_N_HA_O_{frame:04d}", size=32)
        if frame > 2:
            (root / "train/label/label" / f"F_Ann_N_HA_O_{frame:04d}.json").write_text("{")
    assert cli.main(["coco", "export", "--data", str(root), "--out", str(out)]) == cli.PROBLEMS
    assert len(json.loads(out.read_text())["images"]) == 2
    rows = _rows(out.with_name("labels.skipped.csv"))
    assert len(rows) == 10 and all(reason for _, reason in rows)
    assert "labels: 0 of 12" in capsys.readouterr().err
    for frame in range(3, 13):
        add_sample(root, f"F_Ann_N_HA_O_{frame:04d}", size=32)
    assert cli.main(["coco", "export", "--data", str(root), "--out", str(out), "--quiet"]) == cli.OK
    assert not beside(out).exists() and " of 12" not in capsys.readouterr().err


def test_coco_import_lists_what_it_leaves_out(tmp_path: Path):
    root, out = tmp_path / "data", tmp_path / "labels.json"
    for frame in (1, 2):
        add_sample(root, f"F_Ann_N_HA_O_{frame:04d}", size=32)
    assert cli.main(["coco", "export", "--data", str(root), "--out", str(out)]) == cli.OK
    document = json.loads(out.read_text())
    document["images"][1]["width"] = -1
    out.write_text(json.dumps(document))
    assert cli.main(["coco", "import", str(out), "--out", str(tmp_path / "back")]) == cli.PROBLEMS
    [(path, reason)] = _rows(tmp_path / "back/skipped.csv")
    assert "F_Ann_N_HA_O_0002" in path and "width is -1" in reason


def test_progress_is_reported_to_a_file_at_once_and_then_now_and_then(monkeypatch: pytest.MonkeyPatch):
    clock, lines = [100.0], list[str]()
    monkeypatch.setattr(plain_progress.time, "monotonic", lambda: clock[0])
    progress = PlainProgress(lines.append)
    for second in range(26):
        clock[0] = 100.0 + second
        progress("pictures", 2 * second, 100, "loss 1" if second else "")
    assert lines == [
        "pictures: 0 of 100",
        "pictures: 22 of 100, 2.0/s, 39 s left (loss 1)",
        "pictures: 44 of 100, 2.0/s, 28 s left (loss 1)",
    ]
    clock[0] = 200.0
    progress("next", 0, 5)
    clock[0] = 230.0
    progress("next", 1, 5)
    assert lines[3:] == ["next: 0 of 5", "next: 1 of 5, 2.0/min, 2 min left"]


def test_predict_tells_its_progress_to_a_file(tmp_path: Path, predict: Callable[..., int], capsys: Any):
    assert predict(*(_picture(tmp_path / f"{number}.png") for number in range(3))) == cli.OK
    assert "pictures: 0 of 3" in capsys.readouterr().err
