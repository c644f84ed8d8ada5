"""What a run leaves on the disk: which checkpoints stay, what is in them, who may read them, what a failure costs."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from acusim.errors import ConfigError, OutputError
from acusim.lock import LOCK_FILE, Lock
from tests.support import ROOT
from tests.training.test_loop import Line, _files, _loop
from training import checkpoint, history
from training.cli.training_run import alone, ensure_free
from training.hardware import Hardware
from training.history import History
from training.loop import Loop
from training.models.branches import Branches
from training.models.grouping import make_groups

BRANCHES = Path(__file__).parent / "previous_version/branches.json"
"""Names and shapes of parameters of Branches(groups, 8, trunk) in formats 1 and 2, by grouping; three: its trunk."""
STATE = {"epoch": 1, "step": 0, "best": None, "best_epoch": 0, "history": [], "identity": {}, "logs": None}


@pytest.fixture(autouse=True)
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(History, "_curves", lambda *_: b"")


def _fake(run: Path, names: list[str], last: str, best: str) -> None:
    for name in names:
        (run / "checkpoints" / name).mkdir(parents=True)
        for file in (checkpoint.MODEL, checkpoint.OPTIMIZER, checkpoint.STATE):
            (run / "checkpoints" / name / file).write_text(name)
    for link, target in ((checkpoint.LAST, last), (checkpoint.BEST, best)):
        (run / "checkpoints" / link).symlink_to(target)


def _names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir() if not path.is_symlink())


@pytest.mark.parametrize("keep", range(1, 6))
@pytest.mark.parametrize("count", range(8))
def test_the_newest_are_kept_beside_last_and_best(tmp_path: Path, keep: int, count: int):
    """With ``count`` past epochs, best is older than all of them and last is newer."""
    past = [checkpoint.epoch_name(epoch) for epoch in range(2, 2 + count)]
    last, best = checkpoint.epoch_name(2 + count), checkpoint.epoch_name(1)
    _fake(tmp_path, [best, *past, last], last, best)
    checkpoint.rotate(tmp_path, keep)
    kept = past[-keep:] if count > keep else past
    assert _names(tmp_path) == [best, *kept, last]
    for name in (best, *kept):
        assert sorted(path.name for path in (tmp_path / "checkpoints" / name).iterdir()) == [
            checkpoint.MODEL,
            checkpoint.STATE,
        ]
    assert (tmp_path / "checkpoints/last" / checkpoint.OPTIMIZER).is_file()


def test_the_newest_is_reported_by_numbers(tmp_path: Path):
    names = ["epoch_9998", "epoch_9999", "epoch_10000", "epoch_10000_step_0000007", "epoch_10001"]
    _fake(tmp_path, names, "epoch_10001", "epoch_10001")
    (tmp_path / "checkpoints/epoch_mine").mkdir()
    checkpoint.rotate(tmp_path, 2)
    assert _names(tmp_path) == ["epoch_10000", "epoch_10000_step_0000007", "epoch_10001", "epoch_mine"]


@pytest.mark.parametrize("keep", [1, 3, 5])
def test_a_run_keeps_what_its_settings_say(tmp_path: Path, keep: int):
    task = Line()
    task.validate = lambda epoch, hardware: {"score": -float(abs(epoch - 1)), "error": 0.0}
    _loop(tmp_path, task, epochs=7, keep=keep).train()
    epochs = {2, 7, *(1, 3, 4, 5, 6)[-keep:]}  # best, last, and so many others
    assert _names(tmp_path) == [checkpoint.epoch_name(epoch) for epoch in sorted(epochs)]
    moments = [path.parent.name for path in (tmp_path / "checkpoints").glob(f"epoch_*/{checkpoint.OPTIMIZER}")]
    assert moments == ["epoch_0007"]


def _branches() -> Branches:
    torch.manual_seed(5)
    return Branches(make_groups("meridians"), 16, "single")


def _stepped(module: nn.Module) -> torch.optim.Optimizer:
    """An optimiser with moments that are not zero where there is something to learn."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1, fused=True)
    for _ in range(2):
        optimizer.zero_grad()
        torch.manual_seed(1)
        visibility, places, logits = module(torch.randn(3, 16))
        (visibility.square().sum() + places.square().sum()).backward()
        optimizer.step()
    return optimizer


