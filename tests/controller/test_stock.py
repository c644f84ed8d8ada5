"""Taking stock: the listing of folders."""

import os
from pathlib import Path

import pytest

from acusim.errors import OutputError
from controller.stock import Listing


def test_a_folder_of_the_output_that_may_not_be_read_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "train/image").mkdir(parents=True)

    def denied(*_: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(OutputError, match="'train/image' of the output cannot be read: Permission denied"):
        Listing(tmp_path, ours=True).entry("train/image/a.png")
    assert Listing(tmp_path, ours=False).entry("train/image/a.png") is None
