"""Measurements by workers that do not see the images: the same as by those that do."""

from collections.abc import Callable
from pathlib import Path

import pytest

from acusim.errors import LayoutError
from acusim.parallel import run
from evaluation.far import far_measure, far_prepare, far_tasks, write_masks
from evaluation.measuring import Measured, Task, measure, prepare
from evaluation.run import plan
from evaluation.settings import ReportSettings
from evaluation.store import Store

pytestmark = pytest.mark.numeric


def _facts(result: object) -> dict[str, object]:
    """What was measured, as values that can be compared."""
    assert isinstance(result, Measured)
    faces = {name: face.as_json() for name, face in result.faces.items()}
    return {"faces": faces, **{name: getattr(result, name) for name in ("problems", "lost", "width", "certificates")}}


def _masks(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.rglob("*.*")}


def test_files_that_travel_are_measured_as_files_on_disk(heads: Path, augment: Callable[..., Path], tmp_path: Path):
    augmented = augment(heads)
    still, masks, out = augment(heads, name="still"), tmp_path / "near", tmp_path / "here"
    here = ReportSettings(original=heads, augmented=augmented, still=still, out=out, masks=masks)
    pairs = plan(here).pairs[:3]
    (augmented / pairs[1].augmented).write_bytes(b"no image")
    tasks = [*(Task("pair", pair) for pair in pairs), Task("null", pairs[0]), Task("baseline", pairs[2])]
    with Store(here.out) as store:
        near = [result for _, result in run(measure, tasks, 0, prepare=prepare, arguments=(here, store.path))]
    there = here.changed(out=tmp_path / "there", masks=tmp_path / "far")
    with Store(there.out) as store:
        for again in (False, True):
            results = run(far_measure, far_tasks(there, tasks, store), 0, prepare=far_prepare, arguments=(there,))
            for number, (far, result) in enumerate(results):
                measured, masks = result  # type: ignore[misc]
                assert far.task is tasks[number] and _facts(measured) == _facts(near[number])
                assert bool(measured.records) == (not again), "what is known is not measured again"
                write_masks(tmp_path / "far", masks)
                store.add(measured.records)
            store.flush()
    assert _facts(near[1])["lost"] and "another light" in near[3].faces  # type: ignore[union-attr]
    assert _masks(tmp_path / "near") == _masks(tmp_path / "far") and len(_masks(tmp_path / "far")) == 2


def test_a_mask_that_leads_out_is_not_written(tmp_path: Path):
    with pytest.raises(LayoutError):
        write_masks(tmp_path / "masks", [("../elsewhere.json", b"{}")])
    assert not (tmp_path / "elsewhere.json").exists()