def test_weights_and_moments_come_back(tmp_path: Path):
    module = _branches()
    optimizer = _stepped(module)
    moments = checkpoint.optimizer_tensors(module, optimizer)
    checkpoint.save(tmp_path, "epoch_0001", ["last"], module.state_dict(), moments, STATE)
    held = checkpoint.load(checkpoint.find(tmp_path, "last"), with_optimizer=True)
    other = _branches()
    for value in other.parameters():
        nn.init.zeros_(value)
    again = torch.optim.AdamW(other.parameters(), lr=0.1, fused=True)
    checkpoint.load_into(other, held.model, "it")
    checkpoint.load_optimizer(other, again, held.optimizer)
    for name, value in module.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    for first, second in zip(module.parameters(), other.parameters(), strict=True):
        for kind, value in optimizer.state[first].items():
            assert torch.equal(value, again.state[second][kind])


def test_other_groups_are_reported_by_the_shapes_that_are_stored():
    held = _branches().state_dict()
    with pytest.raises(ConfigError, match="belongs to another configuration") as error:
        checkpoint.load_into(_branches(), {**held, "0.visibility.weight": torch.zeros(9, 512)}, "it")
    assert "0.visibility.weight of shape [9, 512] instead of [10, 512]" in str(error.value)
    with pytest.raises(ConfigError, match="'visibility.weight'"):  # format 2, of other groups
        checkpoint.load_into(_branches(), {**held, "visibility.weight": torch.zeros(173, 512)}, "it")


class Heads(Line):
    """Learns with branches."""

    def __init__(self) -> None:
        super().__init__(dropout=0.0)
        self.line = nn.ModuleDict({"branches": _branches()})  # type: ignore[assignment]

    def step(self, module: Any, batch: Any, epoch: int, generator: torch.Generator, scale: float) -> Any:
        x = torch.ones(len(batch.index), 16) * batch.index[:, None] + torch.randn(1, generator=generator)
        output = self.line["branches"](x)
        error = (output.visibility_logits - 1).square().mean() + output.coordinates.square().mean()
        return type(super().step(nn.Linear(1, 1), batch, epoch, generator, scale))(
            error * scale, torch.stack([error.detach(), torch.tensor(1.0)])
        )

    def validate(self, epoch: int, hardware: Hardware) -> dict[str, float]:
        return {"score": float(-abs(epoch - 1)), "error": 0.0}


def _to_format_2(name: str, of_branches: list[torch.Tensor]) -> torch.Tensor:
    """A parameter of all branches as format 2 stored it."""
    if name in ("trunk.0.weight",) or not name.startswith("trunk"):
        return torch.cat(of_branches)
    return torch.stack(of_branches)  # biases and normalisation of the trunk


def _merged(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """``<start>branches.<number>.<name>`` of all branches made one tensor ``<start>branches.<name>``."""
    groups: dict[tuple[str, str], list[torch.Tensor]] = {}
    for key in sorted(tensors, key=lambda key: int(key.split("branches.")[1].split(".")[0])):
        start, rest = key.split("branches.")
        groups.setdefault((start, rest.split(".", 1)[1]), []).append(tensors[key])
    return {
        f"{start}branches.{name}": values[0] if "step/" in start else _to_format_2(name, values).contiguous()
        for (start, name), values in groups.items()
    }


def test_a_run_of_the_version_before_is_gone_on_with(tmp_path: Path):
    _loop(tmp_path / "whole", Heads(), epochs=5).train()
    _loop(tmp_path / "old", Heads(), epochs=3).train()
    for folder in (path for path in (tmp_path / "old/checkpoints").iterdir() if not path.is_symlink()):
        for file in (checkpoint.MODEL, checkpoint.OPTIMIZER):
            if (folder / file).exists():
                save_file(_merged(load_file(folder / file)), folder / file)
        state = json.loads((folder / checkpoint.STATE).read_text())
        (folder / checkpoint.STATE).write_text(json.dumps({**state, "format": 2}))
    held = checkpoint.load(checkpoint.find(tmp_path / "old", "best"))
    layout = json.loads(BRANCHES.read_text())["meridians"]["2"]
    shapes = {name.removeprefix("branches."): list(value.shape) for name, value in held.model.items()}
    assert shapes == layout | {"trunk.0.weight": [4608, 16]}, "format 2 as the version before wrote it"
    checkpoint.load_into(Heads().trainee, held.model, "it")
    loop = _loop(tmp_path / "old", Heads(), epochs=5)
    assert loop.resume()
    loop.train()
    whole, old = (checkpoint.find(tmp_path / name, "last").resolve() for name in ("whole", "old"))
    assert _files(whole) == _files(old)
    assert [path.parent.name for path in (tmp_path / "old").rglob(checkpoint.OPTIMIZER)] == ["epoch_0005"]


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o002])
def test_files_are_as_the_umask_says(tmp_path: Path, umask: Callable[[int], int], mask: int):
    umask(mask)
    with alone(tmp_path / "run", Hardware("cpu")):
        _loop(tmp_path / "run", Line(), epochs=2).train()
    found = {path: path.stat().st_mode & 0o777 for path in (tmp_path / "run").rglob("*") if not path.is_symlink()}
    assert {path.suffix for path in found} >= {".safetensors", ".json", ".csv"}
    wrong = {
        path.name: oct(mode) for path, mode in found.items() if mode != (0o777 if path.is_dir() else 0o666) & ~mask
    }
    assert not wrong


