"""The detector's experiments on tiny data: trained once, measured on what exists, and compared in tables."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from acusim.errors import ConfigError
from acusim.files import write_atomic
from experiments import detector, detector_runs
from experiments.detector_runs import Plan, baselines, parts_of, run, run_all, shared_persons, stacked
from experiments.detector_sections import RIG, SECTIONS, Row, Section
from tests.support import add_own_sample
from training.config import load_config
from training.eval.baselines import BASELINES, THROUGH_CAMERA
from training.eval.metrics import RATES, TERMS, rates
from training.history import History
from training.loop import Loop

TRAINED = ("Ann", "Bob", "Cleo", "Dan", "Eve", "Fay")
TESTED = ("Gus", "Hal", "Ida", "Ann")
"""Ann is no new person."""
SMALL = ("model.backbone=resnet18", "model.trunk=single", "data.size=32", "train.batch_size=4", "data.val=0.2")
SMALL = (*SMALL, "data.frames=1,4,34")
ROWS = (
    Row("first", ("model.dropout=0",), RIG, config="C1"),
    Row("second: few", ("model.dropout=0",), RIG, persons=4, config="C1"),
)


def _add(root: Path, names: tuple[str, ...], shift: int = 0) -> None:
    """Heads that differ in place and colour."""
    for number, name in enumerate(names, shift):
        for frame in (1, 4, 34):
            add_own_sample(root, f"F_{name}_N_HA_O_{frame:04d}", number)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plan]:
    folder = tmp_path_factory.mktemp("detector")
    _add(folder / "data/train/rig", TRAINED)
    _add(folder / "data/test/studio", TESTED, 6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(History, "write", lambda *_, **__: None)
        yield Plan(folder / "data", folder / "out", steps=2, settings=SMALL)
    detector_runs._loaded.cache_clear()


@pytest.fixture(scope="module")
def text(plan: Plan) -> str:
    return detector.section_text(plan, Section("Tiny", ROWS), seeds=2)


def test_the_tables_have_baselines_rows_and_differences(text: str) -> None:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert text.startswith("## Tiny\n\n2 seeds, 2 steps each; model.backbone=resnet18")
    assert text.count("### ") == 1 and "### studio: 3 persons" in text  # the others have no folder, Ann is known
    names = [line.split(" | ")[0].removeprefix("| ") for line in lines[2:]]
    assert names == [*(f"*{name}*" for name in (*BASELINES, THROUGH_CAMERA)), "first", "second: few"]
    columns = lines[0].strip("| ").split(" | ")
    assert columns[0] == "visibility accuracy, micro, %" and columns[-1] == "error, mean − first"
    first, second = (line.split(" | ") for line in lines[-2:])
    assert first[-2:] == ["", " |"] or not "".join(first[-2:]).strip(" |")
    assert second[-1][0] in "+-" and "[" in second[1]
    assert lines[2].split(" | ")[4] == "–"  # all occluded: no position


def test_finished_runs_are_not_trained_again(plan: Plan, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Loop, "train", lambda _: pytest.fail("trained again"))
    assert detector.section_text(plan, Section("Tiny", ROWS), seeds=2) == text
    folders = sorted(path.name for path in (plan.out / "runs").iterdir() if path.is_dir())
    assert [name.split("-s")[-1] for name in folders] == ["0", "1", "0", "1"]
    assert all(name.startswith(("first-", "second-few-")) for name in folders)


def test_an_equal_row_of_another_name_is_the_same_run(plan: Plan, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Loop, "train", lambda _: pytest.fail("trained again"))
    again = run(plan, Row("another name", ROWS[0].settings, RIG, len(TRAINED), "C1"), 1)
    assert np.array_equal(again["studio"][1], run(plan, ROWS[0], 1)["studio"][1])


def test_several_trainings_at_a_time_are_the_same_runs(plan: Plan, text: str, tmp_path: Path) -> None:
    parallel = replace(plan, out=tmp_path, workers=2)
    renamed = Row("again", ROWS[0].settings, RIG, len(TRAINED), "C1")  # as the first row, under another name
    run_all(parallel, (*ROWS, renamed), seeds=1, jobs=2)
    folders = {path.name for path in (tmp_path / "runs").iterdir() if path.is_dir()}
    assert folders == {path.name for path in (plan.out / "runs").glob("*-s0") if path.is_dir()}
    for row in ROWS:
        (persons, sums), (others, expected) = (run(one, row, 0)["studio"] for one in (parallel, plan))
        assert persons == others and np.allclose(sums, expected, rtol=0.02, atol=0.02 * np.abs(expected).max())


def test_sums_are_those_of_the_figures(plan: Plan, text: str) -> None:
    sums = stacked([run(plan, ROWS[0], seed) for seed in range(2)], "studio", ("gus", "hal", "ida"))
    assert sums.shape == (2, 3, len(TERMS))
    points = sums[..., [TERMS.index(term) for term in ("tp", "fp", "fn", "tn")]].sum(-1)
    assert (points == 3 * 174).all()
    found = dict(zip(RATES, rates(sums.sum((0, 1))), strict=True))
    assert f"| first | {100 * found['micro']:.2f} [" in text


def test_a_test_that_is_added_is_measured_with_the_weights_that_were_kept(
    plan: Plan, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Loop, "train", lambda _: pytest.fail("trained again"))
    wild = plan.data / "test/wild"
    shutil.copytree(plan.data / "test/studio", wild)
    try:
        found = run(plan, ROWS[0], 0)
        assert list(found) == ["studio", "wild light"] and np.array_equal(found["studio"][1], found["wild light"][1])
    finally:
        shutil.rmtree(wild)


def test_rows_whose_training_persons_differ_are_compared_on_the_persons_that_are_new_to_all() -> None:
    values = np.arange(3 * len(TERMS), dtype=float).reshape(3, -1)
    some, others = {"studio": (("ann", "gus", "hal"), values)}, {"studio": (("gus", "hal", "ida"), values)}
    persons = shared_persons([some, others], "studio")
    assert persons == ("gus", "hal")
    assert np.array_equal(stacked([some, others], "studio", persons), [values[1:], values[:2]])
    with pytest.raises(ConfigError, match="no person is new to all rows"):
        shared_persons([some, {"studio": (("ida",), values[:1])}], "studio")


def test_a_section_has_rows_of_different_training_persons(plan: Plan, text: str) -> None:
    _add(plan.data / "train/around", ("Gus", *TRAINED))
    rows = (ROWS[0], Row("other roots", ROWS[0].settings, ("around",), config="C1"))
    found = detector.section_text(plan, Section("Roots", rows), seeds=1)
    assert "### studio: 2 persons" in found and "### studio: 3 persons" in text  # Gus is known to the second row


def test_baselines_know_no_picture(plan: Plan) -> None:
    found = baselines(plan, ROWS[0])
    persons, sums = found["all occluded"]["studio"]
    assert persons == ("gus", "hal", "ida") and not sums[:, TERMS.index("tp")].any()


def test_persons_of_a_learning_curve_are_nested(plan: Plan) -> None:
    config, data, _ = detector_runs.configured(plan, ROWS[0], 0)
    few, more = (set(parts_of(data, config, count).persons) for count in (3, 5))
    assert few < more and len(few) == 3
    with pytest.raises(ConfigError, match="row 'many'.* asks for 50 training persons; the data has 6"):
        run(plan, Row("many", (), RIG, 50, "C1"), 0)


def test_wrong_folders_and_results_are_refused(plan: Plan, text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"row 'relit': no folder .*relit"):
        run(plan, Row("relit", roots=("rig", "relit")), 0)
    with pytest.raises(ConfigError, match="has none of .*studio"):
        _ = Plan(tmp_path, tmp_path, 1).tests
    shutil.copytree(plan.out / "runs", tmp_path / "runs")
    path = next((tmp_path / "runs").glob("first-*-s0")) / "result.json"
    write_atomic(path, json.dumps({**json.loads(path.read_text()), "terms": ["tp"]}).encode())
    with pytest.raises(ConfigError, match="remove it to compute it again"):
        run(Plan(plan.data, tmp_path, plan.steps, plan.settings), ROWS[0], 0)


@pytest.mark.parametrize("name", SECTIONS)
def test_sections_name_settings_that_exist(name: str) -> None:
    names = [row.name for row in SECTIONS[name].rows]
    assert len(set(names)) == len(names) > 1
    for row in SECTIONS[name].rows:
        load_config(row.config).with_settings(list(row.settings))
