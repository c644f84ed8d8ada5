"""What workers of a cluster create travels to the command that writes it."""

from pathlib import Path

import pytest

from acusim.errors import LayoutError
from acusim.parallel import Work
from synthetic import workers
from synthetic.workers import TaskResult, write_files


def _job(name: str, work: Work) -> TaskResult:
    write_files(Path("/nowhere"), [(f"{name}.json", b"label"), (f"{name}.png", b"image")])
    return TaskResult(1, 0)


def test_files_of_a_worker_are_kept_for_its_owner():
    work = Work(None, lambda _: None, lambda: False)
    with workers._keeping():
        kept = [workers._with_files(_job, name, work) for name in ("a", "b")]
    first, second = ([(f"{name}.json", b"label"), (f"{name}.png", b"image")] for name in ("a", "b"))
    assert [files for _, files in kept] == [first, second]


def test_a_path_that_leads_out_is_refused(tmp_path: Path):
    (tmp_path / "out").mkdir()
    with pytest.raises(LayoutError):
        write_files(tmp_path / "out", [("../a.png", b"image")])
    assert not (tmp_path / "a.png").exists()