def _full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("place", ["save_file", "os.rename", "os.replace", "os.symlink", "Path.write_text"])
@pytest.mark.parametrize("count", [0, 1])
def test_a_disk_that_fills_up_at_any_step_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, count: int
):
    _loop(tmp_path / "whole", Line(), epochs=4).train()
    _loop(tmp_path / "cut", Line(), epochs=2).train()
    loop = _loop(tmp_path / "cut", Line(), epochs=4)
    loop.resume()
    owner: Any = {"os": os, "Path": Path}.get(place.split(".")[0], checkpoint)
    name = place.split(".")[-1]
    true, calls = getattr(owner, name), []

    def limited(*arguments: Any, **how: Any) -> Any:
        calls.append(name)
        return (_full if len(calls) > count else true)(*arguments, **how)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, limited)
        if place == "os.replace":
            patch.setattr(history, "write_atomic", lambda *_: None)
        with pytest.raises(OutputError, match=r"No space left.*run the same command again"):
            loop.train()
    last = checkpoint.find(tmp_path / "cut", "last")
    checkpoint.load(last, with_optimizer=True)
    checkpoint.load(checkpoint.find(tmp_path / "cut", "best"))
    again = _loop(tmp_path / "cut", Line(), epochs=4)
    assert again.resume()
    again.train()
    assert not list((tmp_path / "cut").rglob("*.part"))
    for link in ("last", "best"):
        whole, cut = (checkpoint.find(tmp_path / run, link).resolve() for run in ("whole", "cut"))
        assert whole.name == cut.name and _files(whole) == _files(cut)
    assert (tmp_path / "whole/metrics.csv").read_bytes() == (tmp_path / "cut/metrics.csv").read_bytes()


def test_a_limit_of_the_system_is_met_as_a_full_disk(tmp_path: Path):
    """The write itself fails, in the middle of the file, as on a disk without space."""
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import resource, torch\n"
        "from pathlib import Path\n"
        "from acusim.errors import OutputError\n"
        "from training import checkpoint\n"
        "run = Path(sys.argv[1])\n"
        "state = {'epoch': 1, 'step': 0, 'best_epoch': 0, 'history': [], 'identity': {}}\n"
        "small, large = {'a': torch.ones(10)}, {'a': torch.ones(100_000)}\n"
        "checkpoint.save(run, 'epoch_0001', ['last', 'best'], small, small, state)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))\n"
        "try:\n"
        "    checkpoint.save(run, 'epoch_0002', ['last'], large, large, state)\n"
        "except OutputError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=120, check=True
    )
    assert "'epoch_0002' cannot be written" in done.stdout and "make room" in done.stdout
    assert _names(tmp_path) == ["epoch_0001"]
    assert checkpoint.load(checkpoint.find(tmp_path, "last"), with_optimizer=True).model["a"].tolist() == [1.0] * 10


