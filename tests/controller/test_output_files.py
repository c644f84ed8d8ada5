"""Files below OUT: which errors of writing stop the batch, and which concern one item."""

import errno
import os
from pathlib import Path

import pytest

from acusim.errors import AcuSimError
from controller import output_files


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_an_output_that_cannot_be_written_stops_the_batch(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As the disk fills up while a picture is written: nothing half-written stays, and it is no item's fault."""

    def full(path: Path, data: bytes) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(output_files, "write_atomic", full)
    with pytest.raises(AcuSimError, match=os.strerror(number)) as error:
        output_files.write_file(tmp_path, "train/a.png", b"x" * 100)
    assert type(error.value).__name__ == "OutputError"


def test_a_name_too_long_for_the_disk_is_the_items_own_fault(tmp_path: Path):
    with pytest.raises(AcuSimError) as error:
        output_files.write_file(tmp_path, "train/" + "n" * 300 + ".png", b"x")
    assert type(error.value).__name__ == "LayoutError"
