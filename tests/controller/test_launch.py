"""A start by accelerate or torchrun: one process works, the others have nothing to say."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from acusim.errors import ConfigError
from controller.cli import main
from controller.launch import Launch, forget, launched
from engines.base import Setup
from engines.options import EmbeddedOptions
from engines.recipe import Recipe

TORCHRUN = {
    "RANK": "0",
    "LOCAL_RANK": "0",
    "WORLD_SIZE": "2",
    "LOCAL_WORLD_SIZE": "2",
    "GROUP_RANK": "0",
    "GROUP_WORLD_SIZE": "1",
    "ROLE_RANK": "0",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RUN_ID": "none",
}
ACCELERATE = {"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_USE_CPU": "True", "KMP_AFFINITY": "granularity=fine"}
MPI = {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}
TWO_MACHINES = {"RANK": "2", "WORLD_SIZE": "4", "GROUP_RANK": "1"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "a"}, None),  # pods, say: no launcher on this machine
        ({**TORCHRUN, "RANK": "one"}, None),
        (TORCHRUN, Launch(0, 0, 2, 2, False)),
        ({**TORCHRUN, "RANK": "1", "LOCAL_RANK": "1"}, Launch(1, 1, 2, 2, False)),
        ({**TORCHRUN, **ACCELERATE}, Launch(0, 0, 2, 2, True)),
        ({**TORCHRUN, **TWO_MACHINES}, Launch(2, 0, 4, 2, False)),
        ({**ACCELERATE, **MPI, "MASTER_ADDR": "127.0.0.1"}, Launch(1, 1, 2, 2, True)),
        ({**MPI}, None),  # an MPI of somebody else's
        # accelerate on a CPU, where it starts one process whatever it is told; then with --num_processes 1.
        ({**ACCELERATE, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}, Launch(0, 0, 1, 1, True, True)),
        ({"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_USE_CPU": "False"}, Launch(0, 0, 1, 1, False)),
    ],
)
def test_what_launchers_say(environment: dict[str, str], expected: Launch | None):
    assert launched(environment) == expected


def test_what_they_said_is_forgotten_and_nothing_else():
    kept = {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "1", "OMP_NUM_THREADS": "1", "HF_HOME": "x"}
    environment = {**kept, **TORCHRUN, **ACCELERATE, **MPI}
    forget(environment)
    assert environment == kept
    mine = {"KMP_AFFINITY": "disabled", **TORCHRUN}
    forget(mine)
    assert mine == {"KMP_AFFINITY": "disabled"}


def test_several_machines_are_refused_with_the_way_out():
    for environment in (TWO_MACHINES, {"WORLD_SIZE": "4"}):
        launch = launched({**TORCHRUN, **environment})
        assert launch and launch.leads
        with pytest.raises(ConfigError, match="one OUT belongs to one machine.*--select"):
            launch.check()


@pytest.fixture
def as_rank(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def start(**environment: str) -> None:
        for name, value in {**TORCHRUN, **environment}.items():
            monkeypatch.setenv(name, value)

    return start


class Asked(Exception):
    """Instead of an engine."""


@pytest.fixture
def setups(monkeypatch: pytest.MonkeyPatch) -> list[Setup]:
    """The setups that an engine was asked for; it is never made."""
    found: list[Setup] = []

    def make(recipe: Recipe, setup: Setup) -> None:
        found.append(setup)
        raise ConfigError("asked")

    monkeypatch.setattr("controller.batch.make_engine", make)
    return found


@pytest.mark.parametrize("line", [["--batch"], ["--nonsense"], ["--help"], []])
def test_the_other_processes_say_nothing(as_rank: Callable[..., None], line: list[str], capfd: pytest.CaptureFixture):
    as_rank(RANK="1", LOCAL_RANK="1")
    assert main(line) == 0
    assert capfd.readouterr() == ("", "")


def test_the_first_one_gets_all_gpus(
    as_rank: Callable[..., None], setups: list[Setup], make_dataset: Callable[..., Path]
):
    line = ["--batch", "--dataset", str(make_dataset(frames=(1,))), "--output", "out", "--engine", "embedded"]
    as_rank()
    assert main(line) == 1
    assert not {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "TORCHELASTIC_RUN_ID"} & set(os.environ)
    as_rank()
    main([*line, "--gpus", "1"])
    as_rank(ACCELERATE_USE_CPU="True")
    main(line)
    as_rank(ACCELERATE_USE_CPU="True")
    main([*line, "--device", "cuda"])
    main(line)
    message = [(setup.of(EmbeddedOptions).gpus, setup.of(EmbeddedOptions).device) for setup in setups]
    assert message == [(2, "auto"), (1, "auto"), (2, "cpu"), (2, "cuda"), (1, "auto")]


def test_what_does_not_fit_a_launcher_is_reported(
    as_rank: Callable[..., None],
    setups: list[Setup],
    make_dataset: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture,
):
    line = ["--batch", "--dataset", str(make_dataset(frames=(1,))), "--output", "out", "--engine"]
    as_rank()
    main([*line, "relight"])
    printed = capfd.readouterr().err
    assert "engine relight is not for several GPUs: one of 2 processes works" in printed and "--gpus" not in printed
    assert not isinstance(setups[-1].options, EmbeddedOptions)
    for name, value in {**ACCELERATE, "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    main([*line, "embedded"])
    assert "started one process only" in capfd.readouterr().err
    as_rank(**TWO_MACHINES)
    assert main([*line, "embedded"]) == 1
    assert "on several machines" in capfd.readouterr().err
