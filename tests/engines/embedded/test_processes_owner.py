"""Processes and their owner: which GPUs they get from it, and that none outlives it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from acusim.errors import EngineError
from engines.embedded.processes import visible_gpus
from tests.engines.embedded.small import PLAN, gone, marks, until
from tests.support import ROOT


@pytest.mark.parametrize(
    ("variable", "count", "expected"),
    [
        (None, 3, ["0", "1", "2"]),
        ("2,5,7", 2, ["2", "5"]),
        (" GPU-1a , MIG-2b ", 2, ["GPU-1a", "MIG-2b"]),
        ("0,0", 2, ["0", "0"]),
        ("3,-1,4", 2, None),
        ("3", 2, None),
        ("", 1, None),
    ],
)
def test_which_gpus_are_whose(variable: str | None, count: int, expected: list[str] | None):
    environment = {} if variable is None else {"CUDA_VISIBLE_DEVICES": variable}
    if expected is None:
        with pytest.raises(EngineError, match="names"):
            visible_gpus(environment, count)
    else:
        assert visible_gpus(environment, count) == expected


@pytest.mark.parametrize("at", ["opening", "started"])
def test_processes_end_with_their_owner(tmp_path: Path, at: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    if at == "opening":
        (tmp_path / PLAN).write_text(json.dumps({name: {"wait": "never"} for name in "45"}))
    code = (
        "import threading, sys\n"
        "from pathlib import Path\n"
        "from engines.embedded.processes import MultiProcessEngine\n"
        "from engines.base import Setup\n"
        "from engines.options import EmbeddedOptions\n"
        "from tests.engines.embedded.small import RECIPE, SMALL, request\n"
        f"engine = MultiProcessEngine(RECIPE, Setup(Path({str(tmp_path)!r}), options=EmbeddedOptions(gpus=2)), SMALL)\n"
        "engine.open()\n"
        "for _ in range(2):\n"
        "    threading.Thread(target=engine.augment, args=([request('hold')],)).start()\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    until(lambda: len(set(marks(tmp_path, at))) == 2 or owner.poll() is not None)
    assert owner.poll() is None
    owner.kill()
    owner.wait()
    until(lambda: all(gone(process) for process in marks(tmp_path, at)))


def test_an_engine_that_nobody_closed_does_not_keep_its_owner(tmp_path: Path):
    code = (
        "from pathlib import Path\n"
        "from engines.embedded.processes import MultiProcessEngine\n"
        "from engines.base import Setup\n"
        "from engines.options import EmbeddedOptions\n"
        "from tests.engines.embedded.small import RECIPE, SMALL\n"
        "options = EmbeddedOptions(device='cpu', gpus=2)\n"
        f"engine = MultiProcessEngine(RECIPE, Setup(Path({str(tmp_path)!r}), options=options), SMALL)\n"
        "engine.open()\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=True)
    assert len(marks(tmp_path, "closed")) == 2