@pytest.mark.parametrize("file", ["metrics.csv", "tensorboard", "loss.png"])
def test_figures_that_cannot_be_written_are_written_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
):
    """The checkpoint holds them; a run that has ended is no exception."""
    _loop(tmp_path / "whole", Line(), epochs=2).train()
    true = history.write_atomic

    def limited(path: Path, data: bytes) -> None:
        (_full if path.name == file else true)(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(history, "write_atomic", limited)
        if file == "tensorboard":
            patch.setattr(History, "_tensorboard", _full)
        with pytest.raises(OutputError, match=r"figures of the run cannot be written.*No space left"):
            _loop(tmp_path / "cut", Line(), epochs=1).train()
    again: Loop = _loop(tmp_path / "cut", Line(), epochs=1)
    assert again.resume() and again.done
    again.train()
    rows = (tmp_path / "whole/metrics.csv").read_text().splitlines()[:2]
    assert (tmp_path / "cut/metrics.csv").read_text().splitlines() == rows
    assert list((tmp_path / "cut/tensorboard").glob("events*")) and (tmp_path / "cut/curves/loss.png").exists()


def test_of_two_processes_the_first_takes_the_lock_and_both_end_where_it_is_taken(tmp_path: Path):
    """By torchrun, which needs no GPU for it."""
    script = tmp_path / "alone.py"
    script.write_text(
        f"import os, sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path\n"
        "from acusim.errors import AcuSimError\n"
        "from training.hardware import Hardware\n"
        "from training.cli.training_run import alone, ensure_free\n"
        "def show(*words):  # in one piece: both processes write to one pipe\n"
        "    os.write(1, (' '.join(map(str, words)) + '\\n').encode())\n"
        "hardware = Hardware('cpu')\n"
        "for folder in sys.argv[1:]:\n"
        "    try:\n"
        "        with alone(Path(folder), hardware):\n"
        "            show('at work', hardware.rank)\n"
        "    except AcuSimError as error:\n"
        "        show('refused', hardware.rank, error)\n"
        "    except SystemExit as end:\n"
        "        show('ended', hardware.rank, end.code)\n"
        "hardware.close()\n"
    )
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    environment = {"OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    how: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 300, "env": environment, "check": True}
    free, taken = tmp_path / "free", tmp_path / "taken"
    taken.mkdir()
    with Lock(taken / LOCK_FILE, "trainer", taken):
        message = sorted(subprocess.run([*launch, str(free), str(taken)], **how).stdout.splitlines())
    assert message[:3] == ["at work 0", "at work 1", "ended 1 1"]
    assert message[3].startswith("refused 0 another trainer") and f"{os.getpid()}" in message[3]


def test_a_second_trainer_is_refused_and_names_the_first(tmp_path: Path):
    with alone(tmp_path / "run", Hardware("cpu")):
        for second in (lambda: ensure_free(tmp_path / "run", Hardware("cpu")), lambda: _enter(tmp_path / "run")):
            with pytest.raises(ConfigError, match=rf"another trainer is working on .*process {os.getpid()} on .*since"):
                second()
    ensure_free(tmp_path / "run", Hardware("cpu"))
    _enter(tmp_path / "run")
    assert (tmp_path / "run" / LOCK_FILE).read_text() == "", "nobody's name stays after an orderly end"
    ensure_free(tmp_path / "none", Hardware("cpu"))
    assert not (tmp_path / "none").exists()


def _enter(run: Path) -> None:
    with alone(run, Hardware("cpu")):
        pass


def test_the_lock_of_a_killed_trainer_is_free_whoever_has_its_number_now(tmp_path: Path):
    """Its name is still there, and this living process has its number."""
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import os, signal\n"
        "from pathlib import Path\n"
        "from acusim.lock import Lock\n"
        "with Lock(Path(sys.argv[1]), 'trainer', Path(sys.argv[1])):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / LOCK_FILE
    done = subprocess.run([sys.executable, "-c", script, str(path)], timeout=60, check=False)
    assert done.returncode == -9 and "process" in path.read_text()
    path.write_text(f"process {os.getpid()} on here, since yesterday\n")
    _enter(tmp_path)


def test_a_best_checkpoint_outlives_a_crash_between_the_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Killed after one link and before the other: the run goes on to the same last and the same best."""
    _loop(tmp_path / "whole", Line(), epochs=4).train()
    for count in (0, 1):
        run = tmp_path / f"cut{count}"
        _loop(run, Line(), epochs=1).train()
        loop, calls, true = _loop(run, Line(), epochs=4), [], os.replace
        loop.resume()

        def killed(source: Any, target: Any, calls: list[Any] = calls, count: int = count, true: Any = true) -> None:
            if Path(target).parent.name == "checkpoints":
                if len(calls) == count:
                    raise SystemExit(9)
                calls.append(target)
            true(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", killed)
            with pytest.raises(SystemExit):
                loop.train()
        again = _loop(run, Line(), epochs=4)
        again.resume()
        again.train()
        for link in ("last", "best"):
            whole, cut = (checkpoint.find(folder, link).resolve() for folder in (tmp_path / "whole", run))
            assert whole.name == cut.name and _files(whole) == _files(cut)
        shutil.rmtree(run)
