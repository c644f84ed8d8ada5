"""The notebook of examples/, run as a script on the tiny data set that it generates."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import ROOT

SCRIPT = ROOT / "examples/first_detector.py"


@pytest.mark.slow
def test_the_notebook_runs_from_a_data_set_to_a_drawn_prediction(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, SCRIPT],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(r"^relit: valid True", done.stdout, re.MULTILINE)
    assert re.search(r"^moved by 5 px: valid False", done.stdout, re.MULTILINE)
    work = tmp_path / "first_detector"
    assert (work / "report/report.html").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["first_detector"]
    drawn = np.array(Image.open(work / "prediction.png"))
    assert drawn.shape == (256, 256, 3)
    assert (drawn == (0, 200, 170)).all(-1).any()


def test_every_cell_is_valid_and_explained():
    cells = ("\n" + SCRIPT.read_text(encoding="utf-8")).split("\n# %%")[1:]
    assert [cell.startswith(" [markdown]") for cell in cells] == [True, False] * (len(cells) // 2)
