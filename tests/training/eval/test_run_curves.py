"""Curves of several runs: what is read, refused, drawn and tabled."""

import re
from pathlib import Path

import pytest

from acusim.errors import ConfigError
from tests.support import ROOT
from training.cli import main as cli
from training.eval.run_curves import BASELINES, PLOTS, overlays, reached, read_curves

HEAD = "epoch,train_loss,micro,error_mm,loss,floor_majority,log_sigma_class\n"


def _run(folder: Path, *rows: str, head: str = HEAD) -> Path:
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text(head + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [
        _run(tmp_path / "a/run", "1,9,0.80,9,5,0.84,0.1", "2,7,0.95,4,3,0.84,0.2", "3,6,0.94,5,4,0.84,"),
        _run(tmp_path / "b/run", "1,8,0.91,8,6,0.84,0.3", "2,5,0.97,nan,2,0.84,0.3"),
    ]


def test_the_table_holds_best_and_last_of_each_figure(runs: list[Path]):
    titles, rows = reached(read_curves(runs))
    assert titles == ["", "a/run", "b/run"]
    assert {row[0]: row[1:] for row in rows} == {
        "epochs": ["3", "2"],
        "visibility accuracy: best (epoch), last": ["0.95 (2), 0.94", "0.97 (2), 0.97"],
        "error of visible points, mm: best (epoch), last": ["4 (2), 5", "8 (1), 8"],
        "loss (dashed: of training): best (epoch), last": ["3 (2), 4", "2 (2), 2"],
        "e90": ["2", "1"],
        "e95": ["2", "2"],
        "e99": ["–", "–"],
    }


def test_each_figure_has_a_line_for_each_run_and_its_baseline(runs: list[Path]):
    drawn = overlays(read_curves(runs))
    assert set(drawn) == {"accuracy", "error_mm", "loss", "uncertainty_class"}
    lines = {name: figure.axes[0].get_lines() for name, figure in drawn.items()}
    assert [line.get_label() for line in lines["accuracy"]] == ["a/run", "b/run", "baseline: majority of each point"]
    assert list(lines["accuracy"][2].get_ydata()) == [0.84, 0.84]
    assert [len(line.get_xdata()) for line in lines["error_mm"]] == [3, 1], "what is not finite is left out"
    assert len(lines["loss"]) == 4, "validation and training of each"


def test_every_figure_named_is_one_that_a_trainer_logs():
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "training").rglob("*.py"))
    logged = set(re.findall(r'"([a-z0-9_]+)"', code))
    parts = {"visibility", "coordinate", "class"}
    named = {figure for _, figures, _ in PLOTS.values() for figure in figures if not figure.startswith("log_sigma")}
    assert {figure.removeprefix("train_") for figure in named} <= logged
    assert {name.removeprefix("uncertainty_") for name in PLOTS if name.startswith("uncertainty")} == parts
    assert set(BASELINES) <= set(PLOTS)


def test_the_command_writes_a_page_and_plots_for_print(runs: list[Path], tmp_path: Path):
    out = tmp_path / "out"
    assert cli.main(["compare", *map(str, runs), "--out", str(out), "--quiet"]) == cli.OK
    page = (out / "compare.html").read_text()
    assert page.count('<img alt="') == 4 and "0.97 (2), 0.97" in page
    assert (out / "plots/accuracy.pdf").read_bytes()[:5] == b"%PDF-"
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert len(before) == 9
    assert cli.main(["compare", *map(str, runs), "--out", str(out), "--quiet"]) == cli.OK
    assert all(path.read_bytes() == data for path, data in before.items())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "name the folder of a run that has finished an epoch"),
        ("", "needs a column epoch"),
        ("micro\n0.5\n", "needs a column epoch"),
        ("epoch,micro\n", "at least one row"),
        ("epoch,micro\n1,high\n", "'micro' = 'high' is not a number"),
        (b"\xff\xfe\xff", "is not a table of figures"),
    ],
)
def test_what_is_no_run_is_named(content: str | bytes | None, words: str, tmp_path: Path):
    run = tmp_path / "run"
    run.mkdir()
    if content is not None:
        (run / "metrics.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as error:
        read_curves([run])
    assert words in str(error.value) and "metrics.csv" in str(error.value)


def test_a_run_named_twice_and_too_many_are_refused(runs: list[Path], tmp_path: Path):
    with pytest.raises(ConfigError, match="named twice"):
        read_curves([runs[0], runs[0] / "metrics.csv"])
    with pytest.raises(ConfigError, match="13 runs; at most 12"):
        read_curves([tmp_path / str(k) for k in range(13)])
